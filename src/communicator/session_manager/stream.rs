//! The stream that SSH speaks on.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::sync::DropGuard;

use super::SessionFailure;

/// Why a session ended by itself, once it has.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<OnceLock<SessionFailure>>);

impl Ending {
    /// `None` while it goes on, and when it was ended here.
    #[must_use]
    pub fn reason(&self) -> Option<SessionFailure> {
        self.0.get().cloned()
    }

    pub(super) fn set(&self, reason: SessionFailure) {
        // The first one is what happened.
        let _ = self.0.set(reason);
    }
}

/// The bytes of one connection to the machine's port. Dropping it ends the session.
pub struct SessionStream {
    pub(super) bytes: DuplexStream,
    pub(super) ending: Ending,
    pub(super) _guard: DropGuard,
}

impl SessionStream {
    /// Tells why the session ended, also after the stream was given away.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }
}

impl AsyncRead for SessionStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(context, into)
    }
}

impl AsyncWrite for SessionStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(context)
    }
}

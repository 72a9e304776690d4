//! A network of a test's own between a server and its database: slow, silent, or gone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// Each packet takes this long.
    Passes(Duration),
    /// Packets wait, and nobody hears of it.
    Silent,
    /// Connections break, and new ones are refused.
    Down,
}

#[derive(Debug, Clone, Copy)]
struct State {
    network: Network,
    /// A connection falls silent for ever with a request that has this text in it.
    loses: Option<&'static str>,
}

/// A port of this machine that leads to a socket.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    pub async fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (state, states) = watch::channel(State { network: Network::Passes(Duration::ZERO), loses: None });
        let lost = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(listener, socket.to_owned(), Link { states, lost: lost.clone() }));
        Self { address, state, lost }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on each packet takes this long, in each direction.
    pub fn pass(&self, delay: Duration) {
        self.state.send_modify(|state| state.network = Network::Passes(delay));
    }

    /// Nothing passes, and nobody is told; what was sent arrives when it passes again.
    pub fn fall_silent(&self) {
        self.state.send_modify(|state| state.network = Network::Silent);
    }

    /// Connections break, and there are no new ones.
    pub fn go_down(&self) {
        self.state.send_modify(|state| state.network = Network::Down);
    }

    /// From now on, requests with this text in them are lost, and their connections with them, without a word; `None`: no
    /// more.
    pub fn lose(&self, text: Option<&'static str>) {
        self.state.send_modify(|state| state.loses = text);
    }

    /// How many were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// One connection's view of the network.
#[derive(Clone)]
struct Link {
    states: watch::Receiver<State>,
    lost: Arc<AtomicUsize>,
}

impl Link {
    /// Waits until these bytes may pass, and says how long they take; `None` when the connection has ended.
    async fn passes(&mut self, bytes: &[u8]) -> Option<Duration> {
        let state = *self.states.wait_for(|state| state.network != Network::Silent).await.ok()?;
        if state.loses.is_some_and(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.states.wait_for(|state| state.network == Network::Down).await.ok()?;
            return None;
        }
        match state.network {
            Network::Passes(delay) => Some(delay),
            Network::Down | Network::Silent => None,
        }
    }

    /// Carries bytes in one direction until either side or the network ends it.
    async fn carry(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buffer = vec![0; 16 * 1024];
        let mut states = self.states.clone();
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read.unwrap_or_default(),
                _ = states.wait_for(|state| state.network == Network::Down) => return,
            };
            // A network that is silent does not tell of an end, either.
            let Some(delay) = self.passes(&buffer[..read]).await else { return };
            tokio::time::sleep(delay).await;
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }
}

async fn accept(listener: TcpListener, socket: PathBuf, link: Link) {
    // It ends with the test's runtime.
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connect(client, socket.clone(), link.clone()));
    }
}

async fn connect(client: TcpStream, socket: PathBuf, link: Link) {
    let _ = client.set_nodelay(true);
    // A database that is not there breaks the connection, as a machine without it would.
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = link.clone().carry(from_client, to_server) => {}
        () = link.carry(from_server, to_client) => {}
    }
}

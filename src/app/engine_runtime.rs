//! The threads that builds run on. They are apart from those that answer requests, and of a lower priority: when two hundred
//! machines are logged in to at once, what is computed for that has every processor busy, and a read should not wait for it.

use tokio::runtime::{Builder, Handle, Runtime};

use crate::domain::error::{Error, Result};

/// Niceness of the threads. Low enough that requests come first, high enough that builds get nearly all of an idle machine.
const NICE: i32 = 5;

/// A runtime of its own. Dropping it gives its tasks up.
pub(super) struct EngineRuntime(Option<Runtime>);

impl EngineRuntime {
    /// # Errors
    /// When the threads can't be made.
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("ingot-engine")
            .on_thread_start(|| {
                // On Linux this is the thread's own. Where it is not possible, builds and requests compete as equals.
                if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                    tracing::debug!(%error, "the engine's threads keep their priority");
                }
            })
            .build()
            .map_err(|error| Error::internal(format!("no runtime for the engine: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `start` such that what it spawns runs here.
    pub fn with<T>(&self, start: impl FnOnce() -> T) -> T {
        let _inside = self.handle().map(Handle::enter);
        start()
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for EngineRuntime {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed inside another runtime, and nothing here is worth a wait: what has to be
        // done before the end is waited for by its tracker.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_started_inside_runs_on_threads_of_its_own() {
        let runtime = EngineRuntime::start().unwrap();
        let facts = runtime.with(|| {
            tokio::spawn(async {
                let name = std::thread::current().name().map(str::to_owned);
                (name, rustix::process::getpriority_process(None).unwrap())
            })
        });
        assert_eq!(facts.await.unwrap(), (Some("ingot-engine".to_owned()), NICE));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), 0);
    }
}

//! What the tests of the whole program share.

pub mod command;
pub mod ec2;
pub mod promise;
pub mod proxy;
pub mod record;
pub mod sandbox;
pub mod server;
pub mod template;

use std::time::{Duration, Instant};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};
use uuid::Uuid;

/// Builds of tests at once: each means containers, and machines that run the tests may be small.
const AT_ONCE: usize = 4;
/// Between two looks at a state that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);
/// Everybody who uses the sandbox reads; the last test, which looks at all of it, writes.
static SANDBOX: RwLock<()> = RwLock::const_new(());

/// A test's place in the sandbox.
pub struct Turn {
    _place: SemaphorePermit<'static>,
    _user: RwLockReadGuard<'static, ()>,
}

/// Waits for a place. The first thing a test does that uses the sandbox.
pub async fn turn() -> Turn {
    let user = SANDBOX.read().await;
    Turn { _place: PLACES.acquire().await.expect("it is never closed"), _user: user }
}

/// Waits until no other test uses the sandbox.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    SANDBOX.write().await
}

/// Asks until there is an answer.
pub async fn eventually<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < limit, "{what}: not within {} s", limit.as_secs());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A name that no other test, and no earlier run of this one, uses.
pub fn unique(name: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{name}-{}", &id[..10])
}

//! Waiting for instances, images, snapshots and volumes. One poller for each account, region and kind asks for everything that any build
//! waits for in one call (filters of at most [`CHUNK`] ids), about once a second; so completion is seen within a second
//! and the number of calls does not grow with the number of builds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cloud::{
    Accounts, Cloud, CloudError, CloudErrorClass, CloudResult, Filter, Image, ImageQuery, Instance, Snapshot, Volume,
    cloud_of,
};

/// Ids in one filter; EC2's limit for a filter's values.
const CHUNK: usize = 200;
/// Between two looks while something waits.
const INTERVAL: Duration = Duration::from_secs(1);
/// A new waiter is served earlier than the next look is due, but not sooner than this after the last one.
const EARLIEST: Duration = Duration::from_millis(200);
/// The widest pause while the cloud throttles, or refuses a role that was revoked.
const WIDEST: Duration = Duration::from_secs(16);

/// What the cloud last said of one thing.
#[derive(Debug, Clone)]
pub struct Observation<T> {
    /// `None`: not there, or not visible yet.
    pub seen: Option<T>,
    /// The look failed; `seen` is what was seen before.
    pub error: Option<CloudError>,
}

/// Something that can be waited for.
#[async_trait]
pub trait Watched: Clone + Send + Sync + 'static {
    /// Looks at many of them at once; those that are not there are left out.
    async fn look(cloud: &dyn Cloud, region: &str, ids: &[String]) -> CloudResult<Vec<(String, Self)>>;
}

#[async_trait]
impl Watched for Instance {
    async fn look(cloud: &dyn Cloud, region: &str, ids: &[String]) -> CloudResult<Vec<(String, Self)>> {
        let found = cloud.find_instances(region, &[Filter::new("instance-id", ids)]).await?;
        Ok(found.into_iter().map(|instance| (instance.id.clone(), instance)).collect())
    }
}

#[async_trait]
impl Watched for Image {
    async fn look(cloud: &dyn Cloud, region: &str, ids: &[String]) -> CloudResult<Vec<(String, Self)>> {
        let query = ImageQuery { filters: vec![Filter::new("image-id", ids)], ..ImageQuery::default() };
        let found = cloud.find_images(region, &query).await?;
        Ok(found.into_iter().map(|image| (image.id.clone(), image)).collect())
    }
}

#[async_trait]
impl Watched for Snapshot {
    async fn look(cloud: &dyn Cloud, region: &str, ids: &[String]) -> CloudResult<Vec<(String, Self)>> {
        let found = cloud.find_snapshots(region, &[Filter::new("snapshot-id", ids)]).await?;
        Ok(found.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect())
    }
}

#[async_trait]
impl Watched for Volume {
    async fn look(cloud: &dyn Cloud, region: &str, ids: &[String]) -> CloudResult<Vec<(String, Self)>> {
        let found = cloud.find_volumes(region, &[Filter::new("volume-id", ids)]).await?;
        Ok(found.into_iter().map(|volume| (volume.id.clone(), volume)).collect())
    }
}

/// See the module's documentation. Clones share the pollers.
#[derive(Clone)]
pub struct Watcher {
    accounts: Arc<dyn Accounts>,
    instances: Pollers<Instance>,
    images: Pollers<Image>,
    snapshots: Pollers<Snapshot>,
    volumes: Pollers<Volume>,
    stop: CancellationToken,
}

/// By account and region.
type Pollers<T> = Arc<Mutex<HashMap<(String, String), Arc<Poller<T>>>>>;

struct Poller<T> {
    account: String,
    region: String,
    waiting: Mutex<HashMap<String, watch::Sender<Observation<T>>>>,
    more: Notify,
}

/// A subscription to one thing's state; dropping it ends the subscription.
pub struct Watch<T> {
    receiver: watch::Receiver<Observation<T>>,
}

/// The server is stopping, or the account is no longer configured.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the watcher has stopped")]
pub struct WatcherStopped;

impl<T: Clone> Watch<T> {
    /// The next observation, from a look that began after the last one returned.
    ///
    /// # Errors
    /// When the watcher has stopped.
    pub async fn next(&mut self) -> Result<Observation<T>, WatcherStopped> {
        self.receiver.changed().await.map_err(|_| WatcherStopped)?;
        Ok(self.receiver.borrow_and_update().clone())
    }
}

impl Watcher {
    #[must_use]
    pub fn new(accounts: Arc<dyn Accounts>, stop: CancellationToken) -> Self {
        Self {
            accounts,
            instances: Arc::default(),
            images: Arc::default(),
            snapshots: Arc::default(),
            volumes: Arc::default(),
            stop,
        }
    }

    /// Watches an instance.
    #[must_use]
    pub fn instance(&self, account: &str, region: &str, id: &str) -> Watch<Instance> {
        self.subscribe(&self.instances, account, region, id)
    }

    /// Watches an image.
    #[must_use]
    pub fn image(&self, account: &str, region: &str, id: &str) -> Watch<Image> {
        self.subscribe(&self.images, account, region, id)
    }

    /// Watches a snapshot.
    #[must_use]
    pub fn snapshot(&self, account: &str, region: &str, id: &str) -> Watch<Snapshot> {
        self.subscribe(&self.snapshots, account, region, id)
    }

    /// Watches a volume.
    #[must_use]
    pub fn volume(&self, account: &str, region: &str, id: &str) -> Watch<Volume> {
        self.subscribe(&self.volumes, account, region, id)
    }

    fn subscribe<T: Watched>(&self, pollers: &Pollers<T>, account: &str, region: &str, id: &str) -> Watch<T> {
        let key = (account.to_owned(), region.to_owned());
        let poller = lock(pollers).entry(key).or_insert_with(|| self.start(account, region)).clone();
        let receiver = lock(&poller.waiting)
            .entry(id.to_owned())
            .or_insert_with(|| watch::channel(Observation { seen: None, error: None }).0)
            .subscribe();
        poller.more.notify_one();
        Watch { receiver }
    }

    fn start<T: Watched>(&self, account: &str, region: &str) -> Arc<Poller<T>> {
        let poller = Arc::new(Poller {
            account: account.to_owned(),
            region: region.to_owned(),
            waiting: Mutex::default(),
            more: Notify::new(),
        });
        let (shared, stop, accounts) = (poller.clone(), self.stop.clone(), self.accounts.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shared.poll(&*accounts) => {}
                () = stop.cancelled() => {}
            }
            lock(&shared.waiting).clear();
        });
        poller
    }
}

impl<T: Watched> Poller<T> {
    async fn poll(&self, accounts: &dyn Accounts) {
        let mut last_look: Option<Instant> = None;
        let mut pause = INTERVAL;
        loop {
            self.pause(last_look, pause).await;
            let ids = self.wanted();
            if ids.is_empty() {
                self.more.notified().await;
                continue;
            }
            last_look = Some(Instant::now());
            pause = match self.look(accounts, &ids).await {
                Ok(()) => INTERVAL,
                Err(CloudErrorClass::Throttled | CloudErrorClass::Unauthorized) => (pause * 2).min(WIDEST),
                Err(_) => (pause * 2).min(INTERVAL * 4),
            };
        }
    }

    /// Waits for the next look to be due; a new waiter makes it due earlier unless the cloud throttles.
    async fn pause(&self, last_look: Option<Instant>, pause: Duration) {
        let Some(last_look) = last_look else { return };
        if pause == INTERVAL {
            tokio::select! {
                () = tokio::time::sleep_until(last_look + pause) => {}
                () = self.more.notified() => tokio::time::sleep_until(last_look + EARLIEST).await,
            }
        } else {
            tokio::time::sleep_until(last_look + pause).await;
        }
    }

    /// What somebody still waits for, in a stable order.
    fn wanted(&self) -> Vec<String> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        let mut ids: Vec<String> = waiting.keys().cloned().collect();
        ids.sort();
        ids
    }

    async fn look(&self, accounts: &dyn Accounts, ids: &[String]) -> Result<(), CloudErrorClass> {
        for chunk in ids.chunks(CHUNK) {
            let answer = match cloud_of(accounts, &self.account) {
                Ok(cloud) => T::look(&*cloud, &self.region, chunk).await,
                Err(error) => Err(error),
            };
            let error = answer.as_ref().err().map(|error| error.class);
            self.tell(chunk, answer);
            if let Some(class) = error {
                return Err(class);
            }
        }
        Ok(())
    }

    fn tell(&self, ids: &[String], answer: CloudResult<Vec<(String, T)>>) {
        let waiting = lock(&self.waiting);
        let senders = ids.iter().filter_map(|id| waiting.get_key_value(id));
        match answer {
            Ok(found) => {
                let mut found: HashMap<String, T> = found.into_iter().collect();
                for (id, sender) in senders {
                    sender.send_replace(Observation { seen: found.remove(id), error: None });
                }
            }
            Err(error) => {
                for (_, sender) in senders {
                    sender.send_modify(|observation| observation.error = Some(error.clone()));
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps stay consistent at every instant, so a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Finds what should not be there any more. It removes only what carries our deployment's tag and `ingot:temporary` and
//! belongs to a build that is over in our database. What belongs to builds that the database does not know is reported and
//! left alone: it may be another installation's, restored from the same backup.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cloud::{Accounts, Cloud, CloudErrorClass, CloudResult, Filter, ImageQuery, InstanceState, Tags};
use crate::domain::error::Result;
use crate::domain::ids::{BuildId, DeploymentId};
use crate::domain::tags;
use crate::store::Store;
use crate::store::janitor::{BuildStanding, DueSearch};

/// Between two sweeps.
const INTERVAL: Duration = Duration::from_secs(300);
/// Builds that are searched once more after an unknown outcome, noted in one sweep.
const DUE_AT_ONCE: i64 = 1000;

pub struct Janitor {
    store: Store,
    accounts: Arc<dyn Accounts>,
    deployment: DeploymentId,
}

/// Something temporary that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kind: Kind,
    id: String,
    build: Option<BuildId>,
}

/// In the order of removal: what holds other things goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Instance,
    Image,
    Snapshot,
    Volume,
    Interface,
    SecurityGroup,
    KeyPair,
}

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweep {
    pub removed: Vec<String>,
    /// Tagged as ours and temporary, but of builds this database does not know.
    pub unknown: Vec<String>,
}

impl Janitor {
    #[must_use]
    pub fn new(store: Store, accounts: Arc<dyn Accounts>, deployment: DeploymentId) -> Self {
        Self { store, accounts, deployment }
    }

    /// Sweeps at the start and then every five minutes until the server stops.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.sweep_all() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn sweep_all(&self) {
        if let Err(error) = self.store.purge_secrets().await {
            tracing::warn!(error = error.for_log(), "old secrets could not be deleted");
        }
        // Asked for before the sweep, so that what becomes due during it waits for the next one.
        let due = self.store.due_searches(DUE_AT_ONCE).await;
        for account in self.accounts.names() {
            for region in self.regions(&account).await {
                match self.sweep(&account, &region).await {
                    Ok(sweep) => report(&account, &region, &sweep),
                    Err(error) => tracing::warn!(account, region, error = error.for_log(), "sweep failed"),
                }
            }
        }
        if let Err(error) = self.note_searched(due).await {
            tracing::warn!(error = error.for_log(), "finished searches could not be noted");
        }
    }

    async fn note_searched(&self, due: Result<Vec<DueSearch>>) -> Result<()> {
        for search in due? {
            self.store.clear_search(&search).await?;
        }
        Ok(())
    }

    /// Where builds of the account have been, and where the configuration lets them be.
    async fn regions(&self, account: &str) -> Vec<String> {
        let mut regions = self.accounts.regions(account);
        match self.store.regions_used(account).await {
            Ok(used) => regions.extend(used),
            Err(error) => tracing::warn!(account, error = error.for_log(), "the regions in use are not known"),
        }
        regions.sort();
        regions.dedup();
        regions
    }

    /// Sweeps one region of one account.
    ///
    /// # Errors
    /// When the database can't be read; cloud errors are logged and the rest goes on.
    pub async fn sweep(&self, account: &str, region: &str) -> Result<Sweep> {
        let Some(cloud) = self.accounts.account(account) else { return Ok(Sweep::default()) };
        let mut found = match self.look(&*cloud, region).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(account, region, %error, "the janitor can't look");
                return Ok(Sweep::default());
            }
        };
        if found.is_empty() {
            return Ok(Sweep::default());
        }
        found.sort_by_key(|thing| thing.kind);
        let mut builds: Vec<BuildId> = found.iter().filter_map(|thing| thing.build).collect();
        builds.sort();
        builds.dedup();
        let standing = self.store.builds_over(&builds).await?;
        let mut sweep = Sweep::default();
        for thing in found {
            match thing.build.and_then(|build| standing.get(&build)) {
                Some(BuildStanding::Over) => match remove(&*cloud, region, &thing).await {
                    Ok(()) => sweep.removed.push(thing.id),
                    Err(error) if error.class == CloudErrorClass::NotFound => {}
                    // It is in use by something that goes in this sweep too, or throttled: the next sweep has it.
                    Err(error) => tracing::info!(id = thing.id, %error, "not removed yet"),
                },
                Some(BuildStanding::Active) => {}
                Some(BuildStanding::Unknown) | None => sweep.unknown.push(thing.id),
            }
        }
        Ok(sweep)
    }

    async fn look(&self, cloud: &dyn Cloud, region: &str) -> CloudResult<Vec<Found>> {
        let filters =
            vec![Filter::tag(tags::DEPLOYMENT, &self.deployment.to_string()), Filter::tag(tags::TEMPORARY, "true")];
        let images = ImageQuery { owners: vec!["self".into()], filters: filters.clone(), include_deprecated: true };
        let (instances, images, snapshots, volumes, interfaces, groups, keys) = tokio::try_join!(
            cloud.find_instances(region, &filters),
            cloud.find_images(region, &images),
            cloud.find_snapshots(region, &filters),
            cloud.find_volumes(region, &filters),
            cloud.find_network_interfaces(region, &filters),
            cloud.find_security_groups(region, &filters),
            cloud.find_key_pairs(region, &filters),
        )?;
        let mut found = Vec::new();
        let mut add = |kind, id: String, tags: &Tags| {
            let build = tags::value(tags, tags::BUILD_ID).and_then(|id| id.parse().ok());
            found.push(Found { kind, id, build });
        };
        for instance in instances.into_iter().filter(|instance| instance.state != InstanceState::Terminated) {
            add(Kind::Instance, instance.id, &instance.tags);
        }
        for image in images {
            add(Kind::Image, image.id, &image.tags);
        }
        for snapshot in snapshots {
            add(Kind::Snapshot, snapshot.id, &snapshot.tags);
        }
        for volume in volumes {
            add(Kind::Volume, volume.id, &volume.tags);
        }
        for interface in interfaces {
            add(Kind::Interface, interface.id, &interface.tags);
        }
        for group in groups {
            add(Kind::SecurityGroup, group.id, &group.tags);
        }
        for key in keys {
            add(Kind::KeyPair, key.id, &key.tags);
        }
        Ok(found)
    }
}

async fn remove(cloud: &dyn Cloud, region: &str, thing: &Found) -> CloudResult<()> {
    match thing.kind {
        Kind::Instance => cloud.terminate_instance(region, &thing.id).await,
        Kind::Image => cloud.deregister_image(region, &thing.id).await,
        Kind::Snapshot => cloud.delete_snapshot(region, &thing.id).await,
        Kind::Volume => cloud.delete_volume(region, &thing.id).await,
        Kind::Interface => cloud.delete_network_interface(region, &thing.id).await,
        Kind::SecurityGroup => cloud.delete_security_group(region, &thing.id).await,
        Kind::KeyPair => cloud.delete_key_pair(region, &thing.id).await,
    }
}

fn report(account: &str, region: &str, sweep: &Sweep) {
    if !sweep.removed.is_empty() {
        tracing::warn!(
            account,
            region,
            removed = sweep.removed.join(" "),
            "removed what builds that are over had left behind"
        );
    }
    if !sweep.unknown.is_empty() {
        tracing::warn!(
            account,
            region,
            unknown = sweep.unknown.join(" "),
            "temporary things with this deployment's tag belong to builds that the database does not know; they are left alone"
        );
    }
}

//! Looks at the cloud that each build makes once, at its beginning and at its end, made for all builds together: at most
//! [`PAUSE`] apart for each account, region and kind, so that their number does not grow with the number of builds. The
//! first one is made at once, so a build alone waits for nothing.
//!
//! No answer is old: each comes of a look that began after it was asked for (`gathering`). So what decides whether
//! something is removed may be asked here, too. What waits for something to change is the `watcher`'s.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cloud::{
    Accounts, Cloud, CloudResult, Filter, Image, ImageQuery, Instance, InstanceType, NetworkInterface, SecurityGroup,
    Snapshot, Subnet, Volume, cloud_of,
};
use crate::domain::tags::{self, Ownership};
use crate::gathering::Gathering;

/// Values in one filter. EC2 takes 200 in all filters of a call; some are left for those beside it.
const CHUNK: usize = 190;
/// States of instances that are not terminated.
const LIVE: [&str; 5] = ["pending", "running", "stopping", "stopped", "shutting-down"];
/// From so many different questions on, those that nobody asks any more are forgotten.
const MANY: usize = 200;
/// From one look of a kind to the next. Half of the watcher's, because builds get nothing done while they wait for it.
const PAUSE: Duration = Duration::from_millis(500);

/// See the module's documentation. Clones share the looks.
#[derive(Clone)]
pub struct SharedLooks {
    accounts: Arc<dyn Accounts>,
    kinds: Arc<Kinds>,
}

/// The account's configured name, and the region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub account: String,
    pub region: String,
}

#[derive(Default)]
struct Kinds {
    // The same question, asked by several.
    images: Looks<(Place, ImageQuery), Vec<Image>>,
    subnets: Looks<(Place, Vec<Filter>), Vec<Subnet>>,
    security_groups: Looks<(Place, Vec<Filter>), Vec<SecurityGroup>>,
    instance_types: Looks<(Place, String), Option<InstanceType>>,
    regions: Looks<(Place, ()), Vec<String>>,
    // Questions that one filter puts together.
    own_images_by_name: Looks<(Place, ()), Vec<Image>>,
    snapshots: Looks<(Place, ()), Vec<Snapshot>>,
    instances: Looks<(Place, String), Vec<Instance>>,
    volumes: Looks<(Place, String), Vec<Volume>>,
    interfaces: Looks<(Place, String), Vec<NetworkInterface>>,
}

/// Looks of which each asks for some values of a filter; none, where all ask the very same.
type Together<A> = Gathering<Vec<String>, CloudResult<Arc<A>>>;

/// By place, and what their questions have in common.
struct Looks<K, A>(Mutex<HashMap<K, Arc<Together<A>>>>);

impl<K, A> Default for Looks<K, A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, A: Send + Sync + 'static> Looks<K, A> {
    /// Asks for `values` together with all who ask the same of theirs.
    async fn ask<F>(
        &self,
        key: K,
        values: Vec<String>,
        look: impl FnOnce(Vec<String>) -> F + Send + 'static,
    ) -> CloudResult<Arc<A>>
    where
        F: Future<Output = CloudResult<A>> + Send + 'static,
    {
        let gathering = {
            // The map stays consistent at every instant, so a panic elsewhere does not spoil it.
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Queries differ from template to template.
            if all.len() >= MANY && !all.contains_key(&key) {
                all.retain(|_, gathering| Arc::strong_count(gathering) > 1 || !gathering.is_idle());
            }
            all.entry(key).or_insert_with(|| Gathering::new(PAUSE)).clone()
        };
        let together = |values: Vec<Vec<String>>| async move {
            let values: BTreeSet<String> = values.into_iter().flatten().collect();
            look(values.into_iter().collect()).await.map(Arc::new)
        };
        gathering.ask(values, together).await
    }
}

impl SharedLooks {
    #[must_use]
    pub fn new(accounts: Arc<dyn Accounts>) -> Self {
        Self { accounts, kinds: Arc::default() }
    }

    /// Images by any query.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn images(&self, place: &Place, query: &ImageQuery) -> CloudResult<Vec<Image>> {
        let look = |at: At, query: ImageQuery| async move { at.cloud.find_images(&at.region, &query).await };
        self.same(&self.kinds.images, place, query.clone(), look).await
    }

    /// Subnets by any filters.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn subnets(&self, place: &Place, filters: &[Filter]) -> CloudResult<Vec<Subnet>> {
        let look = |at: At, filters: Vec<Filter>| async move { at.cloud.find_subnets(&at.region, &filters).await };
        self.same(&self.kinds.subnets, place, filters.to_vec(), look).await
    }

    /// Security groups by any filters.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn security_groups(&self, place: &Place, filters: &[Filter]) -> CloudResult<Vec<SecurityGroup>> {
        let look =
            |at: At, filters: Vec<Filter>| async move { at.cloud.find_security_groups(&at.region, &filters).await };
        self.same(&self.kinds.security_groups, place, filters.to_vec(), look).await
    }

    /// What is known of an instance type.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn instance_type(&self, place: &Place, name: &str) -> CloudResult<Option<InstanceType>> {
        let look = |at: At, name: String| async move { at.cloud.instance_type(&at.region, &name).await };
        self.same(&self.kinds.instance_types, place, name.to_owned(), look).await
    }

    /// Regions that are enabled for the account.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn regions(&self, place: &Place) -> CloudResult<Vec<String>> {
        let look = |at: At, ()| async move { at.cloud.regions(&at.region).await };
        self.same(&self.kinds.regions, place, (), look).await
    }

    /// The account's own images of exactly this name. The filter reads `*` and `?` as wildcards, the answer does not.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn own_images_of_name(&self, place: &Place, name: &str) -> CloudResult<Vec<Image>> {
        let look = |at: At, names: Vec<String>| async move {
            in_chunks(&names, |names| {
                let filters = vec![Filter::new("name", names)];
                let query = ImageQuery { owners: vec!["self".into()], filters, include_deprecated: true };
                let At { cloud, region } = &at;
                async move { cloud.find_images(region, &query).await }
            })
            .await
        };
        let found = self.together(&self.kinds.own_images_by_name, place, (), vec![name.to_owned()], look).await?;
        Ok(found.iter().filter(|image| image.name == name).cloned().collect())
    }

    /// Snapshots by their ids; those that are not there are left out.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn snapshots(&self, place: &Place, ids: &[String]) -> CloudResult<Vec<Snapshot>> {
        let look = |at: At, ids: Vec<String>| async move {
            in_chunks(&ids, |ids| {
                let (At { cloud, region }, filters) = (&at, [Filter::new("snapshot-id", ids)]);
                async move { cloud.find_snapshots(region, &filters).await }
            })
            .await
        };
        let found = self.together(&self.kinds.snapshots, place, (), ids.to_vec(), look).await?;
        Ok(found.iter().filter(|snapshot| ids.contains(&snapshot.id)).cloned().collect())
    }

    /// An attempt's instances that are not terminated.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn live_instances(&self, place: &Place, owner: &Ownership) -> CloudResult<Vec<Instance>> {
        let deployment = owner.deployment.to_string();
        let key = deployment.clone();
        let look = |at: At, builds: Vec<String>| async move {
            in_chunks(&builds, |builds| {
                let [of_deployment, of_builds] = of_builds(&deployment, builds);
                let filters = [of_deployment, of_builds, Filter::new("instance-state-name", LIVE)];
                let At { cloud, region } = &at;
                async move { cloud.find_instances(region, &filters).await }
            })
            .await
        };
        let found = self.together(&self.kinds.instances, place, key, vec![owner.build.to_string()], look).await?;
        Ok(found.iter().filter(|instance| owner.owns(&instance.tags)).cloned().collect())
    }

    /// An attempt's volumes.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn volumes(&self, place: &Place, owner: &Ownership) -> CloudResult<Vec<Volume>> {
        let deployment = owner.deployment.to_string();
        let key = deployment.clone();
        let look = |at: At, builds: Vec<String>| async move {
            in_chunks(&builds, |builds| {
                let (At { cloud, region }, filters) = (&at, of_builds(&deployment, builds));
                async move { cloud.find_volumes(region, &filters).await }
            })
            .await
        };
        let found = self.together(&self.kinds.volumes, place, key, vec![owner.build.to_string()], look).await?;
        Ok(found.iter().filter(|volume| owner.owns(&volume.tags)).cloned().collect())
    }

    /// An attempt's network interfaces.
    ///
    /// # Errors
    /// When the cloud can't be asked.
    pub async fn network_interfaces(&self, place: &Place, owner: &Ownership) -> CloudResult<Vec<NetworkInterface>> {
        let deployment = owner.deployment.to_string();
        let key = deployment.clone();
        let look = |at: At, builds: Vec<String>| async move {
            in_chunks(&builds, |builds| {
                let (At { cloud, region }, filters) = (&at, of_builds(&deployment, builds));
                async move { cloud.find_network_interfaces(region, &filters).await }
            })
            .await
        };
        let found = self.together(&self.kinds.interfaces, place, key, vec![owner.build.to_string()], look).await?;
        Ok(found.iter().filter(|interface| owner.owns(&interface.tags)).cloned().collect())
    }

    /// Asks the very same as others.
    async fn same<Q, A, F>(
        &self,
        looks: &Looks<(Place, Q), A>,
        place: &Place,
        question: Q,
        look: impl FnOnce(At, Q) -> F + Send + 'static,
    ) -> CloudResult<A>
    where
        Q: Clone + Eq + Hash + Send + 'static,
        A: Clone + Send + Sync + 'static,
        F: Future<Output = CloudResult<A>> + Send + 'static,
    {
        let asked = question.clone();
        let found = self.together(looks, place, question, Vec::new(), |at, _| look(at, asked)).await?;
        Ok((*found).clone())
    }

    /// Asks for some values together with others who ask for theirs.
    async fn together<Q, A, F>(
        &self,
        looks: &Looks<(Place, Q), A>,
        place: &Place,
        common: Q,
        values: Vec<String>,
        look: impl FnOnce(At, Vec<String>) -> F + Send + 'static,
    ) -> CloudResult<Arc<A>>
    where
        Q: Eq + Hash,
        A: Send + Sync + 'static,
        F: Future<Output = CloudResult<A>> + Send + 'static,
    {
        let at = At { cloud: cloud_of(&*self.accounts, &place.account)?, region: place.region.clone() };
        looks.ask((place.clone(), common), values, |values| look(at, values)).await
    }
}

/// Where a look goes.
struct At {
    cloud: Arc<dyn Cloud>,
    region: String,
}

/// Looks for as many values at a time as a filter takes.
async fn in_chunks<'v, T, F>(values: &'v [String], mut look: impl FnMut(&'v [String]) -> F) -> CloudResult<Vec<T>>
where
    F: Future<Output = CloudResult<Vec<T>>>,
{
    let mut found = Vec::new();
    for values in values.chunks(CHUNK) {
        found.extend(look(values).await?);
    }
    Ok(found)
}

fn of_builds(deployment: &str, builds: &[String]) -> [Filter; 2] {
    [Filter::tag(tags::DEPLOYMENT, deployment), Filter::new(format!("tag:{}", tags::BUILD_ID), builds)]
}

//! Finds what should not be there any more. It removes only what carries our deployment's tag and `ingot:temporary` and
//! belongs to a build that is over in our database, and, where the configuration says so, old leftovers of Packer. What
//! belongs to builds that the database does not know is reported and left alone: it may be another installation's, restored
//! from the same backup.
//!
//! `look` and `further` find, `verdict` decides, and here it is carried out and written down. Any number of servers may run one: whose
//! turn it is, and whether it is time, is in the database ([`crate::store::janitor_sweeps`]). `packer` knows Packer's marks,
//! `prices` what things cost.

mod further;
mod look;
mod packer;
pub mod prices;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cloud::{Accounts, Cloud, CloudError, CloudErrorClass, CloudResult, Filter, ImageQuery};
use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::ids::{BuildId, DeploymentId};
use crate::domain::janitor::{FindingAction, FindingKind, SweepSettings, SweptPlace, Why};
use crate::domain::tags;
use crate::store::Store;
use crate::store::janitor::DueSearch;
use crate::store::janitor_findings::NewFinding;
use crate::store::janitor_sweeps::SweepRow;
pub use further::Further;
use further::Place;
use look::{Origin, Thing};
use verdict::{Knowledge, Verdict};

/// Between two looks at whether there is something to do.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks for secrets whose time is over.
const PURGE_EVERY: Duration = Duration::from_mins(5);
/// Builds that are searched once more after an unknown outcome, noted in one sweep.
const DUE_AT_ONCE: i64 = 1000;
/// Regions that are swept beside each other.
const PLACES_AT_ONCE: usize = 4;
/// How long one region may take: one that hangs must not keep the others waiting.
const PLACE_LIMIT: Duration = Duration::from_mins(5);

pub struct Janitor {
    pub store: Store,
    pub accounts: Arc<dyn Accounts>,
    pub clock: Arc<dyn Clock>,
    pub deployment: DeploymentId,
    /// This server, for people.
    pub server: String,
    pub settings: SweepSettings,
    pub further: Further,
}

impl Janitor {
    /// Sweeps when it is time or somebody asks, as long as no other server does, until this server stops.
    pub async fn run(self, stop: CancellationToken) {
        let mut purge_at = Instant::now();
        loop {
            let work = async {
                if Instant::now() >= purge_at {
                    purge_at = Instant::now() + PURGE_EVERY;
                    self.purge().await;
                }
                if let Err(error) = self.catch_up().await {
                    tracing::warn!(error = error.for_log(), "the janitor could not sweep");
                }
                tokio::time::sleep(TICK).await;
            };
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn purge(&self) {
        if let Err(error) = self.store.purge_secrets().await {
            tracing::warn!(error = error.for_log(), "old secrets could not be deleted");
        }
        if let Err(error) = self.store.purge_janitor().await {
            tracing::warn!(error = error.for_log(), "old sweeps and findings could not be deleted");
        }
        if let Err(error) = self.store.purge_idempotent_answers().await {
            tracing::warn!(error = error.for_log(), "old answers to requests with a key could not be deleted");
        }
    }

    /// Makes one sweep, if one is due and it is this server's turn.
    ///
    /// # Errors
    /// When the database is away; what a cloud refuses is in the sweep.
    pub async fn catch_up(&self) -> Result<Option<SweepRow>> {
        if !self.store.sweep_due(self.settings.interval).await? {
            return Ok(None);
        }
        let Some(mut turn) = self.store.janitor_turn().await? else { return Ok(None) };
        let outcome = tokio::select! {
            outcome = self.sweep_next() => outcome,
            () = turn.lost() => {
                tracing::warn!("the database ended this server's turn in the middle of a sweep");
                Ok(None)
            }
        };
        turn.release().await;
        outcome
    }

    async fn sweep_next(&self) -> Result<Option<SweepRow>> {
        let Some(sweep) = self.store.begin_sweep(&self.server, &self.settings).await? else { return Ok(None) };
        // Asked for before the sweep, so that what becomes due during it waits for the next one.
        let due = if sweep.is_full() { self.store.due_searches(DUE_AT_ONCE).await? } else { Vec::new() };
        let places = self.places(&sweep).await?;
        let swept = stream::iter(places)
            .map(|(account, region, with_identities)| self.sweep_place(&sweep, account, region, with_identities));
        let swept: Vec<SweptPlace> = swept.buffered(PLACES_AT_ONCE).collect().await;
        self.note_searched(&due, &swept).await?;
        self.store.end_sweep(sweep.id, &swept).await.map(Some)
    }

    /// Builds whose own region was looked at need no search any more.
    async fn note_searched(&self, due: &[DueSearch], swept: &[SweptPlace]) -> Result<()> {
        let was_looked_at = |search: &DueSearch| {
            let mut places = swept.iter().filter(|place| place.error.is_none());
            places.any(|place| place.account == search.account && place.region == search.region)
        };
        for search in due.iter().filter(|search| was_looked_at(search)) {
            self.store.clear_search(search).await?;
        }
        Ok(())
    }

    /// Where to look: in all accounts, where builds have been and where the configuration lets them be. With one region of each
    /// account goes what is the same in all of them.
    async fn places(&self, sweep: &SweepRow) -> Result<Vec<(String, String, bool)>> {
        let wanted = &sweep.wanted;
        let mut places = Vec::new();
        for account in self.accounts.names() {
            if wanted.account.as_ref().is_some_and(|wanted| *wanted != account) {
                continue;
            }
            let mut regions = self.accounts.regions(&account);
            regions.extend(self.store.regions_used(&account).await?);
            regions.sort();
            regions.dedup();
            let first = regions.first().cloned();
            regions.retain(|region| wanted.region.as_ref().is_none_or(|wanted| wanted == region));
            places.extend(regions.into_iter().map(|region| {
                let with_identities = first.as_ref() == Some(&region);
                (account.clone(), region, with_identities)
            }));
        }
        Ok(places)
    }

    async fn sweep_place(
        &self,
        sweep: &SweepRow,
        account: String,
        region: String,
        with_identities: bool,
    ) -> SweptPlace {
        let work = self.try_place(sweep, &account, &region, with_identities);
        let swept = tokio::time::timeout(PLACE_LIMIT, work).await;
        let swept = swept.unwrap_or_else(|_| Err(format!("not done after {} minutes", PLACE_LIMIT.as_secs() / 60)));
        let mut place = SweptPlace { account, region, error: None, found: 0, removed: 0, failed: 0 };
        match swept {
            Ok(findings) => {
                let count = |action| findings.iter().filter(|found| found.action == action).count();
                place.found = number(findings.len());
                place.removed = number(count(FindingAction::Removed));
                place.failed = number(count(FindingAction::Failed));
                tell(&place, &findings);
            }
            Err(error) => {
                tracing::warn!(place.account, place.region, error, "the janitor could not sweep here");
                place.error = Some(error);
            }
        }
        place
    }

    /// Sweeps one region of one account, and writes down what it saw there.
    async fn try_place(
        &self,
        sweep: &SweepRow,
        account: &str,
        region: &str,
        with_identities: bool,
    ) -> Result<Vec<NewFinding>, String> {
        let cloud = self.accounts.account(account).ok_or("the account is not configured any more")?;
        let now = self.clock.now();
        let age = TimeDelta::from_std(self.settings.packer_leftover_age).unwrap_or(TimeDelta::MAX);
        let packer_before = now.checked_sub_signed(age).unwrap_or(DateTime::UNIX_EPOCH);
        let things = look::look(&*cloud, region, self.deployment, (now, packer_before)).await;
        let mut things = things.map_err(|error| could_not_look(&error))?;
        let place = Place { cloud: &*cloud, account, region, with_identities };
        let further = self.further.look(place, self.deployment, now).await;
        things.extend(further.things);
        let known = self.known(&things).await.map_err(|error| error.public)?;
        let mut findings = Vec::new();
        for thing in things {
            if let Some(verdict) = verdict::judge(&thing, &known, &self.settings, now) {
                findings.push(carry_out(&*cloud, region, thing, verdict, sweep.wanted.dry_run).await);
            }
        }
        let written = self.store.record_findings(sweep.id, (account, region), &findings, &further.unseen).await;
        written.map_err(|error| {
            tracing::warn!(account, region, error = error.for_log(), "findings could not be written");
            format!("what was done could not be written down: {}", error.public)
        })?;
        Ok(findings)
    }

    /// Attempts before states: a build that is retried in between counts as not over, rather than the other way round.
    async fn known(&self, things: &[Thing]) -> Result<Knowledge> {
        let build = |thing: &Thing| match thing.origin {
            Origin::Ours { build, .. } => build,
            Origin::Packer { .. } => None,
        };
        let mut builds: Vec<BuildId> = things.iter().filter_map(build).collect();
        builds.sort();
        builds.dedup();
        let attempts = self.store.newest_attempts(&builds).await?;
        Ok(Knowledge { attempts, standing: self.store.builds_over(&builds).await? })
    }
}

/// Does what was decided; the finding says how that went.
async fn carry_out(cloud: &dyn Cloud, region: &str, thing: Thing, verdict: Verdict, dry_run: bool) -> NewFinding {
    let (action, detail) = match verdict {
        Verdict { remove: false, detail, .. } => (FindingAction::Reported, detail),
        Verdict { remove: true, .. } if dry_run => (FindingAction::WouldRemove, None),
        Verdict { remove: true, .. } => match remove(cloud, region, &thing).await {
            Ok(false) => (FindingAction::Reported, Some("it has become an artifact since it was found".to_owned())),
            Ok(true) => (FindingAction::Removed, None),
            Err(error) if error.class == CloudErrorClass::NotFound => (FindingAction::Removed, None),
            // Something uses it that goes in this sweep too; the next one has it.
            Err(error) if error.class == CloudErrorClass::Busy => (FindingAction::Waiting, Some(error.to_string())),
            Err(error) => (FindingAction::Failed, Some(error.to_string())),
        },
    };
    let build = match thing.origin {
        Origin::Ours { build, .. } => build,
        Origin::Packer { .. } => None,
    };
    NewFinding {
        kind: thing.kind,
        resource_id: thing.id,
        name: thing.name,
        why: verdict.why,
        build,
        tags: thing.tags,
        created_at: thing.created_at,
        usd_per_hour: thing.usd_per_hour,
        action,
        detail,
    }
}

/// Removes it; `false` when it may not go any more. Between the look and this, a build may have committed its image, and what
/// was committed is nobody's to remove: so images and snapshots are looked at once more.
async fn remove(cloud: &dyn Cloud, region: &str, thing: &Thing) -> CloudResult<bool> {
    let filters = |name: &str| vec![Filter::new(name, [&thing.id]), Filter::tag(tags::TEMPORARY, "true")];
    let goes = match (thing.kind, &thing.origin) {
        (FindingKind::Image, Origin::Ours { .. }) => {
            let query =
                ImageQuery { owners: vec!["self".into()], filters: filters("image-id"), include_deprecated: true };
            !cloud.find_images(region, &query).await?.is_empty()
        }
        (FindingKind::Snapshot, Origin::Ours { .. }) => {
            !cloud.find_snapshots(region, &filters("snapshot-id")).await?.is_empty()
        }
        _ => true,
    };
    if goes {
        remove_now(cloud, region, thing).await?;
    }
    Ok(goes)
}

async fn remove_now(cloud: &dyn Cloud, region: &str, thing: &Thing) -> CloudResult<()> {
    match thing.kind {
        FindingKind::Instance => cloud.terminate_instance(region, &thing.id).await,
        FindingKind::Image => cloud.deregister_image(region, &thing.id).await,
        FindingKind::Snapshot => cloud.delete_snapshot(region, &thing.id).await,
        FindingKind::Volume => cloud.delete_volume(region, &thing.id).await,
        FindingKind::NetworkInterface => cloud.delete_network_interface(region, &thing.id).await,
        FindingKind::SecurityGroup => cloud.delete_security_group(region, &thing.id).await,
        FindingKind::KeyPair => cloud.delete_key_pair(region, &thing.id).await,
        FindingKind::LaunchTemplate => cloud.delete_launch_template(region, &thing.id).await,
        FindingKind::InstanceProfile => further::remove_instance_profile(cloud, region, &thing.id).await,
        FindingKind::Role => further::remove_role(cloud, region, &thing.id).await,
    }
}

fn could_not_look(error: &CloudError) -> String {
    match error.class {
        CloudErrorClass::Unauthorized => {
            format!(
                "{error} (let the account's role describe what Ingot makes, see deploy/aws, or take the region out)"
            )
        }
        CloudErrorClass::Throttled => format!("{error} (the next sweep looks again)"),
        _ => error.to_string(),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Says what a person should know of a place.
fn tell(place: &SweptPlace, findings: &[NewFinding]) {
    let ids = |wanted: &dyn Fn(&NewFinding) -> bool| {
        let ids: Vec<&str> = findings.iter().filter(|one| wanted(one)).map(|one| one.resource_id.as_str()).collect();
        Some(ids.join(" ")).filter(|ids| !ids.is_empty())
    };
    let (account, region) = (&place.account, &place.region);
    let removed = |one: &NewFinding| one.action == FindingAction::Removed;
    if let Some(removed) = ids(&|one| removed(one) && one.why == Why::LeftBehind) {
        tracing::warn!(account, region, removed, "removed what builds that are over had left behind");
    }
    if let Some(removed) = ids(&|one| removed(one) && one.why == Why::PackerLeftover) {
        tracing::warn!(account, region, removed, "removed old leftovers of Packer");
    }
    if let Some(unknown) = ids(&|one| one.why == Why::UnknownBuild) {
        tracing::warn!(
            account,
            region,
            unknown,
            "temporary things with this deployment's tag belong to builds that the database does not know; they are left alone"
        );
    }
    for failed in findings.iter().filter(|one| one.action == FindingAction::Failed) {
        tracing::warn!(account, region, id = failed.resource_id, error = failed.detail, "could not be removed");
    }
}

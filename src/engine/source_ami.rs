//! Which image a build starts from, by its `source_ami` or `source_ami_filter`: what to ask the cloud, and which of its
//! answers is the one. The first step of a build uses it, and the acceptance of a run that may join another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use crate::cloud::{Accounts, Cloud, CloudErrorClass, Filter, Image, ImageQuery, ImageState};
use crate::domain::config::amazon_ebs::{SourceAmi, SourceAmiFilter};
use crate::domain::config::{AmazonEbs, BuildConfig};
use crate::domain::dedupe::Sources;
use crate::domain::failure::Failure;

/// How long a request waits for the cloud. When it is over, its run is made anew.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Throttled or briefly unreachable.
const TRIES: u32 = 3;

/// What to ask for a build's source image.
#[must_use]
pub fn query(ebs: &AmazonEbs) -> ImageQuery {
    match &ebs.source {
        SourceAmi::Id(id) => ImageQuery {
            filters: vec![Filter::new("image-id", [id])],
            include_deprecated: true,
            ..ImageQuery::default()
        },
        SourceAmi::Filter(filter) => ImageQuery {
            owners: filter.owners.clone(),
            filters: filter.filters.iter().map(|(name, values)| Filter::new(name, values)).collect(),
            include_deprecated: filter.include_deprecated,
        },
    }
}

/// The source image among what was found.
///
/// # Errors
/// `source-ami-not-found`, `source-ami-ambiguous`, `source-ami-unavailable`, `source-ami-not-ebs`.
pub fn choose(ebs: &AmazonEbs, found: Vec<Image>) -> Result<Image, Failure> {
    let image = match &ebs.source {
        SourceAmi::Id(id) => found.into_iter().next().ok_or_else(|| {
            Failure::user("source-ami-not-found", format!("source_ami {id} was not found in {}.", ebs.region))
                .with_advice(
                    "AMI ids belong to one region; check that it is this one and that the account may see the image.",
                )
        })?,
        SourceAmi::Filter(filter) => by_filter(ebs, filter, found)?,
    };
    if image.state != ImageState::Available {
        return Err(Failure::user(
            "source-ami-unavailable",
            format!("The source image {} is not available.", image.id),
        ));
    }
    if image.root_device_type != "ebs" {
        return Err(Failure::user(
            "source-ami-not-ebs",
            format!(
                "The source image {} has a root device of type {:?}; amazon-ebs needs \"ebs\".",
                image.id, image.root_device_type
            ),
        ));
    }
    Ok(image)
}

/// The images among which a filter with these owners chooses, the newest first.
#[must_use]
pub fn candidates(owners: &[String], mut found: Vec<Image>) -> Vec<Image> {
    // The cloud was asked for these owners only. An image of a stranger with a look-alike name must never be picked, so
    // the answer is checked as well.
    // A filter without owners names the image by its id.
    found.retain(|image| owners.is_empty() || owner_is_named(owners, image));
    found.retain(|image| image.state == ImageState::Available);
    found.sort_by(|a, b| b.creation_date.cmp(&a.creation_date).then_with(|| b.id.cmp(&a.id)));
    found
}

fn by_filter(ebs: &AmazonEbs, filter: &SourceAmiFilter, found: Vec<Image>) -> Result<Image, Failure> {
    let found = candidates(&filter.owners, found);
    let wanted = || {
        filter.filters.iter().map(|(name, values)| format!("{name}={}", values.join(","))).collect::<Vec<_>>().join(" ")
    };
    if found.len() > 1 && !filter.most_recent {
        let names: Vec<&str> = found.iter().take(3).map(|image| image.name.as_str()).collect();
        return Err(Failure::user(
            "source-ami-ambiguous",
            format!("source_ami_filter matched {} images in {} ({}, …).", found.len(), ebs.region, names.join(", ")),
        )
        .with_advice("Add `most_recent = true` to take the newest, or narrow the filter."));
    }
    found.into_iter().next().ok_or_else(|| {
        Failure::user(
            "source-ami-not-found",
            format!(
                "source_ami_filter matched no image in {} ({}; owners {}).",
                ebs.region,
                wanted(),
                filter.owners.join(", ")
            ),
        )
        .with_advice("Check the name pattern, the owners and the region.")
    })
}

fn owner_is_named(owners: &[String], image: &Image) -> bool {
    owners.iter().any(|owner| {
        // `self` was resolved by the cloud to the account itself; nothing of a stranger can match it.
        owner == "self" || *owner == image.owner_id || image.owner_alias.as_deref() == Some(owner.as_str())
    })
}

/// The source AMIs that these builds would start from now, by build.
pub async fn resolve(accounts: Option<&dyn Accounts>, account: &str, builds: &[BuildConfig]) -> Sources {
    let work = try_join_all(builds.iter().map(|build| resolve_one(accounts, account, build)));
    match tokio::time::timeout(TIME_LIMIT, work).await {
        Ok(Ok(found)) => Sources::Known(BTreeMap::from_iter(found)),
        Ok(Err(why)) => Sources::Unknown(why),
        Err(_) => Sources::Unknown(too_slow()),
    }
}

/// Those of these AMIs (region, id) that the cloud does not have, or not as available ones.
///
/// # Errors
/// Why that can't be told, as the rest of a sentence.
pub async fn missing(
    accounts: Option<&dyn Accounts>,
    account: &str,
    amis: &[(String, String)],
) -> Result<BTreeSet<String>, String> {
    let mut by_region: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
    for (region, ami) in amis {
        by_region.entry(region).or_default().push(ami);
    }
    let look = async |(region, wanted): (&String, &Vec<&String>)| {
        let cloud = cloud_of(accounts, account)?;
        // A filter: one unknown id would fail a list of ids.
        let filters = vec![Filter::new("image-id", wanted.iter().copied())];
        let query = ImageQuery { filters, include_deprecated: true, ..ImageQuery::default() };
        let found = find(&*cloud, region, &query).await;
        let found = found.map_err(|code| format!("the AMIs in {region} could not be looked up ({code})"))?;
        Ok::<_, String>(found.into_iter().filter(|image| image.state == ImageState::Available).map(|image| image.id))
    };
    let work = try_join_all(by_region.iter().map(|(region, wanted)| look((region, wanted))));
    let found = tokio::time::timeout(TIME_LIMIT, work).await.map_err(|_| too_slow())??;
    let found: BTreeSet<String> = found.into_iter().flatten().collect();
    Ok(amis.iter().map(|(_, ami)| ami).filter(|ami| !found.contains(*ami)).cloned().collect())
}

fn too_slow() -> String {
    format!("the cloud did not answer within {} s", TIME_LIMIT.as_secs())
}

fn cloud_of(accounts: Option<&dyn Accounts>, account: &str) -> Result<Arc<dyn Cloud>, String> {
    let cloud = accounts.and_then(|accounts| accounts.account(account));
    cloud.ok_or_else(|| format!("this server has no access to account `{account}`"))
}

/// The build's name and its source AMI.
async fn resolve_one(
    accounts: Option<&dyn Accounts>,
    account: &str,
    build: &BuildConfig,
) -> Result<(String, String), String> {
    let cloud = cloud_of(accounts, account)?;
    // What a build of another kind does is not in an image that could be used again.
    let ebs = build.builder.ebs().ok_or_else(|| format!("build `{}` starts from no AMI", build.name))?;
    let found = find(&*cloud, &ebs.region, &query(ebs)).await;
    let found =
        found.map_err(|code| format!("the source AMI of build `{}` could not be looked up ({code})", build.name))?;
    // Not the failure's message: it quotes the filters, which may hold what is hidden.
    let image = choose(ebs, found)
        .map_err(|failure| format!("build `{}` has no source AMI to compare ({})", build.name, failure.code))?;
    Ok((build.name.clone(), image.id))
}

/// What matches, or the code of the error.
async fn find(cloud: &dyn Cloud, region: &str, query: &ImageQuery) -> Result<Vec<Image>, String> {
    let mut tries = 0;
    loop {
        tries += 1;
        match cloud.find_images(region, query).await {
            Ok(found) => return Ok(found),
            Err(error)
                if tries < TRIES
                    && matches!(error.class, CloudErrorClass::Throttled | CloudErrorClass::Unavailable) =>
            {
                tokio::time::sleep(Duration::from_millis(250 * u64::from(tries))).await;
            }
            Err(error) => return Err(error.code),
        }
    }
}

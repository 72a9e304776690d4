//! Removing things until they are gone, and images with their snapshots; shared by all steps.

use std::collections::BTreeSet;

use crate::cloud::{CloudError, CloudErrorClass, CloudResult, Filter, Image, ImageQuery};
use crate::engine::step::{Made, StepContext, StepResult};

use super::{finding, retry};

/// Removes something until it is gone. Gone already is as good as removed; what is still in use is waited for, and a removal
/// without an answer is asked for again, because removing twice is the same as once.
///
/// # Errors
/// The last failure as a step's error.
pub async fn until_gone<F>(context: &StepContext, mut remove: impl FnMut() -> F) -> StepResult<()>
where
    F: Future<Output = CloudResult<()>>,
{
    let again = |error: &CloudError| matches!(error.class, CloudErrorClass::Busy | CloudErrorClass::UnknownOutcome);
    match retry::passing(context, again, &mut remove).await? {
        Err(error) if error.class != CloudErrorClass::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// This attempt's images in a region.
///
/// # Errors
/// When the cloud can't be asked.
pub async fn own_images(context: &StepContext, region: &str) -> StepResult<Vec<Image>> {
    let query = ImageQuery { owners: vec!["self".into()], filters: finding::own(context), include_deprecated: true };
    retry::call(context, || context.cloud.find_images(region, &query)).await
}

/// Whether an answer says for certain that the call has made nothing, now or before.
#[must_use]
pub fn is_definite(error: &CloudError) -> bool {
    use CloudErrorClass::{Busy, Capacity, Duplicate, Invalid, NotFound};
    matches!(error.class, Busy | Capacity | Duplicate | Invalid | NotFound)
}

/// This attempt's image of a name, which an account has once in a region.
///
/// # Errors
/// When the cloud can't be asked.
pub async fn own_image_of_name(context: &StepContext, region: &str, name: &str) -> StepResult<Option<String>> {
    let own = own_images(context, region).await?;
    Ok(own.into_iter().find(|image| image.name == name).map(|image| image.id))
}

/// An image's snapshots without those that the template names for devices of it: they are not the build's to tag, to share or
/// to remove.
#[must_use]
pub fn own_snapshots(context: &StepContext, mut ids: Vec<String>) -> Vec<String> {
    let ebs = context.config.as_deref().and_then(|config| config.builder.ebs());
    let devices = ebs.into_iter().flat_map(|ebs| &ebs.ami_block_device_mappings);
    let foreign: BTreeSet<&str> = devices.filter_map(|device| device.snapshot_id.as_deref()).collect();
    ids.retain(|id| !foreign.contains(id.as_str()));
    ids
}

/// Removes this attempt's image in a region and its snapshots. The snapshots' ids are journaled before the image is
/// deregistered: afterwards nothing would lead to those that carry no tags.
///
/// # Errors
/// When something could not be removed.
pub async fn remove_images<O>(
    context: &StepContext,
    region: &str,
    image_id: Option<&str>,
    made: &Made<O>,
    found_before: &[String],
) -> StepResult<Vec<String>> {
    let mut images = finding::look(context, made, || own_images(context, region)).await?;
    if let Some(id) = image_id
        && !images.iter().any(|image| image.id == id)
    {
        let query = ImageQuery {
            owners: vec!["self".into()],
            filters: vec![Filter::new("image-id", [id])],
            include_deprecated: true,
        };
        images.extend(retry::call(context, || context.cloud.find_images(region, &query)).await?);
    }
    let mut snapshots: Vec<String> = found_before.iter().filter(|id| id.starts_with("snap-")).cloned().collect();
    for image in &images {
        snapshots.extend(own_snapshots(context, image.snapshot_ids.clone()));
    }
    let own = finding::own(context);
    let tagged = retry::call(context, || context.cloud.find_snapshots(region, &own)).await?;
    snapshots.extend(tagged.into_iter().map(|snapshot| snapshot.id));
    snapshots.sort();
    snapshots.dedup();
    if !snapshots.is_empty() {
        context.journal_found(&snapshots).await?;
    }
    let mut removed = Vec::new();
    for image in images {
        if image.deregistration_protection {
            until_gone(context, || context.cloud.unprotect_image(region, &image.id)).await?;
        }
        until_gone(context, || context.cloud.deregister_image(region, &image.id)).await?;
        removed.push(image.id);
    }
    for id in snapshots {
        // A snapshot of an image that was deregistered a moment ago can still count as in use.
        until_gone(context, || context.cloud.delete_snapshot(region, &id)).await?;
        removed.push(id);
    }
    if !removed.is_empty() {
        context.log.say(&format!("Removed {} in {region}.", removed.join(", "))).await;
    }
    Ok(removed)
}

//! A snapshot of one of the machine's volumes. EC2 gives it neither a name nor a token: it is found again by its tags, one of
//! which names the device.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{Filter, NewSnapshot, Snapshot};
use crate::domain::config::LateString;
use crate::domain::failure::Failure;
use crate::domain::tags::{self, TagList};
use crate::engine::step::{Made, Step, StepContext, StepResult};

use super::{finding, image_tags, list_volumes, removal, retry};

pub struct SnapshotVolume {
    pub device: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    device: String,
    volume_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub snapshot_id: String,
}

#[async_trait]
impl Step for SnapshotVolume {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {
            region: context.ebs()?.region.clone(),
            device: self.device.clone(),
            volume_id: list_volumes::volume_of(context, &self.device)?,
        })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let (description, tags) = description_and_tags(context, &intent.device)?;
        let request = NewSnapshot { volume_id: intent.volume_id.clone(), description, tags };
        context.log.say(&format!("Creating a snapshot of {} ({})", request.volume_id, intent.device)).await;
        let create = || context.cloud.create_snapshot(&intent.region, &request);
        let find = || async { Ok(own(context, intent).await?.into_iter().next().map(|snapshot| snapshot.id)) };
        let snapshot_id = retry::make_nameless(context, create, find).await?;
        context.log.say(&format!("Snapshot of {}: {snapshot_id}", intent.device)).await;
        Ok(Output { snapshot_id })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let found = finding::look(context, &made, || own(context, intent)).await?;
        let mut ids: Vec<String> = found.into_iter().map(|snapshot| snapshot.id).collect();
        // Not all that carries our tags may be seen yet.
        if let Made::Yes(output) = made
            && !ids.contains(&output.snapshot_id)
        {
            ids.push(output.snapshot_id);
        }
        for id in &ids {
            removal::until_gone(context, || context.cloud.delete_snapshot(&intent.region, id)).await?;
        }
        if !ids.is_empty() {
            context.log.say(&format!("Removed {} in {}.", ids.join(", "), intent.region)).await;
        }
        Ok(ids)
    }
}

/// This attempt's snapshots of the device.
async fn own(context: &StepContext, intent: &Intent) -> StepResult<Vec<Snapshot>> {
    let mut filters = finding::own(context);
    filters.push(Filter::tag(tags::DEVICE, &intent.device));
    retry::call(context, || context.cloud.find_snapshots(&intent.region, &filters)).await
}

fn description_and_tags(context: &StepContext, device: &str) -> Result<(String, TagList), Failure> {
    let builder = &context.config()?.builder;
    let (description, mut tags) = if let Some(volume) = builder.volumes().and_then(|build| build.volume(device)) {
        (volume.snapshot_description.clone(), image_tags::volume_snapshot_tags(context, volume)?)
    } else {
        let description = builder.surrogate().map(|surrogate| surrogate.snapshot_description.clone());
        (description.unwrap_or_default(), image_tags::snapshot_tags(context)?)
    };
    tags.push((tags::DEVICE.into(), device.to_owned()));
    let description = match &description {
        LateString(text) if text.is_empty() => format!("{device} of {}", context.facts.build_name),
        given => image_tags::render(context, given)?,
    };
    Ok((description, tags))
}

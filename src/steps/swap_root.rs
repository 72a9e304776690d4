//! `use_create_image`: before an image is made of the machine, the volume that was filled takes the place of its root. What
//! else is not in the image is detached. All of these volumes carry the build's tags, so they go with the machine.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cloud::{CloudError, CloudErrorClass, CloudResult, Volume};
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepError, StepResult};

use super::retry::Patience;
use super::wait_limit::WaitLimit;
use super::{launch, list_volumes, retry};

/// Without `aws_polling`. A volume of a machine at rest is detached within seconds.
const LIMIT: Duration = Duration::from_mins(15);
/// A volume that has not begun to move so long after the call is moved again: the call was lost.
const ASK_AGAIN: Duration = Duration::from_secs(20);

pub struct SwapRoot;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    instance_id: String,
    root_device: String,
    /// What becomes the root.
    volume_id: String,
    /// What must not be attached when the image is made, the new root where it was included.
    detach: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for SwapRoot {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        let builder = &context.config()?.builder;
        let surrogate = builder.surrogate().ok_or_else(|| {
            Failure::ours("plan-order", format!("{} has no volume for a root", builder.builder_type()))
        })?;
        let launched: launch::Output = context.output("launch")?;
        let listed: list_volumes::Output = context.output("list_volumes")?;
        let goes = |device: &str| {
            device == surrogate.root.device_name
                || device == surrogate.source_device_name
                || surrogate.omitted.iter().any(|omitted| omitted == device)
        };
        Ok(Intent {
            region: surrogate.machine.region.clone(),
            instance_id: launched.instance_id,
            root_device: surrogate.root.device_name.clone(),
            volume_id: list_volumes::volume_of(context, &surrogate.source_device_name)?,
            detach: listed.volumes.iter().filter(|(device, _)| goes(device)).map(|(_, id)| id.clone()).collect(),
        })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let limit = WaitLimit::of(context, LIMIT)?;
        let attached = list_volumes::attached(context).await?;
        let is_new_root = |id: &str| id == intent.volume_id;
        let done =
            attached.iter().any(|device| is_new_root(&device.volume_id) && device.device_name == intent.root_device);
        for id in intent.detach.iter().filter(|id| !(done && is_new_root(id))) {
            detach(context, intent, id, limit).await?;
        }
        if !done {
            attach(context, intent, limit).await?;
        }
        Ok(Output {})
    }
}

async fn detach(context: &StepContext, intent: &Intent, id: &str, limit: WaitLimit) -> StepResult<()> {
    context.log.say(&format!("Detaching {id} from {}", intent.instance_id)).await;
    let detach = || context.cloud.detach_volume(&intent.region, &intent.instance_id, id);
    until(context, (intent, id), limit, |volume| volume.state == "available", detach).await
}

async fn attach(context: &StepContext, intent: &Intent, limit: WaitLimit) -> StepResult<()> {
    let id = intent.volume_id.as_str();
    context.log.say(&format!("Attaching {id} to {} as {}", intent.instance_id, intent.root_device)).await;
    let attach = || context.cloud.attach_volume(&intent.region, &intent.instance_id, id, &intent.root_device);
    let is_there = |volume: &Volume| volume.state == "in-use" && volume.instance_ids.contains(&intent.instance_id);
    until(context, (intent, id), limit, is_there, attach).await
}

/// Looks at a volume until it is as wanted, and sends the call that moves it.
async fn until<F>(
    context: &StepContext,
    (intent, id): (&Intent, &str),
    limit: WaitLimit,
    wanted: impl Fn(&Volume) -> bool,
    mut call: impl FnMut() -> F,
) -> StepResult<()>
where
    F: Future<Output = CloudResult<()>>,
{
    let mut watch = context.watcher.volume(&context.facts.account, &intent.region, id);
    let mut patience = Patience::default();
    let mut asked: Option<Instant> = None;
    loop {
        let next = tokio::time::timeout_at(limit.until, watch.next());
        let Ok(observation) = context.waiting(next).await? else {
            return Err(limit.passed("volume-wait-timeout", &format!("Volume {id} was not moved")).into());
        };
        let observation = observation.map_err(|_| StepError::Interrupted)?;
        patience.note(observation.error.as_ref())?;
        if observation.error.is_some() {
            continue;
        }
        if observation.seen.is_some_and(|volume| wanted(&volume)) {
            return Ok(());
        }
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN) {
            // In use still, or moved already: the next look tells. So it does when the answer was lost.
            let passes =
                |error: &CloudError| matches!(error.class, CloudErrorClass::Busy | CloudErrorClass::UnknownOutcome);
            match retry::passing(context, |_| false, &mut call).await? {
                Err(error) if !passes(&error) => return Err(error.into()),
                _ => asked = Some(Instant::now()),
            }
        }
    }
}

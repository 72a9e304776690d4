//! The machine's volumes by their devices, looked up once, so that later steps name them in their intents.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::InstanceDevice;
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{launch, retry};

/// Not every part of EC2 may know of a volume yet when the machine runs. Together a quarter of a minute.
const PAUSES: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

pub struct ListVolumes;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    /// Volume ids by device.
    pub volumes: BTreeMap<String, String>,
    /// Those that do not go with their machine.
    pub staying: Vec<String>,
}

#[async_trait]
impl Step for ListVolumes {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let devices = &context.ebs()?.launch_block_device_mappings;
        // What is detached stays, whatever the launch said.
        let swapped = context.config()?.builder.surrogate().is_some_and(|surrogate| surrogate.use_create_image);
        let mut missing = None;
        for pause in PAUSES {
            context.pause(pause).await?;
            let attached = attached(context).await?;
            let stays = attached.iter().filter(|device| swapped || !device.delete_on_termination);
            let staying: Vec<String> = stays.map(|device| device.volume_id.clone()).collect();
            let volumes: BTreeMap<String, String> =
                attached.into_iter().map(|device| (device.device_name, device.volume_id)).collect();
            missing = devices.iter().find(|device| device.has_volume() && !volumes.contains_key(&device.device_name));
            if missing.is_none() {
                return Ok(Output { volumes, staying });
            }
        }
        Err(not_attached(missing.map_or("", |device| &device.device_name)).into())
    }
}

/// What is attached to the machine.
///
/// # Errors
/// When the cloud can't be asked.
pub async fn attached(context: &StepContext) -> StepResult<Vec<InstanceDevice>> {
    let launched: launch::Output = context.output("launch")?;
    let (place, own) = (context.place(&context.ebs()?.region), context.ownership());
    let found = retry::call(context, || context.looks.live_instances(&place, &own)).await?;
    let machine = found.into_iter().find(|instance| instance.id == launched.instance_id);
    Ok(machine.map(|instance| instance.devices).unwrap_or_default())
}

/// The failure of a step that needs a volume which is not there.
#[must_use]
pub fn not_attached(device: &str) -> Failure {
    Failure::cloud("volume-not-attached", format!("The volume {device} is not attached to the machine."))
        .with_advice("CloudTrail tells who called DetachVolume; a script must not detach the volume itself.")
}

/// The volume that was attached at a device once the machine ran.
///
/// # Errors
/// When the plan has no list of them, a fault of ours, or the list has no such device.
pub fn volume_of(context: &StepContext, device: &str) -> Result<String, Failure> {
    let listed: Output = context.output("list_volumes")?;
    listed.volumes.get(device).cloned().ok_or_else(|| not_attached(device))
}

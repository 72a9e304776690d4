//! Volumes of `launch_block_device_mappings` that say `delete_on_termination = false`: they outlive a build that succeeds.
//! They are looked up while they are attached; what is done with them is the commit's (`commit.rs`) and the launch's undo.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::list_volumes;

pub struct KeepVolumes;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub volume_ids: Vec<String>,
}

#[async_trait]
impl Step for KeepVolumes {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let ebs = context.ebs()?;
        let devices = ebs.launch_block_device_mappings.iter().filter(|device| device.outlives_build);
        let attached = list_volumes::attached(context).await?;
        let mut volume_ids = Vec::new();
        for device in devices {
            let volume = attached.iter().find(|attached| attached.device_name == device.device_name);
            let missing = || list_volumes::not_attached(&device.device_name);
            volume_ids.push(volume.ok_or_else(missing)?.volume_id.clone());
        }
        Ok(Output { volume_ids })
    }
}

/// The volumes that stay, once the build is committed; before that all of them go with their machine.
///
/// # Errors
/// When the journal's record can't be read.
pub fn kept(context: &StepContext) -> Result<Vec<String>, Failure> {
    if !context.committed {
        return Ok(Vec::new());
    }
    let output: Option<Output> = context.output_if_any("keep_volumes")?;
    Ok(output.map(|output| output.volume_ids).unwrap_or_default())
}

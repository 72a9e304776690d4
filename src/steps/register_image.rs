//! The AMI of the snapshots of a surrogate's volumes. Its name is unique in account and region, as that of an image which is
//! made of a machine (`create_image`).

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::NewRegistration;
use crate::domain::config::AmazonEbsSurrogate;
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepResult};

use super::create_image::{self, Output};
use super::{image_tags, removal, retry, wait_snapshots};

pub struct RegisterImage;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
}

#[async_trait]
impl Step for RegisterImage {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent { region: context.ebs()?.region.clone() })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let builder = &context.config()?.builder;
        let surrogate = builder
            .surrogate()
            .ok_or_else(|| Failure::ours("plan-order", format!("{} registers no image", builder.builder_type())))?;
        let request = request(context, surrogate)?;
        context.log.say(&format!("Registering AMI {}", request.name)).await;
        let register = || context.cloud.register_image(&intent.region, &request);
        let find = || removal::own_image_of_name(context, &intent.region, &request.name);
        let image_id = retry::make(context, |_| false, register, find).await?;
        context.log.say(&format!("AMI: {image_id}")).await;
        Ok(Output { image_id })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        found: &[String],
    ) -> StepResult<Vec<String>> {
        let id = made.output().map(|output| output.image_id.as_str());
        removal::remove_images(context, &intent.region, id, &made, found).await
    }
}

fn request(context: &StepContext, surrogate: &AmazonEbsSurrogate) -> Result<NewRegistration, Failure> {
    let machine = &surrogate.machine;
    let made: wait_snapshots::Output = context.output("wait_snapshots")?;
    Ok(NewRegistration {
        name: create_image::name(context, machine),
        description: image_tags::render(context, &machine.ami_description)?,
        architecture: surrogate.architecture.clone(),
        virtualization_type: machine.ami_virtualization_type.clone().unwrap_or_else(|| "hvm".into()),
        ena_support: machine.ena_support == Some(true),
        sriov_support: machine.sriov_support,
        boot_mode: surrogate.boot_mode.clone(),
        uefi_data: surrogate.uefi_data.clone(),
        tpm_support: surrogate.tpm_support.clone(),
        imds_v2: machine.imds_support.is_some(),
        root_device_name: surrogate.root.device_name.clone(),
        block_devices: surrogate.image_devices(&made.snapshots),
        image_tags: image_tags::image_tags(context)?,
    })
}

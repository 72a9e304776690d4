//! A spot instance: a launch template says what it is, and a fleet of one picks type and place among all that fit. Its step
//! is called `launch`, as that of other instances: what comes after it asks for that step's output.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cloud::{
    CloudError, CloudErrorClass, CloudResult, FleetInstance, FleetOffer, LaunchTemplate, NewFleet, NewLaunchTemplate,
};
use crate::domain::config::launch::Spot as SpotOptions;
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepResult};

use super::check::Checked;
use super::{finding, image_tags, launch, machine, names, removal, retry, termination};

/// With the pauses between them, a minute.
const TRIES: u32 = 7;

pub struct MakeLaunchTemplate;

#[derive(Debug, Serialize, Deserialize)]
pub struct TemplateIntent {
    region: String,
    name: String,
    client_token: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateOutput {
    pub template_id: String,
}

#[async_trait]
impl Step for MakeLaunchTemplate {
    type Intent = TemplateIntent;
    type Output = TemplateOutput;

    fn intent(&self, context: &StepContext) -> Result<TemplateIntent, Failure> {
        Ok(TemplateIntent {
            region: context.ebs()?.region.clone(),
            name: names::temporary(context),
            client_token: names::client_token(context, "template"),
        })
    }

    async fn act(&self, context: &StepContext, intent: &TemplateIntent) -> StepResult<TemplateOutput> {
        context.log.say(&format!("Creating launch template {}", intent.name)).await;
        let run_tags = image_tags::run_tags(context)?;
        let request = NewLaunchTemplate {
            client_token: intent.client_token.clone(),
            name: intent.name.clone(),
            machine: machine::machine(context)?,
            template_tags: finding::temporary_tags(context, &intent.name, &run_tags),
            spot_request_tags: request_tags(context)?,
        };
        // The token makes asking again the same template.
        let lost = |error: &CloudError| error.class == CloudErrorClass::UnknownOutcome;
        let create = || context.cloud.create_launch_template(&intent.region, &request);
        let find = || own_template(context, &intent.region, &intent.name);
        let template_id = retry::make(context, lost, create, find).await?;
        Ok(TemplateOutput { template_id })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &TemplateIntent,
        made: Made<TemplateOutput>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let ids = match &made {
            Made::Yes(output) => vec![output.template_id.clone()],
            _ => finding::look(context, &made, || find(context, &intent.region))
                .await?
                .into_iter()
                .map(|template| template.id)
                .collect(),
        };
        for id in &ids {
            removal::until_gone(context, || context.cloud.delete_launch_template(&intent.region, id)).await?;
            context.log.say(&format!("Deleted launch template {id}")).await;
        }
        Ok(ids)
    }
}

async fn find(context: &StepContext, region: &str) -> StepResult<Vec<LaunchTemplate>> {
    let own = finding::own(context);
    retry::call(context, || context.cloud.find_launch_templates(region, &own)).await
}

async fn own_template(context: &StepContext, region: &str, name: &str) -> StepResult<Option<String>> {
    let found = find(context, region).await?;
    Ok(found.into_iter().find(|template| template.name == name).map(|template| template.id))
}

/// `spot_tags`, on the request behind the instance.
fn request_tags(context: &StepContext) -> Result<crate::domain::tags::TagList, Failure> {
    let tags = image_tags::rendered(context, &options(context)?.tags)?;
    Ok(finding::temporary_tags(context, machine::NAME, &tags))
}

fn options(context: &StepContext) -> Result<&SpotOptions, Failure> {
    let spot = context.ebs()?.spot.as_ref();
    spot.ok_or_else(|| Failure::ours("plan-order", format!("step {} is for spot instances", context.step)))
}

pub struct LaunchSpot;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    template_id: String,
    client_token: String,
}

#[async_trait]
impl Step for LaunchSpot {
    type Intent = Intent;
    type Output = launch::Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        let template: TemplateOutput = context.output("launch_template")?;
        Ok(Intent {
            region: context.ebs()?.region.clone(),
            template_id: template.template_id,
            client_token: names::client_token(context, "fleet"),
        })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<launch::Output> {
        context.log.say("Requesting a spot instance…").await;
        let launched = until_all_is_visible(context, intent).await??;
        context.log.say(&format!("Instance ID: {} ({}, spot)", launched.instance_id, launched.instance_type)).await;
        Ok(launch::Output { instance_id: launched.instance_id })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<launch::Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let mut ids = termination::seen(context, &intent.region, &made).await?;
        if ids.is_empty() && matches!(made, Made::Unknown) {
            ids.extend(spend_tokens(context, intent).await?);
        }
        termination::end(context, &intent.region, ids).await
    }
}

/// A template, key, group or profile made a moment ago may not be visible yet. EC2 remembers a refusal with its token, so
/// each try has one of its own; they are used in order.
async fn until_all_is_visible(context: &StepContext, intent: &Intent) -> StepResult<CloudResult<FleetInstance>> {
    for number in 0..TRIES - 1 {
        match fleet(context, intent, number).await? {
            Err(error) if error.class == CloudErrorClass::NotFound => {
                tracing::debug!(code = error.code, number, "the fleet does not see all of its parts yet");
                context.pause(Duration::from_secs(1 << number)).await?;
            }
            other => return Ok(other),
        }
    }
    fleet(context, intent, TRIES - 1).await
}

/// Nobody knows which of the tries were sent: what a token brings back is ended, and once one has brought something, none
/// after it was used.
async fn spend_tokens(context: &StepContext, intent: &Intent) -> StepResult<Option<String>> {
    for number in 0..TRIES {
        match fleet(context, intent, number).await? {
            Ok(launched) => return Ok(Some(launched.instance_id)),
            Err(error) if removal::is_definite(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The same token brings the same answer.
async fn fleet(context: &StepContext, intent: &Intent, number: u32) -> StepResult<CloudResult<FleetInstance>> {
    let mut request = request(context, intent)?;
    if number > 0 {
        request.client_token = hex::encode(Sha256::digest(format!("{} {number}", intent.client_token)));
    }
    let lost = |error: &CloudError| error.class == CloudErrorClass::UnknownOutcome;
    retry::passing(context, lost, || context.cloud.create_fleet(&intent.region, &request)).await
}

fn request(context: &StepContext, intent: &Intent) -> Result<NewFleet, Failure> {
    let ebs = context.ebs()?;
    let spot = options(context)?;
    let checked: Checked = context.output("check")?;
    let places: Vec<Option<String>> =
        if checked.subnet_ids.is_empty() { vec![None] } else { checked.subnet_ids.into_iter().map(Some).collect() };
    let offer = |instance_type: &String, subnet_id: &Option<String>| FleetOffer {
        instance_type: instance_type.clone(),
        // A subnet has its zone.
        availability_zone: ebs.availability_zone.clone().filter(|_| subnet_id.is_none()),
        subnet_id: subnet_id.clone(),
    };
    let types = ebs.instance_types();
    Ok(NewFleet {
        client_token: intent.client_token.clone(),
        launch_template_id: intent.template_id.clone(),
        offers: types.iter().flat_map(|kind| places.iter().map(move |place| offer(kind, place))).collect(),
        allocation_strategy: spot.allocation_strategy,
        max_price: spot.max_price.clone(),
        fleet_tags: finding::temporary_tags(context, machine::NAME, &image_tags::rendered(context, &spot.fleet_tags)?),
    })
}

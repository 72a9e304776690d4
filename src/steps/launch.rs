//! The build's instance. The client token makes a repeated launch find the first one; all tags go in the same call.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, Instance, InstanceState, NewInstance};
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepError, StepResult};

use super::check::Checked;
use super::{machine, names, removal, retry, termination};

pub struct Launch;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    /// In order of preference; each has a token of its own, because EC2 treats tokens as zonal.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    subnet_id: Option<String>,
    client_token: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub instance_id: String,
}

#[async_trait]
impl Step for Launch {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        let ebs = context.ebs()?;
        let checked: Checked = context.output("check")?;
        let place = |subnet_id: Option<String>| Place {
            client_token: names::client_token(context, subnet_id.as_deref().unwrap_or("any")),
            subnet_id,
        };
        let places = if checked.subnet_ids.is_empty() {
            vec![place(None)]
        } else {
            checked.subnet_ids.into_iter().map(|subnet| place(Some(subnet))).collect()
        };
        Ok(Intent { region: ebs.region.clone(), places })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        context.log.say("Launching a source instance…").await;
        let mut last_error: Option<CloudError> = None;
        for place in &intent.places {
            match launch(context, place, &intent.region).await? {
                Ok(instance) => {
                    context.log.say(&format!("Instance ID: {}", instance.id)).await;
                    return Ok(Output { instance_id: instance.id });
                }
                // Without an answer it may be there, and a second one elsewhere must not be.
                Err(error) if is_of_the_place(&error) => {
                    context.log.say(&format!("{}: {}", error.code, error.message)).await;
                    // An owner that died may have launched here when there was room.
                    if let Some(own) = termination::find(context, &intent.region).await?.into_iter().next() {
                        context.log.say(&format!("Instance ID: {}", own.id)).await;
                        return Ok(Output { instance_id: own.id });
                    }
                    last_error = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last_error
            .map_or_else(|| Failure::ours("no-place", "the plan names no place to launch in").into(), StepError::from))
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let mut ids = termination::seen(context, &intent.region, &made).await?;
        if ids.is_empty() && matches!(made, Made::Unknown) {
            ids = spend_tokens(context, intent).await?;
        }
        termination::end(context, &intent.region, ids).await
    }
}

/// Whether another zone or subnet may have what this one lacks. A quota is the account's, wherever it launches.
fn is_of_the_place(error: &CloudError) -> bool {
    error.class == CloudErrorClass::Capacity && !error.code.ends_with("LimitExceeded")
}

async fn launch(context: &StepContext, place: &Place, region: &str) -> StepResult<Result<Instance, CloudError>> {
    let request = request(context, place)?;
    // A key pair or group made a moment ago may not be visible yet. A lost answer is asked for again: the token makes it
    // the same instance.
    let mut lost_answers = 0;
    let again = |error: &CloudError| match error.class {
        CloudErrorClass::NotFound => true,
        CloudErrorClass::UnknownOutcome => {
            lost_answers += 1;
            lost_answers < 3
        }
        _ => false,
    };
    let again = std::sync::Mutex::new(again);
    retry::passing(
        context,
        |error| (again.lock().unwrap_or_else(std::sync::PoisonError::into_inner))(error),
        || context.cloud.run_instance(region, &request),
    )
    .await
}

fn request(context: &StepContext, place: &Place) -> Result<NewInstance, Failure> {
    let ebs = context.ebs()?;
    Ok(NewInstance {
        client_token: place.client_token.clone(),
        instance_type: ebs.instance_type.clone(),
        subnet_id: place.subnet_id.clone(),
        availability_zone: ebs.availability_zone.clone(),
        machine: machine::machine(context)?,
    })
}

/// Nobody knows whether the launch happened and nothing is to be seen: launching once more with the same tokens brings
/// back what there is, or makes something that is ended at once. Either way the tokens are spent afterwards, and a launch
/// that is still on its way can't make a second instance.
async fn spend_tokens(context: &StepContext, intent: &Intent) -> StepResult<Vec<String>> {
    let mut ids = Vec::new();
    for place in &intent.places {
        match launch(context, place, &intent.region).await? {
            Ok(instance) if instance.state == InstanceState::Terminated => {}
            Ok(instance) => ids.push(instance.id),
            // A definite no: nothing was made with this token and nothing can be.
            Err(error) if removal::is_definite(&error) => {}
            // Nothing is known; the undo is tried again later.
            Err(error) => return Err(error.into()),
        }
        if !ids.is_empty() {
            break;
        }
    }
    Ok(ids)
}

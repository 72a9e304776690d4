//! The instance profile that is made for the build (`temporary_iam_instance_profile_policy_document`), and the role in it.
//! Both have the attempt's name in a path of Ingot's own; IAM knows no tokens, so what is there by that name was made by
//! this attempt before.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, CloudResult, NewRole};
use crate::domain::failure::Failure;
use crate::domain::tags::TagList;
use crate::engine::step::{Made, Step, StepContext, StepError, StepResult};

use super::{finding, image_tags, names, removal, retry};

/// Lets EC2 hand the role to its instances.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

pub struct MakeInstanceProfile;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub name: String,
}

#[async_trait]
impl Step for MakeInstanceProfile {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent { region: context.ebs()?.region.clone(), name: names::temporary(context) })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let (region, name) = (intent.region.as_str(), intent.name.as_str());
        let policy = context.ebs()?.temporary_instance_profile_policy.clone().unwrap_or_default();
        let tags = finding::temporary_tags(context, name, &image_tags::run_tags(context)?);
        context.log.say(&format!("Creating temporary instance profile {name} and its role")).await;
        let role = NewRole { name: name.to_owned(), trust_policy: TRUST.to_owned(), tags: tags.clone() };
        make(context, || context.cloud.create_role(region, &role)).await?;
        // From here on there is something to remove, whatever fails.
        self.fill(context, intent, &policy, &tags).await.map_err(StepError::after_effect)?;
        Ok(Output { name: name.to_owned() })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let (region, name) = (intent.region.as_str(), intent.name.as_str());
        match made {
            Made::No => return Ok(Vec::new()),
            Made::Yes(_) => {}
            // Makes sure that there is something of the name: a call still on its way can't make it afterwards.
            Made::Unknown => {
                let tags = finding::temporary_tags(context, name, &[]);
                let role = NewRole { name: name.to_owned(), trust_policy: TRUST.to_owned(), tags };
                match make(context, || context.cloud.create_role(region, &role)).await {
                    Ok(()) | Err(StepError::Failed(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        removal::until_gone(context, || context.cloud.remove_role_from_instance_profile(region, name, name)).await?;
        removal::until_gone(context, || context.cloud.delete_instance_profile(region, name)).await?;
        removal::until_gone(context, || context.cloud.delete_role_policy(region, name)).await?;
        removal::until_gone(context, || context.cloud.delete_role(region, name)).await?;
        context.log.say(&format!("Deleted temporary instance profile {name} and its role")).await;
        Ok(vec![name.to_owned()])
    }
}

impl MakeInstanceProfile {
    async fn fill(&self, context: &StepContext, intent: &Intent, policy: &str, tags: &TagList) -> StepResult<()> {
        let (region, name) = (intent.region.as_str(), intent.name.as_str());
        retry::set_on_new(context, || context.cloud.put_role_policy(region, name, policy)).await?;
        make(context, || context.cloud.create_instance_profile(region, name, tags)).await?;
        let again =
            |error: &CloudError| matches!(error.class, CloudErrorClass::UnknownOutcome | CloudErrorClass::NotFound);
        let add = || context.cloud.add_role_to_instance_profile(region, name, name);
        let Err(error) = retry::passing(context, again, add).await? else { return Ok(()) };
        // A profile that has its role already is full.
        let profile = retry::call(context, || context.cloud.instance_profile(region, name)).await?;
        let has_it = profile.is_some_and(|profile| profile.roles.iter().any(|role| role == name));
        if has_it { Ok(()) } else { Err(error.into()) }
    }
}

/// What is there already was made by this attempt before.
async fn make<F>(context: &StepContext, call: impl FnMut() -> F) -> StepResult<()>
where
    F: Future<Output = CloudResult<()>>,
{
    let lost = |error: &CloudError| error.class == CloudErrorClass::UnknownOutcome;
    match retry::passing(context, lost, call).await? {
        Err(error) if error.class != CloudErrorClass::Duplicate => Err(error.into()),
        _ => Ok(()),
    }
}

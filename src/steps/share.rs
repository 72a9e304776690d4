//! What is said of the finished AMI in one region: who else may use it and its snapshots, its product codes, whether its
//! instances need `IMDSv2`, and until when it is not deprecated.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, CloudResult, Grantee};
use crate::domain::config::AmazonEbs;
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{create_image, retry, wait_image};

pub struct Share {
    pub region: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for Share {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let ebs = context.ebs()?;
        let own = self.region == ebs.region;
        let image =
            if own { create_image::made(context)? } else { context.output(&format!("copy:{}", self.region))? };
        let (id, region) = (image.image_id.as_str(), self.region.as_str());
        if !ebs.sharing.ami_product_codes.is_empty() {
            let codes = &ebs.sharing.ami_product_codes;
            context.log.say(&format!("Adding product codes to {id} in {region}: {}", codes.join(", "))).await;
            set(context, || context.cloud.add_product_codes(region, id, codes)).await?;
        }
        let grantees = image_grantees(ebs);
        if !grantees.is_empty() {
            context.log.say(&format!("Sharing {id} in {region} with {}", names(&grantees))).await;
            set(context, || context.cloud.share_image(region, id, &grantees)).await?;
        }
        let grantees = snapshot_grantees(ebs);
        if !grantees.is_empty() {
            let step = if own { "wait_image".to_owned() } else { format!("wait_copy:{region}") };
            let image: wait_image::Output = context.output(&step)?;
            for snapshot in &image.snapshot_ids {
                context.log.say(&format!("Sharing {snapshot} in {region} with {}", names(&grantees))).await;
                set(context, || context.cloud.share_snapshot(region, snapshot, &grantees)).await?;
            }
        }
        if ebs.imds_support.is_some() {
            context.log.say(&format!("Requiring IMDSv2 of instances of {id} in {region}")).await;
            set(context, || context.cloud.require_imds_v2(region, id)).await?;
        }
        if let Some(at) = ebs.keeping.deprecate_at {
            context.log.say(&format!("Deprecating {id} in {region} at {at}")).await;
            set(context, || context.cloud.deprecate_image(region, id, at)).await?;
        }
        Ok(Output {})
    }
}

/// All of these calls set what may be set already, so a lost answer is asked for again.
async fn set<F>(context: &StepContext, call: impl FnMut() -> F) -> StepResult<()>
where
    F: Future<Output = CloudResult<()>>,
{
    let again = |error: &CloudError| matches!(error.class, CloudErrorClass::UnknownOutcome | CloudErrorClass::NotFound);
    Ok(retry::passing(context, again, call).await??)
}

fn image_grantees(ebs: &AmazonEbs) -> Vec<Grantee> {
    let sharing = &ebs.sharing;
    let mut grantees = Grantee::accounts(&ebs.ami_users);
    grantees.extend(sharing.ami_groups.iter().cloned().map(Grantee::Group));
    grantees.extend(sharing.ami_org_arns.iter().cloned().map(Grantee::Organization));
    grantees.extend(sharing.ami_ou_arns.iter().cloned().map(Grantee::OrganizationalUnit));
    grantees
}

fn snapshot_grantees(ebs: &AmazonEbs) -> Vec<Grantee> {
    let mut grantees = Grantee::accounts(&ebs.sharing.snapshot_users);
    grantees.extend(ebs.sharing.snapshot_groups.iter().cloned().map(Grantee::Group));
    grantees
}

/// Whom it is shared with, for the log.
#[must_use]
pub fn names(grantees: &[Grantee]) -> String {
    let name = |grantee: &Grantee| match grantee {
        Grantee::Account(name)
        | Grantee::Group(name)
        | Grantee::Organization(name)
        | Grantee::OrganizationalUnit(name) => name.clone(),
    };
    grantees.iter().map(name).collect::<Vec<_>>().join(", ")
}

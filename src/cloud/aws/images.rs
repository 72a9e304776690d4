//! Attributes of images and snapshots.

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::enable_fast_launch::builders::EnableFastLaunchFluentBuilder;
use aws_sdk_ec2::operation::modify_image_attribute::builders::ModifyImageAttributeFluentBuilder;
use aws_sdk_ec2::primitives;
use aws_sdk_ec2::types as ec2;
use chrono::{DateTime, Utc};

use super::account::AwsAccount;
use crate::cloud::{
    CloudError, CloudErrorClass, CloudResult, FastLaunchState, FastLaunchStatus, Grantee, ImageRules, NewFastLaunch,
};

impl AwsAccount {
    async fn image_attribute(
        &self,
        region: &str,
        image_id: &str,
        set: impl Fn(ModifyImageAttributeFluentBuilder) -> ModifyImageAttributeFluentBuilder + Send + Sync,
    ) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("ModifyImageAttribute", region);
        call.change(|| set(client.modify_image_attribute().image_id(image_id)).send()).await.map(drop)
    }
}

#[async_trait]
impl ImageRules for AwsAccount {
    async fn share_image(&self, region: &str, image_id: &str, with: &[Grantee]) -> CloudResult<()> {
        let added = launch_permissions(with);
        self.image_attribute(region, image_id, |call| call.launch_permission(added.clone())).await
    }

    async fn share_snapshot(&self, region: &str, snapshot_id: &str, with: &[Grantee]) -> CloudResult<()> {
        let (accounts, groups) = of_snapshot(with)?;
        let request = self
            .client(region)
            .modify_snapshot_attribute()
            .snapshot_id(snapshot_id)
            .attribute(ec2::SnapshotAttributeName::CreateVolumePermission)
            .operation_type(ec2::OperationType::Add)
            .set_user_ids(accounts)
            .set_group_names(groups);
        self.call("ModifySnapshotAttribute", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn add_product_codes(&self, region: &str, image_id: &str, codes: &[String]) -> CloudResult<()> {
        self.image_attribute(region, image_id, |call| {
            call.attribute("productCodes")
                .operation_type(ec2::OperationType::Add)
                .set_product_codes(Some(codes.to_vec()))
        })
        .await
    }

    async fn require_imds_v2(&self, region: &str, image_id: &str) -> CloudResult<()> {
        let value = ec2::AttributeValue::builder().value("v2.0").build();
        self.image_attribute(region, image_id, |call| call.imds_support(value.clone())).await
    }

    async fn deprecate_image(&self, region: &str, image_id: &str, at: DateTime<Utc>) -> CloudResult<()> {
        let at = primitives::DateTime::from_secs(at.timestamp());
        let request = self.client(region).enable_image_deprecation().image_id(image_id).deprecate_at(at);
        self.call("EnableImageDeprecation", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn protect_image(&self, region: &str, image_id: &str, with_cooldown: bool) -> CloudResult<()> {
        let client = self.client(region);
        let request = client.enable_image_deregistration_protection().image_id(image_id).with_cooldown(with_cooldown);
        self.call("EnableImageDeregistrationProtection", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn unprotect_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        let request = self.client(region).disable_image_deregistration_protection().image_id(image_id);
        self.call("DisableImageDeregistrationProtection", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn enable_fast_launch(&self, region: &str, request: &NewFastLaunch) -> CloudResult<()> {
        let request = enable_fast_launch(&self.client(region), request);
        self.call("EnableFastLaunch", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn disable_fast_launch(&self, region: &str, image_id: &str) -> CloudResult<()> {
        // Without force EC2 refuses it while instances for it are being made.
        let request = self.client(region).disable_fast_launch().image_id(image_id).force(true);
        self.call("DisableFastLaunch", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn fast_launch(&self, region: &str, image_id: &str) -> CloudResult<Option<FastLaunchStatus>> {
        let client = self.client(region);
        let call = self.call("DescribeFastLaunchImages", region);
        let answer = call.read(|| client.describe_fast_launch_images().image_ids(image_id).send()).await?;
        let found = answer.fast_launch_images().iter().find(|found| found.image_id() == Some(image_id));
        Ok(found.map(fast_launch_status))
    }
}

fn launch_permissions(with: &[Grantee]) -> ec2::LaunchPermissionModifications {
    let one = |grantee: &Grantee| {
        let permission = ec2::LaunchPermission::builder();
        match grantee {
            Grantee::Account(id) => permission.user_id(id),
            Grantee::Group(name) => permission.group(ec2::PermissionGroup::from(name.as_str())),
            Grantee::Organization(arn) => permission.organization_arn(arn),
            Grantee::OrganizationalUnit(arn) => permission.organizational_unit_arn(arn),
        }
        .build()
    };
    ec2::LaunchPermissionModifications::builder().set_add(Some(with.iter().map(one).collect())).build()
}

type Names = Option<Vec<String>>;

/// Accounts and groups, each `None` when there are none.
fn of_snapshot(with: &[Grantee]) -> CloudResult<(Names, Names)> {
    let (mut accounts, mut groups) = (Vec::new(), Vec::new());
    for grantee in with {
        match grantee {
            Grantee::Account(id) => accounts.push(id.clone()),
            Grantee::Group(name) => groups.push(name.clone()),
            Grantee::Organization(arn) | Grantee::OrganizationalUnit(arn) => return Err(not_for_snapshots(arn)),
        }
    }
    Ok(((!accounts.is_empty()).then_some(accounts), (!groups.is_empty()).then_some(groups)))
}

fn not_for_snapshots(arn: &str) -> CloudError {
    let message = format!("a snapshot can be shared with accounts and the group all, not with {arn}");
    CloudError::new(CloudErrorClass::Invalid, "ModifySnapshotAttribute", "not-for-snapshots", message)
}

fn enable_fast_launch(client: &Client, request: &NewFastLaunch) -> EnableFastLaunchFluentBuilder {
    let template = request.template.as_ref().map(|template| {
        ec2::FastLaunchLaunchTemplateSpecificationRequest::builder()
            .set_launch_template_id(template.id.clone())
            .set_launch_template_name(template.name.clone())
            .version(template.version.map_or_else(|| "$Latest".to_owned(), |version| version.to_string()))
            .build()
    });
    let snapshots = request
        .target_resource_count
        .map(|count| ec2::FastLaunchSnapshotConfigurationRequest::builder().target_resource_count(count).build());
    client
        .enable_fast_launch()
        .image_id(&request.image_id)
        .resource_type("snapshot")
        .set_launch_template(template)
        .set_snapshot_configuration(snapshots)
        .set_max_parallel_launches(request.max_parallel_launches)
}

fn fast_launch_status(found: &ec2::DescribeFastLaunchImagesSuccessItem) -> FastLaunchStatus {
    use ec2::FastLaunchStateCode as Code;
    FastLaunchStatus {
        state: match found.state() {
            Some(Code::Enabled) => FastLaunchState::Enabled,
            Some(Code::EnablingFailed | Code::EnabledFailed) => FastLaunchState::Failed,
            Some(Code::Disabling | Code::DisablingFailed) => FastLaunchState::Disabling,
            _ => FastLaunchState::Enabling,
        },
        reason: found.state_transition_reason().filter(|reason| !reason.is_empty()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::aws::launch::tests::client;
    use crate::domain::config::image::LaunchTemplate;

    fn grantees() -> Vec<Grantee> {
        vec![
            Grantee::Account("210987654321".into()),
            Grantee::Group("all".into()),
            Grantee::Organization("arn:aws:organizations::1:organization/o-1".into()),
            Grantee::OrganizationalUnit("arn:aws:organizations::1:ou/o-1/ou-1".into()),
        ]
    }

    #[test]
    fn every_grantee_is_a_permission_of_its_kind() {
        let added = launch_permissions(&grantees());
        let added = added.add();
        assert_eq!((added.len(), added[0].user_id()), (4, Some("210987654321")));
        assert_eq!(added[1].group(), Some(&ec2::PermissionGroup::All));
        assert!(added[2].organization_arn().unwrap().ends_with("/o-1") && added[2].user_id().is_none());
        assert!(added[3].organizational_unit_arn().unwrap().ends_with("/ou-1"));
    }

    #[test]
    fn snapshots_are_for_accounts_and_groups() {
        let (accounts, groups) = of_snapshot(&grantees()[..2]).unwrap();
        assert_eq!((accounts.unwrap(), groups.unwrap()), (vec!["210987654321".to_owned()], vec!["all".to_owned()]));
        assert_eq!(of_snapshot(&grantees()[1..2]).unwrap().0, None);
        assert_eq!(of_snapshot(&grantees()).unwrap_err().class, CloudErrorClass::Invalid);
    }

    #[test]
    fn fast_launch_takes_the_latest_version_unless_told() {
        let request = NewFastLaunch {
            image_id: "ami-1".into(),
            template: None,
            max_parallel_launches: None,
            target_resource_count: None,
        };
        let plain = enable_fast_launch(&client(), &request);
        assert_eq!((plain.get_launch_template(), plain.get_snapshot_configuration()), (&None, &None));
        let mut template = LaunchTemplate { id: Some("lt-1".into()), ..LaunchTemplate::default() };
        let full = NewFastLaunch {
            template: Some(template.clone()),
            max_parallel_launches: Some(6),
            target_resource_count: Some(10),
            ..request.clone()
        };
        let call = enable_fast_launch(&client(), &full);
        let sent = call.get_launch_template().as_ref().unwrap();
        assert_eq!((sent.launch_template_id(), sent.version()), (Some("lt-1"), Some("$Latest")));
        assert_eq!(call.get_snapshot_configuration().as_ref().unwrap().target_resource_count(), Some(10));
        assert_eq!(*call.get_max_parallel_launches(), Some(6));
        template.version = Some(3);
        let third = enable_fast_launch(&client(), &NewFastLaunch { template: Some(template), ..request });
        assert_eq!(third.get_launch_template().as_ref().unwrap().version(), Some("3"));
    }

    #[test]
    fn fast_launch_that_broke_has_failed() {
        let of = |code: ec2::FastLaunchStateCode| {
            let item = ec2::DescribeFastLaunchImagesSuccessItem::builder().state(code).build();
            fast_launch_status(&item).state
        };
        assert_eq!(of(ec2::FastLaunchStateCode::EnabledFailed), FastLaunchState::Failed);
        assert_eq!(of(ec2::FastLaunchStateCode::Enabling), FastLaunchState::Enabling);
        assert_eq!(of(ec2::FastLaunchStateCode::Disabling), FastLaunchState::Disabling);
    }
}

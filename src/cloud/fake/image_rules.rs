//! What is said of images after they were made: sharing, deprecation, protection, fast launch.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::FakeCloud;
use super::filters::{duplicate, invalid};
use super::timing::Change;
use super::world::{FakeFastLaunch, Protection, World};
use crate::cloud::{
    CloudResult, FastLaunchState, FastLaunchStatus, Grantee, ImageRules, NewFastLaunch, NewImage, NewImageCopy,
};

#[async_trait]
impl ImageRules for FakeCloud {
    async fn share_image(&self, region: &str, image_id: &str, with: &[Grantee]) -> CloudResult<()> {
        self.change("ModifyImageAttribute", region, image_id, |world, at| {
            let snapshots = world.own_image(at.account, at.region, image_id)?.shown.snapshot_ids.clone();
            world.region(at.account, at.region).may_share(&snapshots, with)?;
            let image = world.own_image(at.account, at.region, image_id)?;
            image.shown.public |= with.iter().any(|grantee| matches!(grantee, Grantee::Group(_)));
            image.grants.extend(with.iter().cloned());
            Ok(())
        })
        .await
    }

    async fn share_snapshot(&self, region: &str, snapshot_id: &str, with: &[Grantee]) -> CloudResult<()> {
        self.change("ModifySnapshotAttribute", region, snapshot_id, |world, at| {
            world.region(at.account, at.region).share_snapshot(snapshot_id, with)
        })
        .await
    }

    async fn add_product_codes(&self, region: &str, image_id: &str, codes: &[String]) -> CloudResult<()> {
        self.change("ModifyImageAttribute", region, image_id, |world, at| {
            let image = world.own_image(at.account, at.region, image_id)?;
            image.product_codes.extend(codes.iter().cloned());
            Ok(())
        })
        .await
    }

    async fn require_imds_v2(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change("ModifyImageAttribute", region, image_id, |world, at| {
            world.own_image(at.account, at.region, image_id)?.imds_v2 = true;
            Ok(())
        })
        .await
    }

    async fn deprecate_image(&self, region: &str, image_id: &str, at: DateTime<Utc>) -> CloudResult<()> {
        self.change("EnableImageDeprecation", region, image_id, |world, place| {
            if world.now.is_some_and(|now| at < now) {
                return Err(invalid("InvalidParameterValue", "You can't specify a date in the past for deprecateAt."));
            }
            world.own_image(place.account, place.region, image_id)?.shown.deprecation_time = Some(at);
            Ok(())
        })
        .await
    }

    async fn protect_image(&self, region: &str, image_id: &str, with_cooldown: bool) -> CloudResult<()> {
        self.change("EnableImageDeregistrationProtection", region, image_id, |world, at| {
            world.own_image(at.account, at.region, image_id)?.protect(Protection::On { with_cooldown });
            Ok(())
        })
        .await
    }

    async fn unprotect_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change("DisableImageDeregistrationProtection", region, image_id, |world, at| {
            let image = world.own_image(at.account, at.region, image_id)?;
            let cools_down = matches!(image.protection, Protection::On { with_cooldown: true } | Protection::Cooldown);
            image.protect(if cools_down { Protection::Cooldown } else { Protection::Off });
            Ok(())
        })
        .await
    }

    async fn enable_fast_launch(&self, region: &str, request: &NewFastLaunch) -> CloudResult<()> {
        self.change("EnableFastLaunch", region, &request.image_id, |world, at| {
            world.enable_fast_launch(at.account, at.region, request)
        })
        .await
    }

    async fn disable_fast_launch(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change("DisableFastLaunch", region, image_id, |world, at| {
            let removed = world.own_image(at.account, at.region, image_id)?.fast_launch.take();
            removed.map(drop).ok_or_else(|| invalid("InvalidRequest", "Fast launch is not enabled for the image."))
        })
        .await
    }

    async fn fast_launch(&self, region: &str, image_id: &str) -> CloudResult<Option<FastLaunchStatus>> {
        self.look("DescribeFastLaunchImages", region, image_id.to_owned(), |world, at| {
            let image = world.own_image(at.account, at.region, image_id)?;
            Ok(image.fast_launch.as_mut().map(|fast| {
                fast.change.seen();
                fast.shown.clone()
            }))
        })
        .await
    }
}

impl World {
    fn enable_fast_launch(&mut self, account: &str, region: &str, request: &NewFastLaunch) -> CloudResult<()> {
        let latency = self.timings.image;
        let failure = (!self.failing_fast_launches.is_empty()).then(|| self.failing_fast_launches.remove(0));
        let image = self.own_image(account, region, &request.image_id)?;
        if image.shown.platform.as_deref() != Some("windows") {
            return Err(invalid("InvalidRequest", "Fast launch is for Windows AMIs only."));
        }
        if request.max_parallel_launches.is_some_and(|most| most < 6) {
            return Err(invalid("InvalidParameterValue", "MaxParallelLaunches must be 6 or more."));
        }
        if image.fast_launch.is_some() {
            return Err(duplicate("FastLaunchAlreadyEnabled.Duplicate", "Fast launch is enabled already."));
        }
        let change = match failure {
            None => Change::begin(FastLaunchState::Enabled, latency),
            Some(reason) => Change::begin(FastLaunchState::Failed, latency).because(reason),
        };
        let shown = FastLaunchStatus { state: FastLaunchState::Enabling, reason: None };
        image.fast_launch = Some(FakeFastLaunch { shown, request: request.clone(), change });
        Ok(())
    }
}

impl FakeCloud {
    /// The next fast launch ends as failed, for this reason.
    pub fn fail_next_fast_launch(&self, reason: &str) {
        self.world().failing_fast_launches.push(reason.to_owned());
    }

    /// The image is one of Windows from now on, and what is made of it, too.
    pub fn make_windows(&self, image_id: &str) {
        if let Some(image) = self.world().images.get_mut(image_id) {
            image.shown.platform = Some("windows".to_owned());
        }
    }

    /// Who may launch an image, by what calls of ours said, in their order.
    #[must_use]
    pub fn image_grants(&self, image_id: &str) -> Vec<Grantee> {
        self.world().images.get(image_id).map(|image| image.grants.clone()).unwrap_or_default()
    }

    /// Who may make volumes of a snapshot.
    #[must_use]
    pub fn snapshot_grants(&self, snapshot_id: &str) -> Vec<Grantee> {
        let world = self.world();
        let found = world.regions.values().find_map(|region| region.snapshots.get(snapshot_id));
        found.map(|snapshot| snapshot.grants.clone()).unwrap_or_default()
    }

    #[must_use]
    pub fn product_codes_of(&self, image_id: &str) -> Vec<String> {
        self.world().images.get(image_id).map(|image| image.product_codes.clone()).unwrap_or_default()
    }

    #[must_use]
    pub fn fast_launch_of(&self, image_id: &str) -> Option<NewFastLaunch> {
        self.world().images.get(image_id)?.fast_launch.as_ref().map(|fast| fast.request.clone())
    }

    /// What `CreateImage` was asked for in all accounts and regions, as far as it was done.
    #[must_use]
    pub fn image_requests(&self) -> Vec<NewImage> {
        self.world().image_requests.clone()
    }

    /// What `CopyImage` was asked for, with the region that was copied to, as far as it was done.
    #[must_use]
    pub fn copy_requests(&self) -> Vec<(String, NewImageCopy)> {
        let world = self.world();
        let copies = world
            .regions
            .iter()
            .flat_map(|((_, name), region)| region.copies.values().map(|(request, _)| (name.clone(), request.clone())));
        copies.collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::tests::{EAST, WEST, code, copy_of, image_of, image_state, state_of, with_machine};
    use super::*;
    use crate::cloud::{Cloud as _, Filter, ImageQuery};
    use crate::domain::config::amazon_ebs::BlockDevice;

    async fn image(cloud: &FakeCloud, encrypted: Option<bool>, kms_key_id: Option<&str>) -> String {
        let root = BlockDevice {
            device_name: "/dev/sda1".into(),
            encrypted,
            kms_key_id: kms_key_id.map(str::to_owned),
            ..BlockDevice::default()
        };
        let token = format!("t{}", cloud.calls().len());
        let launch = with_machine(cloud, &token, |machine| machine.block_devices = vec![root]);
        let instance = cloud.run_instance(EAST, &launch).await.unwrap();
        state_of(cloud, &instance.id).await;
        let id = cloud.create_image(EAST, &image_of(&instance.id, &format!("golden-{token}"))).await.unwrap();
        image_state(cloud, EAST, &id).await;
        id
    }

    fn by_id(id: &str) -> ImageQuery {
        ImageQuery { filters: vec![Filter::new("image-id", [id])], ..ImageQuery::default() }
    }

    #[tokio::test]
    async fn what_the_default_key_encrypts_is_not_shared_and_what_any_key_encrypts_is_not_public() {
        let cloud = FakeCloud::new();
        let account = vec![Grantee::Account("210987654321".into())];
        let everybody = vec![Grantee::Group("all".into())];
        let plain = image(&cloud, None, None).await;
        let by_default = image(&cloud, Some(true), None).await;
        let own_key = image(&cloud, Some(true), Some("arn:aws:kms:us-east-1:1:key/k")).await;
        cloud.share_image(EAST, &plain, &everybody).await.unwrap();
        assert_eq!(code(cloud.share_image(EAST, &by_default, &account).await), "OperationNotPermitted");
        cloud.share_image(EAST, &own_key, &account).await.unwrap();
        assert_eq!(code(cloud.share_image(EAST, &own_key, &everybody).await), "OperationNotPermitted");
        assert_eq!(cloud.image_grants(&own_key), account);
        let shown = cloud.find_images(EAST, &by_id(&plain)).await.unwrap().remove(0);
        assert!(shown.public);
        cloud.share_snapshot(EAST, &shown.snapshot_ids[0], &account).await.unwrap();
        assert_eq!(cloud.snapshot_grants(&shown.snapshot_ids[0]), account);
        let unit = vec![Grantee::OrganizationalUnit("arn:ou".into())];
        cloud.share_image(EAST, &plain, &unit).await.unwrap();
        assert_eq!(code(cloud.share_snapshot(EAST, &shown.snapshot_ids[0], &unit).await), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn a_protected_image_stays_also_while_it_cools_down() {
        let cloud = FakeCloud::new();
        let (id, other) = (image(&cloud, None, None).await, image(&cloud, None, None).await);
        cloud.protect_image(EAST, &id, false).await.unwrap();
        assert!(cloud.find_images(EAST, &by_id(&id)).await.unwrap()[0].deregistration_protection);
        assert_eq!(code(cloud.deregister_image(EAST, &id).await), "OperationNotPermitted");
        cloud.unprotect_image(EAST, &id).await.unwrap();
        cloud.deregister_image(EAST, &id).await.unwrap();
        cloud.protect_image(EAST, &other, true).await.unwrap();
        cloud.unprotect_image(EAST, &other).await.unwrap();
        assert_eq!(code(cloud.deregister_image(EAST, &other).await), "OperationNotPermitted");
    }

    #[tokio::test]
    async fn others_do_not_find_a_deprecated_image() {
        let cloud = FakeCloud::new().with_account("prod", "210987654321");
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        cloud.set_now(now);
        let id = image(&cloud, None, None).await;
        cloud.share_image(EAST, &id, &[Grantee::Account("210987654321".into())]).await.unwrap();
        assert_eq!(code(cloud.deprecate_image(EAST, &id, now - TimeDelta::days(1)).await), "InvalidParameterValue");
        cloud.deprecate_image(EAST, &id, now + TimeDelta::days(1)).await.unwrap();
        let prod = cloud.on_account("prod");
        assert_eq!(prod.find_images(EAST, &by_id(&id)).await.unwrap().len(), 1);
        cloud.set_now(now + TimeDelta::days(2));
        assert!(prod.find_images(EAST, &by_id(&id)).await.unwrap().is_empty());
        let own = cloud.find_images(EAST, &by_id(&id)).await.unwrap();
        assert_eq!(own[0].deprecation_time, Some(now + TimeDelta::days(1)));
    }

    #[tokio::test]
    async fn an_image_has_its_instances_disks_as_its_mappings_change_them() {
        let cloud = FakeCloud::new();
        let named = |name: &str| BlockDevice { device_name: name.into(), ..BlockDevice::default() };
        let launch =
            with_machine(&cloud, "t", |machine| machine.block_devices = vec![named("/dev/sdb"), named("/dev/sdc")]);
        let instance = cloud.run_instance(EAST, &launch).await.unwrap();
        assert_eq!(instance.devices.len(), 3);
        state_of(&cloud, &instance.id).await;
        let mut wanted = image_of(&instance.id, "golden");
        wanted.block_devices = vec![
            BlockDevice { no_device: true, ..named("/dev/sdb") },
            BlockDevice { volume_size: Some(50), ..named("/dev/sdx") },
        ];
        let id = cloud.create_image(EAST, &wanted).await.unwrap();
        image_state(&cloud, EAST, &id).await;
        let made = cloud.find_images(EAST, &by_id(&id)).await.unwrap().remove(0);
        let shown: Vec<&str> = made.devices.iter().map(|device| device.device_name.as_str()).collect();
        assert_eq!(shown, ["/dev/sda1", "/dev/sdc", "/dev/sdx"]);
        assert_eq!((made.snapshot_ids.len(), made.devices[2].size_gib), (2, Some(50)));
        assert_eq!(cloud.image_requests(), [wanted]);
        let copy = crate::cloud::NewImageCopy { encrypted: Some(true), ..copy_of(&id, "c") };
        let copied = cloud.copy_image(WEST, &copy).await.unwrap();
        let copied = cloud.find_images(WEST, &by_id(&copied)).await.unwrap().remove(0);
        assert!(copied.devices.iter().all(|device| device.encrypted));
        assert_eq!(cloud.copy_requests(), [(WEST.to_owned(), copy)]);
        let again = with_machine(&cloud, "again", |machine| machine.image_id = id);
        assert_eq!(cloud.run_instance(EAST, &again).await.unwrap().devices.len(), 3);
    }

    #[tokio::test]
    async fn fast_launch_is_for_windows_and_takes_its_time() {
        let cloud = FakeCloud::new();
        let id = image(&cloud, None, None).await;
        let wanted = NewFastLaunch {
            image_id: id.clone(),
            template: None,
            max_parallel_launches: Some(6),
            target_resource_count: None,
        };
        assert_eq!(code(cloud.enable_fast_launch(EAST, &wanted).await), "InvalidRequest");
        cloud.make_windows(&id);
        cloud.set_timings(super::super::FakeTimings {
            image: super::super::Latency::Observations(1),
            ..super::super::FakeTimings::default()
        });
        assert_eq!(cloud.fast_launch(EAST, &id).await.unwrap(), None);
        cloud.enable_fast_launch(EAST, &wanted).await.unwrap();
        assert_eq!(cloud.fast_launch_of(&id), Some(wanted.clone()));
        assert_eq!(cloud.fast_launch(EAST, &id).await.unwrap().unwrap().state, FastLaunchState::Enabling);
        assert_eq!(cloud.fast_launch(EAST, &id).await.unwrap().unwrap().state, FastLaunchState::Enabled);
        cloud.disable_fast_launch(EAST, &id).await.unwrap();
        cloud.fail_next_fast_launch("no launch template");
        cloud.enable_fast_launch(EAST, &wanted).await.unwrap();
        cloud.fast_launch(EAST, &id).await.unwrap();
        let failed = cloud.fast_launch(EAST, &id).await.unwrap().unwrap();
        assert_eq!((failed.state, failed.reason.as_deref()), (FastLaunchState::Failed, Some("no launch template")));
    }
}

//! Snapshots of volumes, and images of snapshots.

use async_trait::async_trait;

use super::FakeCloud;
use super::disks::{Disk, mapped};
use super::filters::{busy, invalid, not_found};
use super::images::Making;
use super::instances::wrong_state;
use super::timing::Change;
use super::world::{Region, World};
use crate::cloud::{
    CloudResult, Disks, Image, ImageState, InstanceDevice, InstanceState, NewRegistration, NewSnapshot, Tags,
};

#[async_trait]
impl Disks for FakeCloud {
    async fn create_snapshot(&self, region: &str, request: &NewSnapshot) -> CloudResult<String> {
        self.change("CreateSnapshot", region, &request.volume_id, |world, at| {
            let (id, latency) = (world.id("snap"), world.timings.image);
            let volume = world.region(at.account, at.region).volumes.get(&request.volume_id);
            let disk = volume.ok_or_else(|| not_found("InvalidVolume", &request.volume_id))?.disk.clone();
            let change = Some(Change::begin((), latency));
            world.make_snapshot(at.account, at.region, &id, &disk, &request.tags, change);
            let fails = world.failing_snapshots > 0;
            world.failing_snapshots = world.failing_snapshots.saturating_sub(1);
            if let Some(snapshot) = world.region(at.account, at.region).snapshots.get_mut(&id) {
                snapshot.fails = fails;
                snapshot.description.clone_from(&request.description);
                snapshot.volume_id = Some(request.volume_id.clone());
            }
            Ok(id)
        })
        .await
    }

    async fn register_image(&self, region: &str, request: &NewRegistration) -> CloudResult<String> {
        self.change("RegisterImage", region, &request.name, |world, at| {
            world.register_image(at.account, at.region, request)
        })
        .await
    }

    async fn detach_volume(&self, region: &str, instance_id: &str, volume_id: &str) -> CloudResult<()> {
        self.change("DetachVolume", region, volume_id, |world, at| {
            world.region(at.account, at.region).detach_volume(instance_id, volume_id)
        })
        .await
    }

    async fn attach_volume(
        &self,
        region: &str,
        instance_id: &str,
        volume_id: &str,
        device_name: &str,
    ) -> CloudResult<()> {
        self.change("AttachVolume", region, volume_id, |world, at| {
            world.region(at.account, at.region).attach_volume(instance_id, volume_id, device_name)
        })
        .await
    }
}

impl Region {
    fn detach_volume(&mut self, instance_id: &str, volume_id: &str) -> CloudResult<()> {
        let volume = self.volumes.get_mut(volume_id).ok_or_else(|| not_found("InvalidVolume", volume_id))?;
        if volume.instance.as_deref() != Some(instance_id) {
            return Err(busy("IncorrectState", format!("Volume '{volume_id}' is in the 'available' state.")));
        }
        let instance =
            self.instances.get_mut(instance_id).ok_or_else(|| not_found("InvalidInstanceID", instance_id))?;
        let root = instance.shown.devices.first().is_some_and(|device| device.volume_id == volume_id);
        if root && instance.shown.state != InstanceState::Stopped {
            return Err(busy("OperationNotPermitted", format!("'{volume_id}' is the root of a running instance")));
        }
        instance.shown.devices.retain(|device| device.volume_id != volume_id);
        instance.shown.volume_ids.retain(|id| id != volume_id);
        volume.instance = None;
        volume.shown.instance_ids.clear();
        "available".clone_into(&mut volume.shown.state);
        Ok(())
    }

    fn attach_volume(&mut self, instance_id: &str, volume_id: &str, device_name: &str) -> CloudResult<()> {
        let instance =
            self.instances.get_mut(instance_id).ok_or_else(|| not_found("InvalidInstanceID", instance_id))?;
        let volume = self.volumes.get_mut(volume_id).ok_or_else(|| not_found("InvalidVolume", volume_id))?;
        if instance.ends() {
            return Err(wrong_state(instance_id, "given a volume"));
        }
        if volume.instance.is_some() {
            return Err(busy("VolumeInUse", format!("{volume_id} is already attached to an instance")));
        }
        if instance.shown.devices.iter().any(|device| device.device_name == device_name) {
            let message = format!("{device_name} is already in use");
            return Err(invalid("InvalidParameterValue", message));
        }
        device_name.clone_into(&mut volume.disk.device_name);
        volume.disk.delete_on_termination = false;
        volume.instance = Some(instance_id.to_owned());
        volume.shown.instance_ids = vec![instance_id.to_owned()];
        "in-use".clone_into(&mut volume.shown.state);
        let device = InstanceDevice {
            device_name: device_name.to_owned(),
            volume_id: volume_id.to_owned(),
            delete_on_termination: false,
        };
        instance.shown.devices.insert(0, device);
        instance.shown.volume_ids.insert(0, volume_id.to_owned());
        Ok(())
    }
}

impl World {
    fn register_image(&mut self, account: &str, region: &str, request: &NewRegistration) -> CloudResult<String> {
        let latency = self.timings.image;
        let mut disks: Vec<Disk> = mapped(Vec::new(), &request.block_devices, (account, region));
        let place = self.region(account, region);
        for disk in &mut disks {
            let Some(id) = &disk.snapshot_id else { continue };
            let snapshot = place.snapshots.get(id).ok_or_else(|| not_found("InvalidSnapshot", id))?;
            if snapshot.shown.state != "completed" {
                return Err(invalid("InvalidParameterValue", format!("Snapshot {id} is not completed")));
            }
            disk.kms_key_id.clone_from(&snapshot.shown.kms_key_id);
            disk.size_gib = disk.size_gib.max(snapshot.shown.size_gib.unwrap_or_default());
        }
        let root = disks.iter().find(|disk| disk.device_name == request.root_device_name);
        if root.is_none_or(|root| root.snapshot_id.is_none()) {
            return Err(invalid("InvalidBlockDeviceMapping", "The root device has no snapshot."));
        }
        let making = Making {
            name: &request.name,
            description: &request.description,
            image_tags: &request.image_tags,
            snapshot_tags: &Tags::new(),
            disks,
            new_snapshots: Vec::new(),
            latency,
        };
        let id = self.make_image(account, region, blank(request), making)?;
        if let Some(image) = self.images.get_mut(&id) {
            image.imds_v2 = request.imds_v2;
        }
        self.registrations.push(request.clone());
        Ok(id)
    }
}

/// What a registration says of an image, before it is made.
fn blank(request: &NewRegistration) -> Image {
    Image {
        id: String::new(),
        name: String::new(),
        state: ImageState::Pending,
        state_reason: None,
        owner_id: String::new(),
        owner_alias: None,
        creation_date: String::new(),
        architecture: request.architecture.clone(),
        platform: None,
        platform_details: Some("Linux/UNIX".to_owned()),
        description: String::new(),
        root_device_type: "ebs".to_owned(),
        root_device_name: Some(request.root_device_name.clone()),
        virtualization_type: request.virtualization_type.clone(),
        ena_support: request.ena_support,
        devices: Vec::new(),
        snapshot_ids: Vec::new(),
        public: false,
        deprecation_time: None,
        deregistration_protection: false,
        tags: Tags::new(),
    }
}

impl FakeCloud {
    /// A snapshot of the account that was there before, complete.
    #[must_use]
    pub fn add_snapshot(&self, region: &str) -> String {
        let account = self.account_number();
        let mut world = self.world();
        let id = world.id("snap");
        world.make_snapshot(&account, region, &id, &Disk::root("", String::new()), &Tags::new(), None);
        if let Some(snapshot) = world.region(&account, region).snapshots.get_mut(&id) {
            snapshot.end("completed");
        }
        id
    }

    /// The next snapshot that is made by itself ends with an error.
    pub fn fail_next_snapshot(&self) {
        self.world().failing_snapshots += 1;
    }

    /// Snapshots that were made of volumes by themselves, in all accounts and regions: what was asked for, and its id.
    #[must_use]
    pub fn own_snapshots(&self) -> Vec<(String, NewSnapshot)> {
        let world = self.world();
        let all = world.regions.values().flat_map(|region| region.snapshots.values());
        let own = all.filter_map(|snapshot| {
            let (description, tags) = (snapshot.description.clone(), snapshot.shown.tags.clone());
            let volume_id = snapshot.volume_id.clone()?;
            Some((snapshot.shown.id.clone(), NewSnapshot { volume_id, description, tags }))
        });
        own.collect()
    }

    /// What `RegisterImage` was asked for in all accounts and regions, as far as it was done.
    #[must_use]
    pub fn registrations(&self) -> Vec<NewRegistration> {
        self.world().registrations.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{EAST, code, image_of, image_state, state_of, with_machine};
    use super::super::{FakeTimings, Latency, sample_registration};
    use super::*;
    use crate::cloud::{Cloud as _, Filter, ImageQuery};
    use crate::domain::config::amazon_ebs::BlockDevice;

    fn registration(snapshot: &str) -> NewRegistration {
        let mut request = sample_registration("surrogate", &[("/dev/xvda", snapshot)]);
        request.block_devices[0].delete_on_termination = true;
        request.image_tags = vec![("ingot:build-id".to_owned(), "b1".to_owned())];
        NewRegistration { imds_v2: true, ..request }
    }

    #[tokio::test]
    async fn an_image_is_registered_of_a_volumes_snapshot() {
        let cloud = FakeCloud::new();
        let image = Latency::Observations(1);
        cloud.set_timings(FakeTimings { image, ..FakeTimings::default() });
        let extra = BlockDevice {
            device_name: "/dev/sdf".into(),
            volume_size: Some(12),
            encrypted: Some(true),
            ..BlockDevice::default()
        };
        let launch = with_machine(&cloud, "t", |machine| machine.block_devices = vec![extra]);
        let instance = cloud.run_instance(EAST, &launch).await.unwrap();
        state_of(&cloud, &instance.id).await;
        let volume_id = instance.devices[1].volume_id.clone();
        let tags = vec![("Name".to_owned(), "root".to_owned())];
        let request = NewSnapshot { volume_id, description: String::new(), tags };
        let snapshot = cloud.create_snapshot(EAST, &request).await.unwrap();
        let early = cloud.register_image(EAST, &registration(&snapshot)).await;
        assert_eq!(code(early), "InvalidParameterValue");
        let named = [Filter::tag("Name", "root")];
        assert_eq!(cloud.find_snapshots(EAST, &named).await.unwrap()[0].state, "pending");
        let done = cloud.find_snapshots(EAST, &named).await.unwrap().remove(0);
        assert_eq!((done.state.as_str(), done.size_gib, done.encrypted), ("completed", Some(12), true));
        let id = cloud.register_image(EAST, &registration(&snapshot)).await.unwrap();
        assert_eq!(image_state(&cloud, EAST, &id).await, ImageState::Pending);
        assert_eq!(image_state(&cloud, EAST, &id).await, ImageState::Available);
        let made = cloud.images_of("b1").remove(0).1;
        assert_eq!((made.snapshot_ids, made.devices[0].size_gib), (vec![snapshot.clone()], Some(12)));
        assert!(made.devices[0].encrypted && cloud.image_requires_imds_v2(&id));
        assert_eq!(code(cloud.delete_snapshot(EAST, &snapshot).await), "InvalidSnapshot.InUse");
        let again = cloud.register_image(EAST, &registration(&snapshot)).await;
        assert_eq!(code(again), "InvalidAMIName.Duplicate");
        assert_eq!(cloud.registrations().len(), 1);
    }

    #[tokio::test]
    async fn another_volume_becomes_the_root_of_a_machine_at_rest() {
        let cloud = FakeCloud::new();
        let extra = BlockDevice { device_name: "/dev/sdf".into(), volume_size: Some(12), ..BlockDevice::default() };
        let launch = with_machine(&cloud, "t", |machine| machine.block_devices = vec![extra]);
        let instance = cloud.run_instance(EAST, &launch).await.unwrap();
        let ids: Vec<String> = instance.devices.iter().map(|device| device.volume_id.clone()).collect();
        let root = instance.devices[0].device_name.clone();
        state_of(&cloud, &instance.id).await;
        assert_eq!(code(cloud.detach_volume(EAST, &instance.id, &ids[0]).await), "OperationNotPermitted");
        cloud.stop_instance(EAST, &instance.id).await.unwrap();
        state_of(&cloud, &instance.id).await;
        assert_eq!(code(cloud.attach_volume(EAST, &instance.id, &ids[1], &root).await), "VolumeInUse");
        for id in &ids {
            cloud.detach_volume(EAST, &instance.id, id).await.unwrap();
        }
        assert_eq!(code(cloud.detach_volume(EAST, &instance.id, &ids[0]).await), "IncorrectState");
        cloud.attach_volume(EAST, &instance.id, &ids[1], &root).await.unwrap();
        let made = cloud.create_image(EAST, &image_of(&instance.id, "swapped")).await.unwrap();
        let query = ImageQuery { filters: vec![Filter::new("image-id", [&made])], ..ImageQuery::default() };
        let devices = cloud.find_images(EAST, &query).await.unwrap().remove(0).devices;
        assert_eq!((devices.len(), devices[0].device_name.as_str(), devices[0].size_gib), (1, root.as_str(), Some(12)));
    }
}

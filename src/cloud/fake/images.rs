//! The life of an image and its snapshots.

use super::disks::{Disk, key_of_copy, mapped};
use super::filters::{duplicate, invalid, not_found, refuse};
use super::instances::wrong_state;
use super::timing::{Change, Latency};
use super::world::{FakeImage, Protection, World};
use crate::cloud::{CloudErrorClass, CloudResult, Image, ImageState, InstanceState, NewImage, NewImageCopy, Tags};

/// Days from the first of January 2025 to ids: dates that rise with each image.
fn creation_date(number: u64) -> String {
    let (hours, minutes, seconds) = (number / 3600 % 24, number / 60 % 60, number % 60);
    format!("2025-01-{:02}T{hours:02}:{minutes:02}:{seconds:02}.000Z", 1 + number / 86_400 % 28)
}

/// What is new of an image that is made of another one, of an instance or of snapshots.
pub(super) struct Making<'r> {
    pub name: &'r str,
    pub description: &'r str,
    pub image_tags: &'r Tags,
    pub snapshot_tags: &'r Tags,
    pub disks: Vec<Disk>,
    /// Those of the disks' snapshots that are made with it.
    pub new_snapshots: Vec<String>,
    pub latency: Latency,
}

impl World {
    pub(super) fn create_image(&mut self, account: &str, region: &str, request: &NewImage) -> CloudResult<String> {
        let instance = self.region(account, region).instance(&request.instance_id)?;
        if !matches!(instance.shown.state, InstanceState::Running | InstanceState::Stopped) {
            return Err(wrong_state(&request.instance_id, "imaged"));
        }
        let (source, ena_support) = (instance.request.machine.image_id.clone(), instance.ena_support);
        let volume_ids = instance.shown.volume_ids.clone();
        let template = self.images.get(&source).map(|image| image.shown.clone());
        let template = template.ok_or_else(|| not_found("InvalidAMIID", &source))?;
        let place = self.region(account, region);
        let volumes = volume_ids.iter().filter_map(|id| place.volumes.get(id));
        let disks: Vec<Disk> = volumes.map(|volume| volume.disk.clone()).collect();
        let (disks, new_snapshots) = self.with_new_snapshots(disks);
        let making = Making {
            name: &request.name,
            description: &request.description,
            image_tags: &request.image_tags,
            snapshot_tags: &request.snapshot_tags,
            disks: mapped(disks, &request.block_devices, (account, region)),
            new_snapshots,
            latency: self.timings.image,
        };
        let id = self.make_image(account, region, Image { ena_support, ..template }, making)?;
        self.image_requests.push(request.clone());
        Ok(id)
    }

    /// The disks, each with the id of a snapshot to be made of it.
    fn with_new_snapshots(&mut self, disks: Vec<Disk>) -> (Vec<Disk>, Vec<String>) {
        let ids: Vec<String> = disks.iter().map(|_| self.id("snap")).collect();
        let disks = disks.into_iter().zip(&ids);
        (disks.map(|(disk, id)| Disk { snapshot_id: Some(id.clone()), ..disk }).collect(), ids)
    }

    pub(super) fn copy_image(&mut self, account: &str, region: &str, request: &NewImageCopy) -> CloudResult<String> {
        if let Some((before, id)) = self.region(account, region).copies.get(&request.client_token) {
            return if before == request {
                Ok(id.clone())
            } else {
                Err(duplicate("IdempotentParameterMismatch", "the token was used with other parameters"))
            };
        }
        let source = self.images.get(&request.source_image_id);
        let source = source.filter(|image| image.region == request.source_region && image.visible_to(account));
        let source = source.ok_or_else(|| not_found("InvalidAMIID", &request.source_image_id))?;
        if source.shown.state != ImageState::Available {
            return Err(invalid("InvalidRequest", format!("The image {} is not available", source.shown.id)));
        }
        let (shown, disks) = (source.shown.clone(), source.disks.clone());
        let key = |disk: &Disk| key_of_copy(disk, request.encrypted, request.kms_key_id.as_ref(), (account, region));
        let disks = disks.into_iter().map(|disk| Disk { kms_key_id: key(&disk), ..disk }).collect::<Vec<_>>();
        let (empty, full): (Vec<_>, Vec<_>) = disks.into_iter().partition(|disk| disk.snapshot_id.is_none());
        let (mut disks, new_snapshots) = self.with_new_snapshots(full);
        disks.extend(empty);
        let making = Making {
            name: &request.name,
            description: &request.description,
            image_tags: &request.image_tags,
            snapshot_tags: &request.snapshot_tags,
            disks,
            new_snapshots,
            latency: self.timings.copy,
        };
        let id = self.make_image(account, region, shown, making)?;
        self.region(account, region).copies.insert(request.client_token.clone(), (request.clone(), id.clone()));
        Ok(id)
    }

    /// `source` says what is not new of it.
    pub(super) fn make_image(
        &mut self,
        account: &str,
        region: &str,
        source: Image,
        making: Making<'_>,
    ) -> CloudResult<String> {
        if !(3..=128).contains(&making.name.len()) {
            return Err(invalid("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long"));
        }
        let mut own = self.images.values().filter(|image| image.region == region && image.shown.owner_id == account);
        if let Some(taken) = own.find(|image| image.shown.name == making.name) {
            let message = format!("AMI name {} is already in use by AMI {}", making.name, taken.shown.id);
            return Err(duplicate("InvalidAMIName.Duplicate", message));
        }
        let (id, hidden) = (self.id("ami"), self.invisible_for);
        for disk in &making.disks {
            if let Some(snapshot_id) = disk.snapshot_id.as_ref().filter(|id| making.new_snapshots.contains(id)) {
                self.make_snapshot(account, region, snapshot_id, disk, making.snapshot_tags, None);
            }
        }
        let change = if self.failing_images.is_empty() {
            Change::begin(ImageState::Available, making.latency)
        } else {
            Change::begin(ImageState::Failed, making.latency).because(self.failing_images.remove(0))
        };
        let shown = Image {
            id: id.clone(),
            name: making.name.to_owned(),
            state: ImageState::Pending,
            state_reason: None,
            owner_id: account.to_owned(),
            owner_alias: None,
            creation_date: creation_date(self.next()),
            description: making.description.to_owned(),
            public: false,
            tags: making.image_tags.clone(),
            ..source
        };
        let image = FakeImage { change: Some(change), hidden, ..FakeImage::new(shown, region, making.disks) };
        self.images.insert(id.clone(), image);
        Ok(id)
    }

    /// An image of the account itself.
    pub(super) fn own_image(&mut self, account: &str, region: &str, id: &str) -> CloudResult<&mut FakeImage> {
        let image = self.images.get_mut(id).filter(|image| image.region == region && image.visible_to(account));
        let image = image.ok_or_else(|| not_found("InvalidAMIID", id))?;
        if image.shown.owner_id != account {
            return Err(refuse(CloudErrorClass::Unauthorized, "AuthFailure", format!("Not authorized for image:{id}")));
        }
        Ok(image)
    }

    pub(super) fn deregister_image(&mut self, account: &str, region: &str, id: &str) -> CloudResult<()> {
        if self.own_image(account, region, id)?.protection != Protection::Off {
            let message = format!("The image {id} can't be deregistered: deregistration protection is enabled.");
            return Err(invalid("OperationNotPermitted", message));
        }
        self.images.remove(id);
        Ok(())
    }
}

//! The life of an image and its snapshots.

use std::collections::BTreeSet;

use super::filters::{busy, duplicate, invalid, not_found, refuse};
use super::instances::{ROOT_SIZE_GIB, wrong_state};
use super::timing::{Change, Latency};
use super::world::{FakeImage, FakeSnapshot, World};
use crate::cloud::{
    CloudErrorClass, CloudResult, Image, ImageState, InstanceState, NewImage, NewImageCopy, Snapshot, Tags,
};

/// Days from the first of January 2025 to ids: dates that rise with each image.
fn creation_date(number: u64) -> String {
    let (hours, minutes, seconds) = (number / 3600 % 24, number / 60 % 60, number % 60);
    format!("2025-01-{:02}T{hours:02}:{minutes:02}:{seconds:02}.000Z", 1 + number / 86_400 % 28)
}

/// What is new of an image that is made of another one or of an instance.
struct Making<'r> {
    name: &'r str,
    description: &'r str,
    image_tags: &'r Tags,
    snapshot_tags: &'r Tags,
    snapshots: usize,
    latency: Latency,
}

impl World {
    pub(super) fn create_image(&mut self, account: &str, region: &str, request: &NewImage) -> CloudResult<String> {
        let instance = self.region(account, region).instance(&request.instance_id)?;
        if !matches!(instance.shown.state, InstanceState::Running | InstanceState::Stopped) {
            return Err(wrong_state(&request.instance_id, "imaged"));
        }
        let (source, ena_support) = (instance.request.machine.image_id.clone(), instance.ena_support);
        let snapshots = instance.shown.volume_ids.len();
        let template = self.images.get(&source).map(|image| image.shown.clone());
        let template = template.ok_or_else(|| not_found("InvalidAMIID", &source))?;
        let making = Making {
            name: &request.name,
            description: &request.description,
            image_tags: &request.image_tags,
            snapshot_tags: &request.snapshot_tags,
            snapshots,
            latency: self.timings.image,
        };
        self.make_image(account, region, Image { ena_support, ..template }, &making)
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
        let source = source.ok_or_else(|| not_found("InvalidAMIID", &request.source_image_id))?.shown.clone();
        if source.state != ImageState::Available {
            return Err(invalid("InvalidRequest", format!("The image {} is not available", source.id)));
        }
        let making = Making {
            name: &request.name,
            description: &request.description,
            image_tags: &request.image_tags,
            snapshot_tags: &request.snapshot_tags,
            snapshots: source.snapshot_ids.len(),
            latency: self.timings.copy,
        };
        let id = self.make_image(account, region, source, &making)?;
        self.region(account, region).copies.insert(request.client_token.clone(), (request.clone(), id.clone()));
        Ok(id)
    }

    fn make_image(&mut self, account: &str, region: &str, source: Image, making: &Making<'_>) -> CloudResult<String> {
        if !(3..=128).contains(&making.name.len()) {
            return Err(invalid("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long"));
        }
        let mut own = self.images.values().filter(|image| image.region == region && image.shown.owner_id == account);
        if let Some(taken) = own.find(|image| image.shown.name == making.name) {
            let message = format!("AMI name {} is already in use by AMI {}", making.name, taken.shown.id);
            return Err(duplicate("InvalidAMIName.Duplicate", message));
        }
        let (id, hidden, created_at) = (self.id("ami"), self.invisible_for, self.now);
        let snapshot_ids: Vec<String> = (0..making.snapshots).map(|_| self.id("snap")).collect();
        for snapshot_id in &snapshot_ids {
            let shown = Snapshot {
                id: snapshot_id.clone(),
                state: "pending".to_owned(),
                progress: Some("0%".to_owned()),
                size_gib: Some(ROOT_SIZE_GIB),
                created_at,
                tags: making.snapshot_tags.clone(),
            };
            let snapshot = FakeSnapshot { shown, image: id.clone(), shared_with: BTreeSet::new(), hidden };
            self.region(account, region).snapshots.insert(snapshot_id.clone(), snapshot);
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
            snapshot_ids,
            tags: making.image_tags.clone(),
            ..source
        };
        let image = FakeImage {
            shown,
            region: region.to_owned(),
            public: false,
            base: false,
            deprecated: false,
            imds_v2: false,
            shared_with: BTreeSet::new(),
            change: Some(change),
            hidden,
        };
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
        self.own_image(account, region, id)?;
        self.images.remove(id);
        Ok(())
    }

    pub(super) fn delete_snapshot(&mut self, account: &str, region: &str, id: &str) -> CloudResult<()> {
        let snapshot =
            self.region(account, region).snapshots.get(id).ok_or_else(|| not_found("InvalidSnapshot", id))?;
        let image = snapshot.image.clone();
        if self.images.contains_key(&image) {
            return Err(busy("InvalidSnapshot.InUse", format!("The snapshot {id} is currently in use by {image}")));
        }
        self.region(account, region).snapshots.remove(id);
        Ok(())
    }
}

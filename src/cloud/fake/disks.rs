//! Disks: what an image says of a device, what a mapping changes of it, and the volumes and snapshots that come of it.

use super::filters::{busy, invalid, not_found, refuse};
use super::timing::Change;
use super::world::{FakeSnapshot, Region, World};
use crate::cloud::{CloudErrorClass, CloudResult, Grantee, ImageDevice, Snapshot, Tags};
use crate::domain::config::amazon_ebs::BlockDevice;

/// What a volume has when nobody says more.
pub(super) const ROOT_SIZE_GIB: i32 = 8;

/// The key of an account and region that AWS manages.
fn default_key(account: &str, region: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:alias/aws/ebs")
}

/// One EBS device of an image, or one volume with its name on the machine.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    pub device_name: String,
    pub snapshot_id: Option<String>,
    pub size_gib: i32,
    pub volume_type: String,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    /// The key, when it is encrypted.
    pub kms_key_id: Option<String>,
    pub delete_on_termination: bool,
}

impl Disk {
    pub(super) fn root(device_name: &str, snapshot_id: String) -> Self {
        Self { snapshot_id: Some(snapshot_id), delete_on_termination: true, ..Self::empty(device_name) }
    }

    fn empty(device_name: &str) -> Self {
        Self {
            device_name: device_name.to_owned(),
            snapshot_id: None,
            size_gib: ROOT_SIZE_GIB,
            volume_type: "gp3".to_owned(),
            iops: None,
            throughput: None,
            kms_key_id: None,
            delete_on_termination: false,
        }
    }

    pub(super) fn shown(&self) -> ImageDevice {
        ImageDevice {
            device_name: self.device_name.clone(),
            snapshot_id: self.snapshot_id.clone(),
            size_gib: Some(self.size_gib),
            volume_type: self.volume_type.clone(),
            iops: self.iops,
            throughput: self.throughput,
            encrypted: self.kms_key_id.is_some(),
            delete_on_termination: self.delete_on_termination,
        }
    }

    /// What a mapping says of it. Encryption can be added and not taken away.
    fn change(&mut self, device: &BlockDevice, default_key: &str) {
        self.delete_on_termination = device.delete_on_termination;
        self.size_gib = device.volume_size.unwrap_or(self.size_gib);
        self.volume_type = device.volume_type.clone().unwrap_or_else(|| self.volume_type.clone());
        self.iops = device.iops.or(self.iops);
        self.throughput = device.throughput.or(self.throughput);
        if device.snapshot_id.is_some() {
            self.snapshot_id.clone_from(&device.snapshot_id);
        }
        if device.encrypted == Some(true) {
            self.kms_key_id = Some(device.kms_key_id.clone().unwrap_or_else(|| default_key.to_owned()));
        }
    }
}

/// Disks with mappings over them: a mapping of a device that is there changes it or takes it off, any other adds one.
pub(super) fn mapped(disks: Vec<Disk>, mappings: &[BlockDevice], (account, region): (&str, &str)) -> Vec<Disk> {
    let mut disks = disks;
    let default_key = default_key(account, region);
    for mapping in mappings {
        if mapping.no_device || mapping.virtual_name.is_some() {
            disks.retain(|disk| disk.device_name != mapping.device_name);
        } else if let Some(disk) = disks.iter_mut().find(|disk| disk.device_name == mapping.device_name) {
            disk.change(mapping, &default_key);
        } else {
            let mut disk = Disk::empty(&mapping.device_name);
            disk.change(mapping, &default_key);
            disks.push(disk);
        }
    }
    disks
}

/// The key of a copy: as asked, else the region's own when it is to be encrypted or was.
pub(super) fn key_of_copy(
    disk: &Disk,
    encrypted: Option<bool>,
    kms_key_id: Option<&String>,
    (account, region): (&str, &str),
) -> Option<String> {
    let encrypted = encrypted == Some(true) || disk.kms_key_id.is_some();
    encrypted.then(|| kms_key_id.cloned().unwrap_or_else(|| default_key(account, region)))
}

impl World {
    /// A snapshot of a disk. `change`: when it is done by itself; else its image says when.
    pub(super) fn make_snapshot(
        &mut self,
        account: &str,
        region: &str,
        id: &str,
        disk: &Disk,
        tags: &Tags,
        change: Option<Change<()>>,
    ) {
        let (hidden, created_at) = (self.invisible_for, self.now);
        let shown = Snapshot {
            id: id.to_owned(),
            state: "pending".to_owned(),
            progress: Some("0%".to_owned()),
            size_gib: Some(disk.size_gib),
            encrypted: disk.kms_key_id.is_some(),
            kms_key_id: disk.kms_key_id.clone(),
            created_at,
            tags: tags.clone(),
        };
        let (grants, description) = (Vec::new(), String::new());
        let snapshot = FakeSnapshot { shown, change, fails: false, description, volume_id: None, grants, hidden };
        self.region(account, region).snapshots.insert(id.to_owned(), snapshot);
    }

    pub(super) fn delete_snapshot(&mut self, account: &str, region: &str, id: &str) -> CloudResult<()> {
        if !self.region(account, region).snapshots.contains_key(id) {
            return Err(not_found("InvalidSnapshot", id));
        }
        let user = self.images.values().find(|image| image.shown.snapshot_ids.iter().any(|used| used == id));
        if let Some(image) = user {
            let message = format!("The snapshot {id} is currently in use by {}", image.shown.id);
            return Err(busy("InvalidSnapshot.InUse", message));
        }
        self.region(account, region).snapshots.remove(id);
        Ok(())
    }
}

impl Region {
    pub(super) fn share_snapshot(&mut self, id: &str, with: &[Grantee]) -> CloudResult<()> {
        if with.iter().any(|grantee| !matches!(grantee, Grantee::Account(_) | Grantee::Group(_))) {
            return Err(invalid("InvalidParameterValue", "a snapshot is shared with accounts and the group all"));
        }
        let snapshot = self.snapshots.get_mut(id).ok_or_else(|| not_found("InvalidSnapshot", id))?;
        may_be_shared(snapshot, with)?;
        snapshot.grants.extend(with.iter().cloned());
        Ok(())
    }

    /// Whether an image of these snapshots may be shared.
    pub(super) fn may_share(&self, snapshot_ids: &[String], with: &[Grantee]) -> CloudResult<()> {
        snapshot_ids.iter().filter_map(|id| self.snapshots.get(id)).try_for_each(|one| may_be_shared(one, with))
    }
}

fn may_be_shared(snapshot: &FakeSnapshot, with: &[Grantee]) -> CloudResult<()> {
    let refused = |why: &str| Err(refuse(CloudErrorClass::Invalid, "OperationNotPermitted", why));
    match &snapshot.shown.kms_key_id {
        Some(key) if key.ends_with("alias/aws/ebs") => {
            refused("Encrypted snapshots with EBS default key cannot be shared")
        }
        Some(_) if with.iter().any(|grantee| matches!(grantee, Grantee::Group(_))) => {
            refused("Encrypted snapshots cannot be made public")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_change_add_and_take_off() {
        let named = |name: &str| BlockDevice { device_name: name.into(), ..BlockDevice::default() };
        let disks = vec![Disk::root("/dev/sda1", "snap-1".into()), Disk::empty("/dev/sdb"), Disk::empty("/dev/sdc")];
        let mappings = [
            BlockDevice {
                volume_size: Some(20),
                volume_type: Some("io2".into()),
                iops: Some(5000),
                encrypted: Some(true),
                delete_on_termination: true,
                ..named("/dev/sda1")
            },
            BlockDevice { no_device: true, ..named("/dev/sdb") },
            BlockDevice { virtual_name: Some("ephemeral0".into()), ..named("/dev/sdc") },
            BlockDevice { snapshot_id: Some("snap-2".into()), kms_key_id: Some("k".into()), ..named("/dev/sdd") },
        ];
        let shown: Vec<ImageDevice> = mapped(disks, &mappings, ("1", "us-east-1")).iter().map(Disk::shown).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert_eq!((shown[0].size_gib, shown[0].volume_type.as_str(), shown[0].iops), (Some(20), "io2", Some(5000)));
        assert_eq!((shown[0].snapshot_id.as_deref(), shown[0].encrypted), (Some("snap-1"), true));
        assert_eq!((shown[1].device_name.as_str(), shown[1].snapshot_id.as_deref()), ("/dev/sdd", Some("snap-2")));
        assert!(!shown[1].encrypted, "a key alone encrypts nothing");
    }
}

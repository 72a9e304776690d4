//! The builders besides `amazon-ebs`. Names, defaults and limits are Packer's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amazon_ebs::BlockDevice;
use super::{AmazonEbs, LateString, LateTags, Locations, SshConfig};

/// `null`: runs the provisioners on a host that is there already, or nothing at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Null {
    /// Its `host` is given unless the communicator is `none`.
    pub communicator: SshConfig,
    pub locations: Locations,
}

/// `file`: one file, kept with the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileBuild {
    /// Its name among the run's files.
    pub target: String,
    pub content: FileContent,
    pub locations: Locations,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    /// `content`.
    Text(String),
    /// `source`: a path in the bundle; it was seen to exist.
    Bundle(String),
}

/// `amazon-ebsvolume`: volumes that provisioners filled, and snapshots of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmazonEbsVolume {
    /// The machine that fills them; `skip_create_ami` is set. Its `launch_block_device_mappings` are the volumes'.
    pub machine: AmazonEbs,
    pub volumes: Vec<EbsVolume>,
}

/// One of `ebs_volumes`, besides its device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EbsVolume {
    pub device_name: String,
    /// Of the volume once the machine runs.
    pub tags: LateTags,
    /// Whether a snapshot is made of it.
    pub snapshot: bool,
    pub snapshot_description: LateString,
    pub snapshot_tags: LateTags,
    /// Account ids.
    pub snapshot_users: Vec<String>,
    pub snapshot_groups: Vec<String>,
}

impl AmazonEbsVolume {
    /// The volumes that snapshots are made of.
    pub fn with_snapshots(&self) -> impl Iterator<Item = &EbsVolume> {
        self.on_ebs().filter(|volume| volume.snapshot)
    }

    /// Those of `ebs_volumes` that are volumes: an instance store is none.
    pub fn on_ebs(&self) -> impl Iterator<Item = &EbsVolume> {
        let devices = &self.machine.launch_block_device_mappings;
        let is_volume = |name: &str| devices.iter().any(|device| device.device_name == name && device.has_volume());
        self.volumes.iter().filter(move |volume| is_volume(&volume.device_name))
    }

    /// One of `ebs_volumes`.
    #[must_use]
    pub fn volume(&self, device_name: &str) -> Option<&EbsVolume> {
        self.volumes.iter().find(|volume| volume.device_name == device_name)
    }
}

/// `amazon-ebssurrogate`: an image of a volume beside the machine's own root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmazonEbsSurrogate {
    pub machine: AmazonEbs,
    /// `ami_root_device`.
    pub root: BlockDevice,
    /// The device on the machine that becomes the image's root; one of `launch_block_device_mappings`.
    pub source_device_name: String,
    /// Devices on the machine that are not in the image (`omit_from_artifact`).
    pub omitted: Vec<String>,
    pub snapshot_description: LateString,
    /// `x86_64`, `arm64`, `i386`, `x86_64_mac` or `arm64_mac`.
    pub architecture: String,
    /// `legacy-bios`, `uefi` or `uefi-preferred`.
    pub boot_mode: Option<String>,
    /// Base64.
    pub uefi_data: Option<String>,
    /// Only `v2.0`.
    pub tpm_support: Option<String>,
    /// The image is made of the machine itself, once the volume has taken the place of its root.
    #[serde(default)]
    pub use_create_image: bool,
}

impl AmazonEbsSurrogate {
    /// Devices on the machine whose volumes are in the image, the one that becomes its root included.
    pub fn in_image(&self) -> impl Iterator<Item = &BlockDevice> {
        let devices = self.machine.launch_block_device_mappings.iter();
        devices.filter(|device| device.has_volume() && !self.omitted.contains(&device.device_name))
    }

    /// The image's devices: those of `ami_block_device_mappings`, and over them what was on the machine. `snapshots` are by
    /// the name on the machine; a volume without one is in the image as it is.
    #[must_use]
    pub fn image_devices(&self, snapshots: &BTreeMap<String, String>) -> Vec<BlockDevice> {
        let mut devices = self.machine.ami_block_device_mappings.clone();
        let launched = &self.machine.launch_block_device_mappings;
        for device in launched.iter().filter(|device| !device.no_device && !self.omitted.contains(&device.device_name))
        {
            let mut device = if device.device_name == self.source_device_name {
                self.root_of(device, snapshots.get(&device.device_name))
            } else {
                BlockDevice { snapshot_id: snapshots.get(&device.device_name).cloned(), ..device.clone() }
            };
            // EC2 takes encryption from the snapshot or volume, and refuses to be told of it.
            device.encrypted = None;
            device.kms_key_id = None;
            device.outlives_build = false;
            devices.retain(|other| other.device_name != device.device_name);
            devices.push(device);
        }
        devices
    }

    /// The volume as `ami_root_device` wants it, and else as it is on the machine.
    fn root_of(&self, device: &BlockDevice, snapshot: Option<&String>) -> BlockDevice {
        let root = &self.root;
        // How fast it is belongs to its type.
        let same_type = root.volume_type.is_none() || root.volume_type == device.volume_type;
        BlockDevice {
            device_name: root.device_name.clone(),
            snapshot_id: snapshot.cloned(),
            delete_on_termination: root.delete_on_termination,
            volume_size: root.volume_size.or(device.volume_size),
            volume_type: root.volume_type.clone().or_else(|| device.volume_type.clone()),
            iops: root.iops.or(device.iops.filter(|_| same_type)),
            throughput: root.throughput.or(device.throughput.filter(|_| same_type)),
            ..BlockDevice::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> BlockDevice {
        BlockDevice { device_name: name.into(), volume_size: Some(8), ..BlockDevice::default() }
    }

    fn surrogate() -> AmazonEbsSurrogate {
        let source = BlockDevice {
            volume_type: Some("gp3".into()),
            iops: Some(4000),
            encrypted: Some(true),
            kms_key_id: Some("alias/a".into()),
            ..device("/dev/xvdf")
        };
        let data = BlockDevice { delete_on_termination: true, ..device("/dev/xvdg") };
        let store = BlockDevice { virtual_name: Some("ephemeral0".into()), volume_size: None, ..device("/dev/xvdh") };
        let machine = AmazonEbs {
            launch_block_device_mappings: vec![source, data, device("/dev/xvdi"), store],
            ami_block_device_mappings: vec![device("/dev/xvdg"), device("/dev/sdz")],
            ..AmazonEbs::default()
        };
        AmazonEbsSurrogate {
            machine,
            root: BlockDevice { delete_on_termination: true, volume_size: Some(20), ..named("/dev/sda1") },
            source_device_name: "/dev/xvdf".into(),
            omitted: vec!["/dev/xvdi".into()],
            snapshot_description: LateString::default(),
            architecture: "x86_64".into(),
            boot_mode: None,
            uefi_data: None,
            tpm_support: None,
            use_create_image: false,
        }
    }

    fn named(name: &str) -> BlockDevice {
        BlockDevice { device_name: name.into(), ..BlockDevice::default() }
    }

    #[test]
    fn the_image_has_what_was_on_the_machine_under_its_new_name() {
        let surrogate = surrogate();
        let names: Vec<&str> = surrogate.in_image().map(|device| device.device_name.as_str()).collect();
        assert_eq!(names, ["/dev/xvdf", "/dev/xvdg"], "neither what is left out nor an instance store");
        let snapshots = [("/dev/xvdf", "snap-1"), ("/dev/xvdg", "snap-2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let devices = surrogate.image_devices(&snapshots.into());
        let shown: Vec<(&str, Option<&str>)> =
            devices.iter().map(|device| (device.device_name.as_str(), device.snapshot_id.as_deref())).collect();
        let expected =
            [("/dev/sdz", None), ("/dev/sda1", Some("snap-1")), ("/dev/xvdg", Some("snap-2")), ("/dev/xvdh", None)];
        assert_eq!(shown, expected, "the machine's own counts before ami_block_device_mappings");
        let root = &devices[1];
        assert_eq!((root.volume_size, root.volume_type.as_deref(), root.iops), (Some(20), Some("gp3"), Some(4000)));
        assert!(root.delete_on_termination && root.encrypted.is_none() && root.kms_key_id.is_none(), "{root:?}");
        assert_eq!(devices[3].virtual_name.as_deref(), Some("ephemeral0"));
    }

    #[test]
    fn another_type_of_root_has_a_speed_of_its_own() {
        let mut surrogate = surrogate();
        surrogate.root.volume_type = Some("gp2".into());
        let root = surrogate.image_devices(&BTreeMap::new()).remove(1);
        assert_eq!((root.volume_type.as_deref(), root.iops, root.volume_size), (Some("gp2"), None, Some(20)));
    }
}

//! Block devices: `launch_block_device_mappings`, `ami_block_device_mappings`, `ebs_volumes` and `ami_root_device`.

use super::super::body::Decoder;
use super::image::check_key_id;
use super::required;
use crate::domain::config::amazon_ebs::BlockDevice;

/// Where a device is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine that the image is made of.
    Launch,
    /// In the image only.
    Image,
}

/// Reads all devices of an option.
pub fn read(decoder: &Decoder<'_>, name: &'static str, place: Place) -> Vec<BlockDevice> {
    let blocks = decoder.blocks(name);
    let mut devices: Vec<BlockDevice> = Vec::new();
    for options in &blocks {
        let inner = Decoder::new(options, decoder.context);
        let device = one(&inner, place);
        inner.finish(name, &[]);
        refuse_twice(&inner, name, &devices, &device);
        devices.push(device);
    }
    devices
}

/// Complains about a device that is there already.
pub fn refuse_twice(decoder: &Decoder<'_>, name: &str, others: &[BlockDevice], device: &BlockDevice) {
    if !device.device_name.is_empty() && others.iter().any(|other| other.device_name == device.device_name) {
        let summary = format!("{name} names the device {:?} twice", device.device_name);
        decoder.error_at("device_name", summary, "");
    }
}

/// The options that each device has.
pub fn one(decoder: &Decoder<'_>, place: Place) -> BlockDevice {
    let delete_on_termination = decoder.flag("delete_on_termination");
    let mut device = BlockDevice {
        device_name: required(decoder, "device_name", "such as /dev/sda1 or /dev/xvda"),
        delete_on_termination: delete_on_termination.unwrap_or(false),
        encrypted: decoder.flag("encrypted"),
        kms_key_id: decoder.string("kms_key_id"),
        iops: decoder.integer("iops", 0, i32::MAX).filter(|iops| *iops != 0),
        throughput: decoder.integer("throughput", 0, i32::MAX).filter(|throughput| *throughput != 0),
        snapshot_id: decoder.string("snapshot_id"),
        volume_size: decoder.integer("volume_size", 0, 65_536).filter(|size| *size != 0),
        volume_type: decoder.string("volume_type"),
        virtual_name: decoder.string("virtual_name"),
        no_device: decoder.flag("no_device").unwrap_or(false),
        outlives_build: false,
    };
    device.outlives_build = place == Place::Launch && delete_on_termination == Some(false) && device.has_volume();
    check(decoder, &mut device);
    device
}

fn check(decoder: &Decoder<'_>, device: &mut BlockDevice) {
    let complain = |name: &str, summary: String| decoder.error_at(name, summary, "");
    let kind = device.volume_type.clone().unwrap_or_default();
    if !matches!(kind.as_str(), "" | "gp2" | "gp3" | "io1" | "io2" | "st1" | "sc1" | "standard") {
        complain("volume_type", format!("there is no volume_type {kind:?}"));
    }
    if decoder.any_unknown(&["no_device", "virtual_name"]) {
        return;
    }
    if !device.has_volume() {
        check_without_volume(decoder, device);
        return;
    }
    let known_type = !decoder.is_unknown("volume_type");
    if let (Some(iops), true) = (device.iops, known_type) {
        check_iops(decoder, device, &kind, iops);
    }
    if let (Some(throughput), true) = (device.throughput, known_type) {
        if kind != "gp3" {
            complain("throughput", "throughput is only for gp3 volumes".to_owned());
        } else if !(125..=1000).contains(&throughput) {
            complain("throughput", "throughput must be from 125 to 1000 MiB/s".to_owned());
        }
    }
    if let Some(key) = &device.kms_key_id {
        check_key_id(decoder, "kms_key_id", key);
        match device.encrypted {
            Some(false) => complain("kms_key_id", "kms_key_id needs encrypted = true".to_owned()),
            // EC2 wants it said.
            None => device.encrypted = Some(true),
            Some(true) => {}
        }
    }
}

fn check_iops(decoder: &Decoder<'_>, device: &mut BlockDevice, kind: &str, iops: i32) {
    let complain = |summary: String| decoder.error_at("iops", summary, "");
    let (low, high, per_gib) = match kind {
        "io1" => (100, 64_000, Some(50)),
        "io2" => (100, 64_000, Some(500)),
        "gp3" => (3_000, 16_000, None),
        _ => {
            device.iops = None;
            let summary = "iops is only for io1, io2 and gp3 volumes; it is left out";
            decoder.warn_at("iops", summary, "Packer leaves it out, too");
            return;
        }
    };
    if !(low..=high).contains(&iops) {
        complain(format!("iops must be from {low} to {high} for {kind}"));
    }
    if let (Some(per_gib), Some(size)) = (per_gib, device.volume_size)
        && i64::from(iops) > i64::from(size) * per_gib
    {
        complain(format!("iops may be at most {per_gib} for each GiB of a {kind} volume"));
    }
}

/// `no_device` takes a device away, `virtual_name` names an instance store: neither has a volume.
fn check_without_volume(decoder: &Decoder<'_>, device: &BlockDevice) {
    let why = if device.no_device { "no_device" } else { "virtual_name" };
    let of_volume = [
        ("encrypted", device.encrypted == Some(true)),
        ("kms_key_id", device.kms_key_id.is_some()),
        ("iops", device.iops.is_some()),
        ("throughput", device.throughput.is_some()),
        ("snapshot_id", device.snapshot_id.is_some()),
        ("volume_size", device.volume_size.is_some()),
        ("volume_type", device.volume_type.is_some()),
    ];
    for (name, _) in of_volume.iter().filter(|(_, given)| *given) {
        decoder.error_at(name, format!("{name} excludes {why}"), format!("a device with {why} has no EBS volume"));
    }
}

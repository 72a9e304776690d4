//! The builders besides `amazon-ebs`: `null`, `file`, `amazon-ebsvolume`, `amazon-ebssurrogate`.

use super::amazon_ebs::devices::{self, Place};
use super::amazon_ebs::rules::{COMMUNICATOR, RULES};
use super::amazon_ebs::{self, TagNames, image, read_tags, required};
use super::body::Decoder;
use super::communicator;
use crate::domain::bundle::normalise;
use crate::domain::config::amazon_ebs::BlockDevice;
use crate::domain::config::builders::{EbsVolume, FileContent};
use crate::domain::config::communicator::CommunicatorKind;
use crate::domain::config::{AmazonEbsSurrogate, AmazonEbsVolume, FileBuild, Null};
use crate::template::legacy::early::{NOW, SOURCE_AMI};

/// `null`.
#[must_use]
pub fn null(decoder: &Decoder<'_>) -> Null {
    let config = communicator::connection(decoder);
    if config.communicator == CommunicatorKind::Ssh {
        let has_key = config.own_key.is_some() || decoder.given("ssh_private_key_file").is_some();
        if config.host.is_none() && !decoder.any_unknown(&["ssh_host", "communicator"]) {
            let detail = "name the host to run the provisioners on, or set communicator = \"none\"";
            decoder.error_at("ssh_host", "ssh_host is missing", detail);
        }
        if !has_key && config.password.is_none() && !decoder.any_unknown(&["ssh_password", "communicator"]) {
            let detail =
                "give ssh_private_key_file, a file of the bundle or a sensitive variable's value, or ssh_password";
            decoder.error(decoder.at(), "there is no way to log in", detail);
        }
        if has_key && config.password.is_some() {
            decoder.error_at("ssh_password", "ssh_password and ssh_private_key_file can't both be given", "");
        }
    }
    decoder.finish("null", COMMUNICATOR);
    Null { communicator: config, locations: decoder.options.locations() }
}

/// `file`. The target becomes a file of the run: the server's own files are out of reach.
#[must_use]
pub fn file(decoder: &Decoder<'_>) -> FileBuild {
    let target = decoder.text("target");
    if target.is_none() && !decoder.is_unknown("target") {
        decoder.error_at("target", "target is missing", "name the file to make");
    }
    if let Some(target) = &target
        && let Err(error) = normalise(&target.value)
    {
        let detail = "the file is kept with the run; give it a plain name";
        decoder.error(&target.at, format!("target: {error}"), detail);
    }
    let text = decoder.late_or_empty("content", NOW);
    let source = decoder.text("source");
    let given = decoder.given("content").is_some();
    let content = if let Some(source) = source {
        if given {
            decoder.error(&source.at, "source and content can't both be given", "");
        }
        let found = decoder.bundle_file(&source, "source");
        FileContent::Bundle(found.map(|(path, _)| path).unwrap_or_default())
    } else {
        if !given && !decoder.is_unknown("content") && !decoder.is_unknown("source") {
            decoder.warn(decoder.at(), "the file will be empty", "neither source nor content is given");
        }
        FileContent::Text(text.unwrap_or_default().0)
    };
    decoder.finish("file", &[]);
    let target = target.and_then(|target| normalise(&target.value).ok()).unwrap_or_default();
    FileBuild { target, content, locations: decoder.options.locations() }
}

/// `amazon-ebsvolume`. Volumes stay unless they say `delete_on_termination = true`: they are what is built.
#[must_use]
pub fn ebs_volume(decoder: &Decoder<'_>) -> AmazonEbsVolume {
    let mut machine = amazon_ebs::machine(decoder, false);
    machine.skip_create_ami = true;
    let mut volumes = Vec::new();
    for options in decoder.blocks("ebs_volumes") {
        let inner = Decoder::new(&options, decoder.context);
        let mut device = devices::one(&inner, Place::Launch);
        device.outlives_build = !device.delete_on_termination && device.has_volume();
        let volume = EbsVolume {
            device_name: device.device_name.clone(),
            tags: read_tags(&inner, TagNames { map: "tags", block: "tag", key: "key" }),
            snapshot: inner.flag("snapshot_volume").unwrap_or(false),
            snapshot_description: inner.late("snapshot_description", SOURCE_AMI).unwrap_or_default(),
            snapshot_tags: read_tags(&inner, TagNames { map: "snapshot_tags", block: "snapshot_tag", key: "key" }),
            snapshot_users: inner.strings("snapshot_users"),
            snapshot_groups: image::groups(&inner, "snapshot_groups"),
        };
        check_snapshot(&inner, &device, &volume);
        inner.finish("ebs_volumes", &[]);
        devices::refuse_twice(&inner, "ebs_volumes", &machine.launch_block_device_mappings, &device);
        machine.launch_block_device_mappings.push(device);
        volumes.push(volume);
    }
    if machine.launch_block_device_mappings.is_empty() && !decoder.is_unknown("ebs_volumes") {
        decoder.warn(decoder.at(), "the build makes nothing: there are no ebs_volumes", "");
    }
    amazon_ebs::refuse_modification_of_spot(decoder, &machine);
    amazon_ebs::finish(decoder, &mut machine, "key", true);
    decoder.finish_all("amazon-ebsvolume", &[RULES, COMMUNICATOR]);
    AmazonEbsVolume { machine, volumes }
}

/// EC2 would refuse some of this only when the volume is filled.
fn check_snapshot(decoder: &Decoder<'_>, device: &BlockDevice, volume: &EbsVolume) {
    if !volume.snapshot && decoder.is_unknown("snapshot_volume") {
        return;
    }
    if !volume.snapshot {
        let says = [
            ("snapshot_description", !volume.snapshot_description.0.is_empty()),
            ("snapshot_tags", !volume.snapshot_tags.is_empty()),
            ("snapshot_users", !volume.snapshot_users.is_empty()),
            ("snapshot_groups", !volume.snapshot_groups.is_empty()),
        ];
        for (name, _) in says.iter().filter(|(_, given)| *given) {
            decoder.warn_at(name, format!("{name} says nothing without snapshot_volume = true"), "");
        }
        return;
    }
    if !device.has_volume() {
        decoder.error_at("snapshot_volume", "there can be no snapshot of a device without an EBS volume", "");
    }
    if device.encrypted != Some(true) {
        return;
    }
    if !volume.snapshot_groups.is_empty() {
        let detail = "list account ids in snapshot_users, or do not encrypt the volume";
        decoder.error_at("snapshot_groups", "an encrypted snapshot can't be made public", detail);
    }
    if !volume.snapshot_users.is_empty() && device.kms_key_id.is_none() && !decoder.is_unknown("kms_key_id") {
        let summary = "a snapshot that is encrypted with the default key can't be shared";
        decoder.error_at("snapshot_users", summary, "give the volume a kms_key_id of your own");
    }
}

/// `amazon-ebssurrogate`. The machine's own root is no part of the image, so nothing is cleaned there.
#[must_use]
pub fn ebs_surrogate(decoder: &Decoder<'_>) -> AmazonEbsSurrogate {
    let mut machine = amazon_ebs::machine(decoder, false);
    image::read(decoder, &mut machine);
    machine.skip_ami_run_tags = decoder.flag("skip_ami_run_tags").unwrap_or(false);
    if machine.ami_virtualization_type.is_none() && !decoder.is_unknown("ami_virtualization_type") {
        decoder.error_at("ami_virtualization_type", "ami_virtualization_type is missing", "it is \"hvm\"");
    }
    let mut omitted = Vec::new();
    for options in decoder.blocks("launch_block_device_mappings") {
        let inner = Decoder::new(&options, decoder.context);
        let device = devices::one(&inner, Place::Launch);
        if inner.flag("omit_from_artifact").unwrap_or(false) {
            omitted.push(device.device_name.clone());
        }
        inner.finish("launch_block_device_mappings", &[]);
        let others = &machine.launch_block_device_mappings;
        devices::refuse_twice(&inner, "launch_block_device_mappings", others, &device);
        machine.launch_block_device_mappings.push(device);
    }
    machine.ami_block_device_mappings = devices::read(decoder, "ami_block_device_mappings", Place::Image);
    let (root, source_device_name) = root_device(decoder, &machine.launch_block_device_mappings);
    let mut surrogate = AmazonEbsSurrogate {
        root,
        source_device_name,
        omitted,
        snapshot_description: decoder.late("snapshot_description", SOURCE_AMI).unwrap_or_default(),
        architecture: decoder.string("ami_architecture").unwrap_or_else(|| "x86_64".to_owned()),
        boot_mode: decoder.string("boot_mode"),
        uefi_data: decoder.string("uefi_data"),
        tpm_support: decoder.string("tpm_support"),
        use_create_image: decoder.flag("use_create_image").unwrap_or(false),
        machine,
    };
    check_devices(decoder, &surrogate);
    check_registration(decoder, &surrogate);
    amazon_ebs::finish(decoder, &mut surrogate.machine, "name", true);
    decoder.finish_all("amazon-ebssurrogate", &[RULES, COMMUNICATOR]);
    surrogate
}

/// Where it says nothing, the root is as the volume was on the machine.
fn root_device(decoder: &Decoder<'_>, launched: &[BlockDevice]) -> (BlockDevice, String) {
    let Some(options) = decoder.block("ami_root_device") else {
        decoder.error_at(
            "ami_root_device",
            "ami_root_device is missing",
            "it says which volume becomes the image's root",
        );
        return (BlockDevice::default(), String::new());
    };
    let inner = Decoder::new(&options, decoder.context);
    let mut root = devices::one(&inner, Place::Image);
    let source = required(&inner, "source_device_name", "name one of launch_block_device_mappings");
    for name in ["encrypted", "kms_key_id", "snapshot_id", "virtual_name", "no_device"] {
        if inner.given(name).is_some() {
            let summary = format!("ami_root_device has no option {name:?}");
            inner.error_at(name, summary, "say it of the volume in launch_block_device_mappings");
        }
    }
    let volume = launched.iter().find(|device| device.device_name == source);
    if let Some(volume) = volume.filter(|_| inner.place("delete_on_termination").is_none()) {
        root.delete_on_termination = volume.delete_on_termination;
    }
    if let (Some(wanted), Some(size)) = (root.volume_size, volume.and_then(|volume| volume.volume_size))
        && wanted < size
    {
        let summary = format!("the image's root can't be smaller than the volume that it is made of, {size} GiB");
        inner.error_at("volume_size", summary, "");
    }
    inner.finish("ami_root_device", &[]);
    (root, source)
}

fn check_devices(decoder: &Decoder<'_>, surrogate: &AmazonEbsSurrogate) {
    let (source, root) = (&surrogate.source_device_name, &surrogate.root.device_name);
    let devices = &surrogate.machine.launch_block_device_mappings;
    let complain = |summary: String, detail: &str| decoder.error_at("ami_root_device", summary, detail);
    let volume = devices.iter().find(|device| device.device_name == *source);
    if !source.is_empty() && volume.is_none() && !decoder.is_unknown("launch_block_device_mappings") {
        let summary = format!("no launch_block_device_mappings has the device {source:?}");
        complain(summary, "source_device_name names the one that the image is made of");
    }
    if volume.is_some_and(|volume| !volume.has_volume()) {
        complain(format!("the device {source:?} has no EBS volume, so no image can be made of it"), "");
    }
    if surrogate.omitted.contains(source) {
        complain("the image's root can't have omit_from_artifact = true".to_owned(), "");
    }
    if source != root && !root.is_empty() && surrogate.in_image().any(|device| device.device_name == *root) {
        let summary =
            format!("the image would have two devices {root:?}: its root, and one of launch_block_device_mappings");
        complain(summary, "give the latter omit_from_artifact = true, or the root another device_name");
    }
    if !surrogate.use_create_image {
        return;
    }
    if surrogate.machine.spot.is_some() {
        let detail = "a spot instance can't be stopped, and so its root can't be replaced; leave one of them out";
        decoder.error_at("use_create_image", "use_create_image can't be used with spot instances", detail);
    }
    let of_registration = ["ami_architecture", "boot_mode", "uefi_data", "tpm_support", "snapshot_description"];
    for name in of_registration.into_iter().filter(|name| decoder.given(name).is_some()) {
        let summary = format!("{name} says nothing with use_create_image = true: the image has what the machine has");
        decoder.warn_at(name, summary, "");
    }
}

fn check_registration(decoder: &Decoder<'_>, surrogate: &AmazonEbsSurrogate) {
    if !surrogate.use_create_image && surrogate.machine.ena_support.is_none() && !decoder.is_unknown("ena_support") {
        let detail = "current instance types can't start it; an image made of snapshots has nothing of the machine";
        decoder.warn(decoder.at(), "without ena_support = true the image has no enhanced networking (ENA)", detail);
    }
    let architectures = ["arm64", "arm64_mac", "i386", "x86_64", "x86_64_mac"];
    let architecture = surrogate.architecture.as_str();
    if !architectures.contains(&architecture) {
        let summary = format!("there is no ami_architecture {architecture:?}");
        decoder.error_at("ami_architecture", summary, format!("there are {}", architectures.join(", ")));
    }
    let boot_mode = surrogate.boot_mode.as_deref();
    if let Some(other) = boot_mode.filter(|mode| !["legacy-bios", "uefi", "uefi-preferred"].contains(mode)) {
        let summary = format!("there is no boot_mode {other:?}");
        decoder.error_at("boot_mode", summary, "there are legacy-bios, uefi and uefi-preferred");
    }
    if surrogate.tpm_support.as_deref().is_some_and(|version| version != "v2.0") {
        decoder.error_at("tpm_support", "tpm_support must be \"v2.0\" or left out", "");
    }
    if surrogate.uefi_data.is_some()
        && !decoder.any_unknown(&["boot_mode", "ami_architecture"])
        && (boot_mode == Some("legacy-bios") || boot_mode.is_none() && architecture != "arm64")
    {
        decoder.error_at("uefi_data", "uefi_data needs boot_mode = \"uefi\"", "");
    }
}

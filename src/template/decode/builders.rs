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
        device.outlives_build = !device.delete_on_termination && !device.no_device && device.virtual_name.is_none();
        let volume = EbsVolume {
            device_name: device.device_name.clone(),
            tags: read_tags(&inner, TagNames { map: "tags", block: "tag", key: "key" }),
            snapshot: inner.flag("snapshot_volume").unwrap_or(false),
            snapshot_description: inner.late("snapshot_description", SOURCE_AMI).unwrap_or_default(),
            snapshot_tags: read_tags(&inner, TagNames { map: "snapshot_tags", block: "snapshot_tag", key: "key" }),
            snapshot_users: inner.strings("snapshot_users"),
            snapshot_groups: inner.strings("snapshot_groups"),
        };
        let snapshot = volume.snapshot || inner.is_unknown("snapshot_volume");
        if !snapshot && !volume.snapshot_description.0.is_empty() {
            let summary = "snapshot_description says nothing without snapshot_volume = true";
            inner.warn_at("snapshot_description", summary, "");
        }
        inner.finish("ebs_volumes", &[]);
        machine.launch_block_device_mappings.push(device);
        volumes.push(volume);
    }
    amazon_ebs::finish(decoder, &mut machine, "key");
    decoder.finish_all("amazon-ebsvolume", &[RULES, COMMUNICATOR]);
    AmazonEbsVolume { machine, volumes }
}

/// `amazon-ebssurrogate`.
#[must_use]
pub fn ebs_surrogate(decoder: &Decoder<'_>, clean_image: bool) -> AmazonEbsSurrogate {
    let mut machine = amazon_ebs::machine(decoder, clean_image);
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
        machine.launch_block_device_mappings.push(device);
    }
    machine.ami_block_device_mappings = devices::read(decoder, "ami_block_device_mappings", Place::Image);
    let (root, source_device_name) = root_device(decoder);
    let devices = &machine.launch_block_device_mappings;
    let known_devices = devices.iter().all(|device| !device.device_name.is_empty());
    if !source_device_name.is_empty()
        && known_devices
        && !devices.iter().any(|device| device.device_name == source_device_name)
    {
        let summary = format!("no launch_block_device_mappings has the device {source_device_name:?}");
        decoder.error_at("ami_root_device", summary, "source_device_name names the one that the image is made of");
    }
    if omitted.contains(&source_device_name) {
        let summary = "the image's root can't have omit_from_artifact = true";
        decoder.error_at("ami_root_device", summary, "");
    }
    if decoder.flag("use_create_image") == Some(true) {
        let instead = "leave it out: the image is registered from a snapshot of the volume, as Packer does by default";
        decoder.not_yet("use_create_image", instead);
    }
    let mut surrogate = AmazonEbsSurrogate {
        root,
        source_device_name,
        omitted,
        snapshot_description: decoder.late("snapshot_description", SOURCE_AMI).unwrap_or_default(),
        architecture: decoder.string("ami_architecture").unwrap_or_else(|| "x86_64".to_owned()),
        boot_mode: decoder.string("boot_mode"),
        uefi_data: decoder.string("uefi_data"),
        tpm_support: decoder.string("tpm_support"),
        machine,
    };
    check_registration(decoder, &surrogate);
    amazon_ebs::finish(decoder, &mut surrogate.machine, "name");
    decoder.finish_all("amazon-ebssurrogate", &[RULES, COMMUNICATOR]);
    surrogate
}

fn root_device(decoder: &Decoder<'_>) -> (BlockDevice, String) {
    let Some(options) = decoder.block("ami_root_device") else {
        decoder.error_at(
            "ami_root_device",
            "ami_root_device is missing",
            "it says which volume becomes the image's root",
        );
        return (BlockDevice::default(), String::new());
    };
    let inner = Decoder::new(&options, decoder.context);
    let root = devices::one(&inner, Place::Image);
    let source = required(&inner, "source_device_name", "name one of launch_block_device_mappings");
    inner.finish("ami_root_device", &[]);
    (root, source)
}

fn check_registration(decoder: &Decoder<'_>, surrogate: &AmazonEbsSurrogate) {
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

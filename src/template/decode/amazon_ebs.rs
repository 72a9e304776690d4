//! The `amazon-ebs` builder's options.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use ipnet::IpNet;

use super::amazon_ebs_rules::RULES;
use super::body::{Decoder, Located};
use super::communicator;
use crate::domain::config::AmazonEbs;
use crate::domain::config::amazon_ebs::{
    AwsPolling, BlockDevice, MetadataOptions, ShutdownBehavior, SourceAmi, SourceAmiFilter,
};
use crate::domain::config::image::{Copying, Keeping, Sharing};
use crate::domain::config::launch::Placement;
use crate::domain::config::{LateString, LateTags};
use crate::domain::diagnostic::SourceLocation;
use crate::template::legacy::early::{Late, NOW, SOURCE_AMI};
use crate::template::legacy::functions::is_ami_name_character;

/// Reads a source's options. Complaints go to the decoder's context; with any of them the result is not to be used.
#[must_use]
pub fn decode(decoder: &Decoder<'_>, clean_image: bool) -> AmazonEbs {
    let skip_create_ami = decoder.flag("skip_create_ami").unwrap_or(false);
    let region = required(decoder, "region", "name the region to build in, such as us-east-1");
    let source = source_ami(decoder);
    let encrypt_boot = decoder.flag("encrypt_boot");
    let kms_key_id = decoder.text("kms_key_id");
    let ami_users = decoder.texts("ami_users", true);
    check_encryption(decoder, encrypt_boot, kms_key_id.as_ref(), &ami_users);
    let mut ami_regions: Vec<String> = Vec::new();
    for name in decoder.texts("ami_regions", true) {
        if name.value != region && !name.value.is_empty() && !ami_regions.contains(&name.value) {
            ami_regions.push(name.value);
        }
    }
    let devices = decoder.blocks("launch_block_device_mappings");
    let disable_stop_instance = decoder.flag("disable_stop_instance").unwrap_or(false);
    let config = AmazonEbs {
        ami_name: ami_name(decoder, skip_create_ami),
        ami_description: decoder.late("ami_description", SOURCE_AMI).unwrap_or_default(),
        instance_type: required(decoder, "instance_type", "name the machine to build on, such as t3.micro"),
        region,
        source,
        communicator: communicator::decode(decoder),
        vpc_id: decoder.string("vpc_id"),
        subnet_id: decoder.string("subnet_id"),
        availability_zone: decoder.string("availability_zone"),
        security_group_ids: security_groups(decoder),
        temporary_security_group_source_cidrs: source_cidrs(decoder),
        associate_public_ip_address: decoder.flag("associate_public_ip_address"),
        iam_instance_profile: decoder.string("iam_instance_profile"),
        user_data: user_data(decoder),
        launch_block_device_mappings: devices.iter().map(|device| block_device(decoder, device)).collect(),
        ebs_optimized: decoder.flag("ebs_optimized").unwrap_or(false),
        ena_support: decoder.flag("ena_support"),
        shutdown_behavior: shutdown_behavior(decoder, disable_stop_instance && !skip_create_ami),
        metadata_options: metadata_options(decoder),
        disable_stop_instance,
        skip_create_ami,
        ami_regions,
        ami_users: ami_users.into_iter().map(|user| user.value).filter(|user| !user.is_empty()).collect(),
        imds_support: imds_support(decoder),
        encrypt_boot,
        kms_key_id: kms_key_id.map(|key| key.value),
        tags: tags(decoder, "tags", Some("tag")),
        run_tags: tags(decoder, "run_tags", Some("run_tag")),
        run_volume_tags: tags(decoder, "run_volume_tags", None),
        snapshot_tags: tags(decoder, "snapshot_tags", None),
        clean_image,
        aws_polling: aws_polling(decoder),
        max_retries: None,
        assume_role: None,
        vpc_filter: IndexMap::new(),
        subnet_filter: None,
        security_group_filter: IndexMap::new(),
        spot: None,
        placement: Placement::default(),
        capacity_reservation: None,
        license_configurations: Vec::new(),
        enable_nitro_enclave: false,
        enable_unlimited_credits: false,
        skip_profile_validation: false,
        temporary_instance_profile_policy: None,
        user_data_base64: None,
        ami_virtualization_type: None,
        sriov_support: false,
        ami_block_device_mappings: Vec::new(),
        skip_ami_run_tags: false,
        skip_region_validation: false,
        sharing: Sharing::default(),
        replace: None,
        keeping: Keeping::default(),
        copying: Copying::default(),
        fast_launch: None,
        locations: decoder.options.locations(),
    };
    decoder.finish("amazon-ebs", RULES);
    config
}

fn required(decoder: &Decoder<'_>, name: &'static str, detail: &str) -> String {
    let before = decoder.context.complaints.borrow().len();
    let value = decoder.string(name);
    let complained = decoder.context.complaints.borrow().len() > before;
    if value.is_none() && !complained && !decoder.is_unknown(name) {
        decoder.error(decoder.place(name).unwrap_or(decoder.at()), format!("{name} is missing"), detail);
    }
    value.unwrap_or_default()
}

fn ami_name(decoder: &Decoder<'_>, optional: bool) -> String {
    if optional && decoder.place("ami_name").is_none() {
        return String::new();
    }
    let name = required(decoder, "ami_name", "put {{timestamp}} into it, so that each image has a name of its own");
    if name.is_empty() {
        return name;
    }
    let at = decoder.place("ami_name").unwrap_or(decoder.at());
    let length = name.chars().count();
    if !(3..=128).contains(&length) {
        decoder.error(at, format!("ami_name must have 3 to 128 characters, {name:?} has {length}"), "");
    }
    let bad: BTreeSet<char> = name.chars().filter(|c| !is_ami_name_character(*c)).collect();
    if !bad.is_empty() {
        let bad: Vec<String> = bad.iter().map(|c| format!("{c:?}")).collect();
        decoder.error(
            at,
            format!("ami_name {name:?} holds {}, which EC2 does not allow", bad.join(", ")),
            "letters, digits, spaces and ( ) [ ] . / - ' @ _ are allowed; clean_resource_name replaces the rest",
        );
    }
    name
}

fn source_ami(decoder: &Decoder<'_>) -> SourceAmi {
    let id = decoder.text("source_ami");
    let Some(options) = decoder.block("source_ami_filter") else {
        if id.is_none() && !decoder.is_unknown("source_ami") {
            let at = decoder.place("source_ami").unwrap_or(decoder.at());
            decoder.error(at, "source_ami or source_ami_filter is missing", "name the image to start from");
        }
        return SourceAmi::Id(id.map(|id| id.value).unwrap_or_default());
    };
    let inner = Decoder::new(&options, decoder.context);
    let mut filters = IndexMap::new();
    for (name, value) in inner.map("filters", NOW) {
        let values = value.value.0.split(',').map(str::to_owned).collect();
        filters.insert(name.value, values);
    }
    let owners: Vec<String> =
        inner.texts("owners", true).into_iter().map(|owner| owner.value).filter(|owner| !owner.is_empty()).collect();
    if owners.is_empty() && !inner.is_unknown("owners") {
        inner.error(
            inner.place("owners").unwrap_or(&options.at),
            "for safety a source_ami_filter needs owners",
            "without them anybody's look-alike image would be taken; give account ids, \"self\" or \"amazon\": \
             owners = [\"099720109477\"] is Canonical's Ubuntu",
        );
    }
    let filter = SourceAmiFilter {
        filters,
        owners,
        most_recent: inner.flag("most_recent").unwrap_or(false),
        include_deprecated: inner.flag("include_deprecated").unwrap_or(false),
    };
    inner.finish("source_ami_filter", &[]);
    // With both, Packer takes the id.
    id.map_or(SourceAmi::Filter(filter), |id| SourceAmi::Id(id.value))
}

fn check_encryption(
    decoder: &Decoder<'_>,
    encrypt_boot: Option<bool>,
    key: Option<&Located<String>>,
    users: &[Located<String>],
) {
    if let (Some(key), false) = (key, encrypt_boot == Some(true)) {
        decoder.error(&key.at, "kms_key_id needs encrypt_boot = true", "");
    }
    if let (Some(user), Some(true), None) = (users.first(), encrypt_boot, key) {
        decoder.error(
            &user.at,
            "an image encrypted with the default key can't be shared",
            "give a key of your own in kms_key_id, or leave ami_users out",
        );
    }
}

fn security_groups(decoder: &Decoder<'_>) -> Vec<String> {
    let one = decoder.text("security_group_id");
    let many = decoder.texts("security_group_ids", true);
    if let (Some(one), false) = (&one, many.is_empty()) {
        decoder.error(&one.at, "security_group_id and security_group_ids can't both be given", "");
    }
    one.into_iter().chain(many).map(|group| group.value).filter(|group| !group.is_empty()).collect()
}

fn source_cidrs(decoder: &Decoder<'_>) -> Option<Vec<String>> {
    let cidrs = decoder.texts("temporary_security_group_source_cidrs", true);
    for cidr in &cidrs {
        if cidr.value.parse::<IpNet>().is_err() {
            let summary = format!("temporary_security_group_source_cidrs: {:?} is no network", cidr.value);
            decoder.error(&cidr.at, summary, "write an address with its prefix length, such as 203.0.113.7/32");
        }
    }
    (!cidrs.is_empty()).then(|| cidrs.into_iter().map(|cidr| cidr.value).collect())
}

fn user_data(decoder: &Decoder<'_>) -> Option<String> {
    let text = decoder.text("user_data");
    let file = decoder.text("user_data_file");
    if let (Some(text), Some(_)) = (&text, &file) {
        decoder.error(&text.at, "user_data and user_data_file can't both be given", "");
    }
    let Some(path) = file else { return text.map(|text| text.value) };
    let (name, file) = decoder.bundle_file(&path, "user_data_file")?;
    let Ok(text) = std::str::from_utf8(&file.bytes) else {
        let summary = format!("user_data_file: {name:?} is not UTF-8 text");
        decoder.error(&path.at, summary, "compressed user data is not supported yet");
        return None;
    };
    Some(text.to_owned())
}

/// A guest that shuts itself down for its image to be made must still be there afterwards.
fn shutdown_behavior(decoder: &Decoder<'_>, guest_stops_itself: bool) -> ShutdownBehavior {
    let Some(behavior) = decoder.text("shutdown_behavior") else {
        return if guest_stops_itself { ShutdownBehavior::Stop } else { ShutdownBehavior::Terminate };
    };
    match behavior.value.as_str() {
        "stop" => ShutdownBehavior::Stop,
        "terminate" if guest_stops_itself => {
            let detail =
                "the machine would be gone when its image is made: leave shutdown_behavior out, or let Ingot stop it";
            decoder.error(&behavior.at, "shutdown_behavior \"terminate\" excludes disable_stop_instance", detail);
            ShutdownBehavior::Terminate
        }
        "terminate" => ShutdownBehavior::Terminate,
        other => {
            let summary = format!("shutdown_behavior must be \"stop\" or \"terminate\", this is {other:?}");
            decoder.error(&behavior.at, summary, "");
            ShutdownBehavior::Terminate
        }
    }
}

fn imds_support(decoder: &Decoder<'_>) -> Option<String> {
    let support = decoder.text("imds_support")?;
    if support.value != "v2.0" {
        let summary = format!("imds_support must be \"v2.0\" or left out, this is {:?}", support.value);
        decoder.error(&support.at, summary, "");
    }
    Some(support.value)
}

fn metadata_options(decoder: &Decoder<'_>) -> MetadataOptions {
    let mut result = MetadataOptions::default();
    let Some(options) = decoder.block("metadata_options") else { return result };
    let inner = Decoder::new(&options, decoder.context);
    let choose = |name: &'static str, yes: &str, no: &str, current: bool| match inner.text(name) {
        None => current,
        Some(text) if text.value == yes => true,
        Some(text) if text.value == no => false,
        Some(text) => {
            let summary = format!("{name} must be {yes:?} or {no:?}, this is {:?}", text.value);
            inner.error(&text.at, summary, "");
            current
        }
    };
    result.http_endpoint_enabled = choose("http_endpoint", "enabled", "disabled", result.http_endpoint_enabled);
    result.http_tokens_required = choose("http_tokens", "required", "optional", result.http_tokens_required);
    result.instance_metadata_tags = choose("instance_metadata_tags", "enabled", "disabled", false);
    if let Some(limit) = inner.integer("http_put_response_hop_limit", 1, 64) {
        result.http_put_response_hop_limit = limit;
    }
    inner.finish("metadata_options", &[]);
    result
}

/// Without either value the block says nothing; 0 counts as not given, as in Packer.
fn aws_polling(decoder: &Decoder<'_>) -> Option<AwsPolling> {
    let options = decoder.block("aws_polling")?;
    let inner = Decoder::new(&options, decoder.context);
    let number = |name: &'static str, most: i32| {
        let given = inner.integer(name, 0, most).and_then(|number| u32::try_from(number).ok());
        given.filter(|number| *number > 0)
    };
    let (delay, attempts) = (number("delay_seconds", 86_400), number("max_attempts", 1_000_000));
    inner.finish("aws_polling", &[]);
    let default = AwsPolling::default();
    (delay.is_some() || attempts.is_some()).then(|| AwsPolling {
        delay_seconds: delay.unwrap_or(default.delay_seconds),
        max_attempts: attempts.unwrap_or(default.max_attempts),
    })
}

fn block_device(outer: &Decoder<'_>, options: &crate::template::options::Options) -> BlockDevice {
    let decoder = Decoder::new(options, outer.context);
    let device = BlockDevice {
        device_name: required(&decoder, "device_name", "such as /dev/sda1 or /dev/xvda"),
        delete_on_termination: decoder.flag("delete_on_termination").unwrap_or(false),
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
    check_device(&decoder, &device);
    decoder.finish("launch_block_device_mappings", &[]);
    device
}

fn check_device(decoder: &Decoder<'_>, device: &BlockDevice) {
    let complain = |name: &str, summary: String| {
        decoder.error(decoder.place(name).unwrap_or(decoder.at()), summary, "");
    };
    let kind = device.volume_type.as_deref().unwrap_or_default();
    if !matches!(kind, "" | "gp2" | "gp3" | "io1" | "io2" | "st1" | "sc1" | "standard") {
        complain("volume_type", format!("there is no volume_type {kind:?}"));
    }
    if let Some(iops) = device.iops {
        let (low, high, per_gib) = match kind {
            "io1" => (100, 64_000, Some(50)),
            "io2" => (100, 64_000, Some(500)),
            "gp3" => (3_000, 16_000, None),
            _ => {
                complain("iops", "iops is only for io1, io2 and gp3 volumes".to_owned());
                return;
            }
        };
        if !(low..=high).contains(&iops) {
            complain("iops", format!("iops must be from {low} to {high} for {kind}"));
        }
        if let (Some(per_gib), Some(size)) = (per_gib, device.volume_size)
            && i64::from(iops) > i64::from(size) * per_gib
        {
            complain("iops", format!("iops may be at most {per_gib} for each GiB of a {kind} volume"));
        }
    }
    if let Some(throughput) = device.throughput {
        if kind != "gp3" {
            complain("throughput", "throughput is only for gp3 volumes".to_owned());
        } else if !(125..=1000).contains(&throughput) {
            complain("throughput", "throughput must be from 125 to 1000 MiB/s".to_owned());
        }
    }
    if device.kms_key_id.is_some() && device.encrypted != Some(true) {
        complain("kms_key_id", "kms_key_id needs encrypted = true".to_owned());
    }
}

fn tags(decoder: &Decoder<'_>, name: &'static str, block: Option<&'static str>) -> LateTags {
    let mut tags = LateTags::new();
    let late: Late = SOURCE_AMI;
    for (key, value) in decoder.map(name, late) {
        check_tag(decoder, &key.value, &key.at, &value.value);
        tags.insert(key.value, value.value);
    }
    for options in block.map(|block| decoder.blocks(block)).unwrap_or_default() {
        let inner = Decoder::new(&options, decoder.context);
        let key = required(&inner, "key", "");
        let value = inner.late_or_empty("value", late).unwrap_or_default();
        inner.finish(block.unwrap_or_default(), &[]);
        check_tag(decoder, &key, &options.at, &value);
        tags.insert(key, value);
    }
    if tags.len() > 40 {
        let at = decoder.place(name).unwrap_or(decoder.at());
        decoder.error(
            at,
            format!("{name} has {} tags; EC2 allows 50, and ten are kept for the server's own", tags.len()),
            "",
        );
    }
    tags
}

fn check_tag(decoder: &Decoder<'_>, key: &str, at: &SourceLocation, value: &LateString) {
    let lower = key.to_lowercase();
    if lower.starts_with("ingot:") || lower.starts_with("aws:") {
        let prefix = if lower.starts_with("aws:") { "aws:" } else { "ingot:" };
        decoder.error(
            at,
            format!("the tag {key:?} can't be set"),
            format!("keys that begin with {prefix} are reserved"),
        );
    }
    if key.chars().count() > 128 {
        decoder.error(at, "a tag's key may have at most 128 characters", "");
    }
    if value.0.chars().count() > 256 && !value.0.contains("{{") {
        decoder.error(at, format!("the value of the tag {key:?} has more than 256 characters"), "");
    }
}

//! What the image is, who may use it, where it is copied to and how long it is kept.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use regex::Regex;

use super::super::body::Decoder;
use super::{required, tags};
use crate::domain::config::AmazonEbs;
use crate::domain::config::image::{
    Copying, DeregistrationProtection, FastLaunch, Keeping, LaunchTemplate, Replace, Sharing,
};
use crate::template::legacy::early::{NOW, SOURCE_AMI};
use crate::template::legacy::functions::is_ami_name_character;

/// A key's id (also a multi-region one), alias or ARN, as Packer takes them.
static KEY_ID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(arn:aws(-[a-z]{2}(-gov)?)?:kms:([a-z]{2}-(gov-)?[a-z]+-\d)?:\d{12}:(key/(mrk-)?[a-f0-9][a-f0-9-]+|alias/[a-zA-Z0-9:/_-]+)|(mrk-)?[a-f0-9][a-f0-9-]+|alias/[a-zA-Z0-9:/_-]+)$",
    )
    .ok()
});

/// Reads the options of the image itself.
pub fn read(decoder: &Decoder<'_>, config: &mut AmazonEbs) {
    config.ami_name = ami_name(decoder, config.skip_create_ami);
    config.ami_description = decoder.late("ami_description", SOURCE_AMI).unwrap_or_default();
    config.ami_virtualization_type = virtualization(decoder);
    config.encrypt_boot = decoder.flag("encrypt_boot");
    let named = decoder.strings("ami_regions");
    config.ami_regions = Vec::new();
    for name in &named {
        if *name != config.region && !config.ami_regions.contains(name) {
            config.ami_regions.push(name.clone());
        }
    }
    config.skip_region_validation = decoder.flag("skip_region_validation").unwrap_or(false);
    let key = decoder.text("kms_key_id");
    let region_keys = region_keys(decoder, &named, config.encrypt_boot);
    if let Some(key) = &key {
        check_key_id(decoder, "kms_key_id", &key.value);
        if config.encrypt_boot != Some(true) && !decoder.is_unknown("encrypt_boot") {
            decoder.error(&key.at, "kms_key_id needs encrypt_boot = true", "");
        }
    }
    // The key of the build's own region counts before the one for all, as in Packer.
    let own = region_keys.get(&config.region).filter(|key| !key.is_empty()).cloned();
    config.kms_key_id = own.or(key.map(|key| key.value));
    config.copying = copying(decoder, config, region_keys);
    config.ami_users = decoder.strings("ami_users");
    config.sharing = sharing(decoder);
    config.imds_support = imds_support(decoder);
    config.keeping = keeping(decoder);
    config.replace = replace(decoder);
    config.tags = tags::read(decoder, tags::Names { map: "tags", block: "tag", key: "key" });
    config.snapshot_tags = tags::read(decoder, tags::Names { map: "snapshot_tags", block: "snapshot_tag", key: "key" });
    config.fast_launch = fast_launch(decoder);
}

fn ami_name(decoder: &Decoder<'_>, optional: bool) -> String {
    if (optional || decoder.is_unknown("skip_create_ami")) && decoder.place("ami_name").is_none() {
        return String::new();
    }
    let name = required(decoder, "ami_name", "put {{timestamp}} into it, so that each image has a name of its own");
    if name.is_empty() {
        return name;
    }
    let length = name.chars().count();
    if !(3..=128).contains(&length) {
        decoder.error_at("ami_name", format!("ami_name must have 3 to 128 characters, {name:?} has {length}"), "");
    }
    let bad: BTreeSet<char> = name.chars().filter(|c| !is_ami_name_character(*c)).collect();
    if !bad.is_empty() {
        let bad: Vec<String> = bad.iter().map(|c| format!("{c:?}")).collect();
        decoder.error_at(
            "ami_name",
            format!("ami_name {name:?} holds {}, which EC2 does not allow", bad.join(", ")),
            "letters, digits, spaces and ( ) [ ] . / - ' @ _ are allowed; clean_resource_name replaces the rest",
        );
    }
    name
}

fn virtualization(decoder: &Decoder<'_>) -> Option<String> {
    let kind = decoder.text("ami_virtualization_type")?;
    if !matches!(kind.value.as_str(), "hvm" | "paravirtual") {
        let summary = format!("ami_virtualization_type must be \"hvm\" or \"paravirtual\", this is {:?}", kind.value);
        decoder.error(&kind.at, summary, "");
    }
    Some(kind.value)
}

fn region_keys(decoder: &Decoder<'_>, regions: &[String], encrypt: Option<bool>) -> IndexMap<String, String> {
    let mut keys = IndexMap::new();
    for (region, key) in decoder.map("region_kms_key_ids", NOW) {
        if !regions.contains(&region.value) && !decoder.is_unknown("ami_regions") {
            let summary = format!("region_kms_key_ids names {:?}, which is not in ami_regions", region.value);
            decoder.error(&region.at, summary, "add the region to ami_regions, or take its key out");
        }
        let key = (key.value.0, key.at);
        if !key.0.is_empty() {
            check_key_id_at(decoder, "region_kms_key_ids", &key.0, &key.1);
            if encrypt != Some(true) && !decoder.is_unknown("encrypt_boot") {
                decoder.error(&key.1, "region_kms_key_ids needs encrypt_boot = true", "");
            }
        }
        keys.insert(region.value, key.0);
    }
    if !keys.is_empty() && !decoder.is_unknown("region_kms_key_ids") {
        for region in regions.iter().filter(|region| !keys.contains_key(*region)) {
            let summary = format!("ami_regions names {region:?}, which has no key in region_kms_key_ids");
            decoder.error_at("ami_regions", summary, "give it one; \"\" is the region's default key");
        }
    }
    keys
}

/// Complains about what can't be a KMS key.
pub fn check_key_id(decoder: &Decoder<'_>, name: &str, key: &str) {
    check_key_id_at(decoder, name, key, decoder.place(name).unwrap_or(decoder.at()));
}

fn check_key_id_at(decoder: &Decoder<'_>, name: &str, key: &str, at: &crate::domain::diagnostic::SourceLocation) {
    if KEY_ID.as_ref().is_some_and(|form| !form.is_match(key)) {
        let summary = format!("{name}: {key:?} is no KMS key");
        decoder.error(at, summary, "give a key's id, its ARN, or alias/NAME");
    }
}

fn copying(decoder: &Decoder<'_>, config: &AmazonEbs, region_kms_key_ids: IndexMap<String, String>) -> Copying {
    let minutes = decoder.integer("snapshot_copy_duration_minutes", 15, 2_880);
    if minutes.is_some_and(|minutes| minutes % 15 != 0) {
        let summary = "snapshot_copy_duration_minutes must be a multiple of 15";
        decoder.error_at("snapshot_copy_duration_minutes", summary, "");
    }
    let skip_save_build_region = decoder.flag("skip_save_build_region").unwrap_or(false);
    if skip_save_build_region
        && config.ami_regions.is_empty()
        && !config.skip_create_ami
        && !decoder.any_unknown(&["ami_regions", "skip_create_ami"])
    {
        let detail = "name other regions in ami_regions, or leave skip_save_build_region out";
        decoder.error_at("skip_save_build_region", "skip_save_build_region would leave no image at all", detail);
    }
    Copying { region_kms_key_ids, snapshot_copy_duration_minutes: minutes, skip_save_build_region }
}

/// Groups to share with. EC2 has only one.
pub fn groups(decoder: &Decoder<'_>, name: &'static str) -> Vec<String> {
    let found: Vec<_> = decoder.texts(name).into_iter().filter(|group| !group.value.is_empty()).collect();
    for group in found.iter().filter(|group| group.value != "all") {
        decoder.error(&group.at, format!("{name}: there is no group {:?}", group.value), "EC2 has only \"all\"");
    }
    found.into_iter().map(|group| group.value).collect()
}

fn sharing(decoder: &Decoder<'_>) -> Sharing {
    Sharing {
        ami_groups: groups(decoder, "ami_groups"),
        ami_org_arns: decoder.strings("ami_org_arns"),
        ami_ou_arns: decoder.strings("ami_ou_arns"),
        ami_product_codes: decoder.strings("ami_product_codes"),
        snapshot_users: decoder.strings("snapshot_users"),
        snapshot_groups: groups(decoder, "snapshot_groups"),
    }
}

/// EC2 refuses these only when the image is there, after the whole build.
pub fn check_sharing(decoder: &Decoder<'_>, config: &AmazonEbs) {
    let sharing = &config.sharing;
    let with_accounts = [
        ("ami_users", !config.ami_users.is_empty()),
        ("ami_org_arns", !sharing.ami_org_arns.is_empty()),
        ("ami_ou_arns", !sharing.ami_ou_arns.is_empty()),
        ("snapshot_users", !sharing.snapshot_users.is_empty()),
    ];
    let with_all =
        [("ami_groups", !sharing.ami_groups.is_empty()), ("snapshot_groups", !sharing.snapshot_groups.is_empty())];
    let given = |options: &[(&'static str, bool)]| options.iter().find(|(_, given)| *given).map(|(name, _)| *name);
    let encrypts = config.encrypt_boot == Some(true);
    let launched = config.launch_block_device_mappings.iter().chain(&config.ami_block_device_mappings);
    let devices: Vec<_> = launched.filter(|device| device.encrypted == Some(true)).collect();
    if let Some(name) = given(&with_all)
        && (encrypts || !devices.is_empty())
    {
        let detail = format!("leave {name} out and list account ids in ami_users, or do not encrypt");
        decoder.error_at(name, "an encrypted image can't be made public", detail);
    }
    let Some(name) = given(&with_accounts) else { return };
    if decoder.any_unknown(&[
        "encrypt_boot",
        "kms_key_id",
        "region_kms_key_ids",
        "launch_block_device_mappings",
        "ami_block_device_mappings",
    ]) {
        return;
    }
    let detail = format!("give a key of your own in kms_key_id, or leave {name} out");
    if encrypts && config.kms_key_id.is_none() {
        decoder.error_at(name, "an image encrypted with the default key can't be shared", detail);
        return;
    }
    let default_key = |device: &&&crate::domain::config::amazon_ebs::BlockDevice| device.kms_key_id.is_none();
    if let Some(device) = devices.iter().find(default_key)
        && !encrypts
    {
        let summary = format!("an image whose volume {} has the default key can't be shared", device.device_name);
        decoder.error_at(name, summary, "give the volume a kms_key_id of your own");
    }
    if !encrypts {
        return;
    }
    let key_of = |region: &String| config.copying.region_kms_key_ids.get(region).filter(|key| !key.is_empty());
    if let Some(region) = config.ami_regions.iter().find(|region| key_of(region).is_none()) {
        let summary = format!("the copy in {region} would be encrypted with the default key and can't be shared");
        decoder.error_at(name, summary, "give each region a key of your own in region_kms_key_ids");
        return;
    }
    decoder.warn_at(
        name,
        "whoever the encrypted image is shared with needs its KMS key too",
        "allow them kms:DescribeKey, kms:CreateGrant, kms:ReEncrypt* and kms:Decrypt in the key's policy",
    );
}

fn imds_support(decoder: &Decoder<'_>) -> Option<String> {
    let support = decoder.text("imds_support")?;
    if support.value != "v2.0" {
        let summary = format!("imds_support must be \"v2.0\" or left out, this is {:?}", support.value);
        decoder.error(&support.at, summary, "");
    }
    Some(support.value)
}

fn keeping(decoder: &Decoder<'_>) -> Keeping {
    let deprecate_at = decoder.text("deprecate_at").and_then(|time| {
        let parsed = DateTime::parse_from_rfc3339(&time.value).ok();
        if parsed.is_none() {
            let summary = format!("deprecate_at must be a time such as 2027-01-31T00:00:00Z, this is {:?}", time.value);
            decoder.error(&time.at, summary, "");
        }
        parsed.map(|time| time.with_timezone(&Utc))
    });
    let deregistration_protection = decoder.block("deregistration_protection").and_then(|options| {
        let inner = Decoder::new(&options, decoder.context);
        let enabled = inner.flag("enabled").unwrap_or(false);
        let with_cooldown = inner.flag("with_cooldown").unwrap_or(false);
        inner.finish("deregistration_protection", &[]);
        // As in Packer: who wants the cooldown wants the protection.
        (enabled || with_cooldown).then_some(DeregistrationProtection { with_cooldown })
    });
    Keeping { deprecate_at, deregistration_protection }
}

fn replace(decoder: &Decoder<'_>) -> Option<Replace> {
    let deregister = decoder.flag("force_deregister").unwrap_or(false);
    let delete_snapshots = decoder.flag("force_delete_snapshot").unwrap_or(false);
    if delete_snapshots && !deregister && !decoder.is_unknown("force_deregister") {
        let summary = "force_delete_snapshot says nothing without force_deregister = true";
        decoder.warn_at("force_delete_snapshot", summary, "as in Packer");
    }
    deregister.then_some(Replace { delete_snapshots })
}

fn fast_launch(decoder: &Decoder<'_>) -> Option<FastLaunch> {
    let options = decoder.block("fast_launch")?;
    let inner = Decoder::new(&options, decoder.context);
    // Whatever is given of it turns it on, as in Packer.
    let given = inner.flag("enable_fast_launch");
    let template = launch_template(&inner);
    let mut regions = IndexMap::new();
    for options in inner.blocks("region_launch_templates") {
        let region = Decoder::new(&options, decoder.context);
        let name = required(&region, "region", "name the region that the launch template is for");
        let template = launch_template(&region);
        let on = region.flag("enable_fast_launch").unwrap_or(true);
        region.finish("region_launch_templates", &[]);
        if regions.insert(name.clone(), on.then(|| template.unwrap_or_default())).is_some() && !name.is_empty() {
            region.error_at("region", format!("region_launch_templates names {name} twice"), "leave one out");
        }
    }
    let fast_launch = FastLaunch {
        template,
        regions,
        max_parallel_launches: inner.integer("max_parallel_launches", 6, 10_000),
        target_resource_count: inner.integer("target_resource_count", 1, 10_000),
    };
    inner.finish("fast_launch", &[]);
    let says_more = fast_launch != FastLaunch::default();
    (given == Some(true) || says_more).then_some(fast_launch)
}

fn launch_template(decoder: &Decoder<'_>) -> Option<LaunchTemplate> {
    let template = LaunchTemplate {
        id: decoder.string("template_id"),
        name: decoder.string("template_name"),
        version: decoder.integer("template_version", 1, i32::MAX),
    };
    if template.id.is_some() && template.name.is_some() {
        decoder.error_at("template_name", "template_id and template_name can't both be given", "");
    }
    let named = template.id.is_some() || template.name.is_some();
    if template.version.is_some() && !named && !decoder.any_unknown(&["template_id", "template_name"]) {
        decoder.error_at("template_version", "template_version needs template_id or template_name", "");
    }
    (template != LaunchTemplate::default()).then_some(template)
}

//! The options of the amazon builders. `rules` says which are refused and why, docs/amazon-ebs.md what each does.

pub mod devices;
pub mod image;
mod machine;
pub mod network;
pub mod role;
pub mod rules;
mod session;
mod tags;

use super::body::Decoder;
use super::communicator;
use crate::domain::config::AmazonEbs;
use crate::domain::config::amazon_ebs::{SourceAmi, SourceAmiFilter};
use devices::Place;
use rules::{COMMUNICATOR, RULES};

pub use tags::{Names as TagNames, read as read_tags};

/// Reads the options of `amazon-ebs`. Complaints go to the decoder's context; with any of them the result is not to be
/// used.
#[must_use]
pub fn decode(decoder: &Decoder<'_>, clean_image: bool) -> AmazonEbs {
    let mut config = machine(decoder, clean_image);
    config.skip_create_ami = decoder.flag("skip_create_ami").unwrap_or(false);
    image::read(decoder, &mut config);
    config.launch_block_device_mappings = devices::read(decoder, "launch_block_device_mappings", Place::Launch);
    config.ami_block_device_mappings = devices::read(decoder, "ami_block_device_mappings", Place::Image);
    config.skip_ami_run_tags = decoder.flag("skip_ami_run_tags").unwrap_or(false);
    refuse_modification_of_spot(decoder, &config);
    let needs_machine = !config.skip_create_ami;
    finish(decoder, &mut config, "name", needs_machine);
    decoder.finish_all("amazon-ebs", &[RULES, COMMUNICATOR]);
    config
}

/// What every amazon builder has: access, the machine and its network, the communicator.
#[must_use]
pub fn machine(decoder: &Decoder<'_>, clean_image: bool) -> AmazonEbs {
    let mut config = AmazonEbs { clean_image, locations: decoder.options.locations(), ..AmazonEbs::default() };
    config.region = region(decoder);
    config.source = source_ami(decoder);
    machine::read(decoder, &mut config);
    network::read(decoder, &mut config);
    config.assume_role = role::assume_role(decoder);
    config.temporary_instance_profile_policy = role::policy_document(decoder);
    config.communicator = communicator::decode(decoder);
    session::read(decoder, &mut config);
    config.ena_support = decoder.flag("ena_support");
    config.sriov_support = decoder.flag("sriov_support").unwrap_or(false);
    config.disable_stop_instance = decoder.flag("disable_stop_instance").unwrap_or(false);
    config.run_tags = tags::read(decoder, TagNames { map: "run_tags", block: "run_tag", key: "key" });
    // Refusals are always decoded where the role may: the option says nothing more.
    let _ = decoder.flag("decode_authorization_messages");
    config
}

/// What an image has of its machine can be set only of one that stops.
pub fn refuse_modification_of_spot(decoder: &Decoder<'_>, config: &AmazonEbs) {
    let features = [("ena_support", config.ena_support.is_some()), ("sriov_support", config.sriov_support)];
    for (name, _) in features.iter().filter(|(_, given)| *given && config.spot.is_some()) {
        let detail = "a spot instance can't be modified: start from an image that has it already";
        decoder.error_at(name, format!("{name} can't be used with spot instances"), detail);
    }
}

/// `run_volume_tags`, whose block calls a key so, and the rules over several options, once all of them are read.
/// `needs_machine`: something is made of the machine or its volumes when it has come to rest.
pub fn finish(decoder: &Decoder<'_>, config: &mut AmazonEbs, volume_tag_key: &'static str, needs_machine: bool) {
    let spot = config.spot.is_some();
    let stops_itself = config.disable_stop_instance && needs_machine;
    config.shutdown_behavior = machine::shutdown_behavior(decoder, stops_itself, spot);
    config.run_volume_tags =
        tags::read(decoder, TagNames { map: "run_volume_tags", block: "run_volume_tag", key: volume_tag_key });
    if !config.skip_ami_run_tags {
        let more = config.run_tags.keys().filter(|key| !config.tags.contains_key(*key)).count();
        if more > 0 && !config.skip_create_ami {
            tags::check_count(decoder, "tags", config.tags.len() + more);
        }
    }
    image::check_sharing(decoder, config);
}

/// A string that must be there.
pub fn required(decoder: &Decoder<'_>, name: &'static str, detail: &str) -> String {
    let value = decoder.string(name);
    if value.is_none() && !decoder.is_unknown(name) {
        decoder.error_at(name, format!("{name} is missing"), detail);
    }
    value.unwrap_or_default()
}

fn region(decoder: &Decoder<'_>) -> String {
    let default = decoder.context.early.runtime.default_region();
    match (decoder.given("region"), default) {
        (None, Some(default)) => default.to_owned(),
        _ => required(
            decoder,
            "region",
            "name the region to build in, such as us-east-1, or set AWS_REGION in the run's env",
        ),
    }
}

fn source_ami(decoder: &Decoder<'_>) -> SourceAmi {
    let id = decoder.text("source_ami");
    let Some(options) = decoder.block("source_ami_filter") else {
        // An attribute of the block's name is complained about where all of those are.
        let missing = id.is_none() && decoder.place("source_ami_filter").is_none();
        if missing && !decoder.is_unknown("source_ami") {
            let summary = "source_ami or source_ami_filter is missing";
            decoder.error_at("source_ami", summary, "name the image to start from");
        }
        return SourceAmi::Id(id.map(|id| id.value).unwrap_or_default());
    };
    let inner = Decoder::new(&options, decoder.context);
    let mut filters = network::from_map(&inner);
    let owners = inner.strings("owners");
    let given_id = id.is_some() || decoder.is_unknown("source_ami");
    if owners.is_empty() && !given_id && !inner.is_unknown("owners") {
        inner.error_at(
            "owners",
            "for safety a source_ami_filter needs owners",
            "without them anybody's look-alike image would be taken; give account ids, \"self\" or \"amazon\": \
             owners = [\"099720109477\"] is Canonical's Ubuntu",
        );
    }
    // With both, the image has to be the one and to fit the other, as in Packer: its owners are a safeguard.
    if let Some(id) = id {
        filters.insert("image-id".to_owned(), vec![id.value]);
    }
    let filter = SourceAmiFilter {
        filters,
        owners,
        most_recent: inner.flag("most_recent").unwrap_or(false),
        include_deprecated: inner.flag("include_deprecated").unwrap_or(false),
    };
    inner.finish("source_ami_filter", &[]);
    SourceAmi::Filter(filter)
}

//! As what the machine runs: spot, placement, capacity, licences, metadata, user data, role.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::body::{Decoder, Located};
use super::{required, tags};
use crate::domain::config::AmazonEbs;
use crate::domain::config::amazon_ebs::{AwsPolling, MetadataOptions, ShutdownBehavior};
use crate::domain::config::launch::{CapacityReservation, Placement, Spot, SpotAllocation};

/// Largest user data that EC2 takes, before Base64.
const MOST_USER_DATA: usize = 16 * 1024;

/// Reads what decides how the machine is launched, besides its network and devices.
pub fn read(decoder: &Decoder<'_>, config: &mut AmazonEbs) {
    config.instance_type = decoder.string("instance_type").unwrap_or_default();
    config.spot = spot(decoder, &config.instance_type);
    let has_types = config.spot.as_ref().is_some_and(|spot| !spot.instance_types.is_empty());
    let unknown = decoder.any_unknown(&["instance_type", "spot_instance_types"]);
    if config.instance_type.is_empty() && !has_types && !unknown {
        decoder.error_at("instance_type", "instance_type is missing", "name the machine to build on, such as t3.micro");
    }
    config.iam_instance_profile = decoder.string("iam_instance_profile");
    config.skip_profile_validation = decoder.flag("skip_profile_validation").unwrap_or(false);
    (config.user_data, config.user_data_base64) = user_data(decoder);
    config.ebs_optimized = decoder.flag("ebs_optimized").unwrap_or(false);
    config.enable_nitro_enclave = decoder.flag("enable_nitro_enclave").unwrap_or(false);
    config.enable_unlimited_credits = unlimited_credits(decoder);
    config.metadata_options = metadata_options(decoder);
    config.placement = placement(decoder);
    config.capacity_reservation = capacity_reservation(decoder);
    config.license_configurations = licenses(decoder);
    config.aws_polling = aws_polling(decoder);
    config.max_retries = decoder.integer("max_retries", 0, 1000).and_then(|count| u32::try_from(count).ok());
    config.max_retries = config.max_retries.filter(|count| *count > 0);
    check_types(decoder, config);
}

fn spot(decoder: &Decoder<'_>, instance_type: &str) -> Option<Spot> {
    let price = decoder.text("spot_price").filter(|price| price.value != "0");
    let types = decoder.strings("spot_instance_types");
    if !instance_type.is_empty() && !types.is_empty() {
        let detail =
            "name all acceptable types in spot_instance_types and leave instance_type out, or the other way round";
        decoder.error_at("spot_instance_types", "instance_type and spot_instance_types can't both be given", detail);
    }
    if let Some(old) = decoder.given("spot_price_auto_product") {
        decoder.warn(old, "spot_price_auto_product is not needed any more; remove it", "");
    }
    let _ = decoder.string("spot_price_auto_product");
    let spot = Spot {
        max_price: price.as_ref().and_then(|price| max_price(decoder, price)),
        allocation_strategy: allocation_strategy(decoder),
        tags: tags::read(decoder, tags::Names { map: "spot_tags", block: "spot_tag", key: "key" }),
        fleet_tags: tags::read(decoder, tags::Names { map: "fleet_tags", block: "fleet_tag", key: "key" }),
        instance_types: types,
    };
    if price.is_some() || !spot.instance_types.is_empty() {
        return Some(spot);
    }
    if decoder.any_unknown(&["spot_price", "spot_instance_types"]) {
        return None;
    }
    for (name, given) in [("spot_tags", !spot.tags.is_empty()), ("fleet_tags", !spot.fleet_tags.is_empty())] {
        if given {
            let block = if name == "spot_tags" { "spot_tag" } else { "fleet_tag" };
            let written = if decoder.place(name).is_some() { name } else { block };
            let detail = "give spot_price = \"auto\", or leave the tags out";
            decoder.error_at(written, format!("{name} are for spot instances"), detail);
        }
    }
    if spot.allocation_strategy.is_some() {
        decoder.error_at(
            "spot_allocation_strategy",
            "spot_allocation_strategy is for spot instances",
            "give spot_price = \"auto\", or leave it out",
        );
    }
    None
}

/// `auto` is the on-demand price, which is what EC2 takes when nothing is said.
fn max_price(decoder: &Decoder<'_>, price: &Located<String>) -> Option<String> {
    if price.value == "auto" {
        return None;
    }
    let is_number = price.value.parse::<f64>().is_ok_and(|number| number.is_finite() && number > 0.0)
        && price.value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_number {
        let summary = format!("spot_price must be dollars an hour or \"auto\", this is {:?}", price.value);
        decoder.error(&price.at, summary, "write spot_price = \"0.05\", or \"auto\" for at most the on-demand price");
    }
    Some(price.value.clone())
}

fn allocation_strategy(decoder: &Decoder<'_>) -> Option<SpotAllocation> {
    let strategy = decoder.text("spot_allocation_strategy")?;
    match strategy.value.as_str() {
        "price-capacity-optimized" => Some(SpotAllocation::PriceCapacityOptimized),
        "capacity-optimized" => Some(SpotAllocation::CapacityOptimized),
        "diversified" => Some(SpotAllocation::Diversified),
        "lowest-price" => Some(SpotAllocation::LowestPrice),
        other => {
            decoder.error(
                &strategy.at,
                format!("there is no spot_allocation_strategy {other:?}"),
                "there are price-capacity-optimized, capacity-optimized, diversified and lowest-price",
            );
            None
        }
    }
}

fn unlimited_credits(decoder: &Decoder<'_>) -> bool {
    let old = decoder.flag("enable_t2_unlimited").unwrap_or(false);
    if old {
        decoder.warn_at("enable_t2_unlimited", "enable_t2_unlimited is now called enable_unlimited_credits", "");
    }
    decoder.flag("enable_unlimited_credits").unwrap_or(false) || old
}

fn is_burstable(kind: &str) -> bool {
    ["t2.", "t3.", "t3a.", "t4g."].iter().any(|family| kind.starts_with(family))
}

fn check_types(decoder: &Decoder<'_>, config: &AmazonEbs) {
    let one = std::slice::from_ref(&config.instance_type);
    let types = config
        .spot
        .as_ref()
        .map_or(one, |spot| if spot.instance_types.is_empty() { one } else { &spot.instance_types });
    let types: Vec<&String> = types.iter().filter(|kind| !kind.is_empty()).collect();
    if config.enable_unlimited_credits {
        let name = if decoder.given("enable_unlimited_credits").is_some() {
            "enable_unlimited_credits"
        } else {
            "enable_t2_unlimited"
        };
        if let Some(other) = types.iter().find(|kind| !is_burstable(kind)) {
            let summary = format!("{name} is for burstable types (t2, t3, t3a, t4g), not for {other}");
            decoder.error_at(name, summary, "leave it out");
        }
        if config.spot.is_some() && types.iter().any(|kind| kind.starts_with("t2.")) {
            decoder.error_at(name, format!("{name} can't be used with t2 spot instances"), "use t3 or t4g");
        }
    }
    if config.enable_nitro_enclave {
        if config.spot.is_some() {
            decoder.error_at("enable_nitro_enclave", "enable_nitro_enclave can't be used with spot instances", "");
        }
        if let Some(small) = types.iter().find(|kind| kind.starts_with('t')) {
            let summary = format!("enable_nitro_enclave can't be used with burstable types such as {small}");
            decoder.error_at("enable_nitro_enclave", summary, "");
        }
    }
}

fn user_data(decoder: &Decoder<'_>) -> (Option<String>, Option<String>) {
    let text = decoder.text("user_data");
    let file = decoder.text("user_data_file");
    if let (Some(text), Some(_)) = (&text, &file) {
        decoder.error(&text.at, "user_data and user_data_file can't both be given", "");
    }
    let too_long = |at, name: &str, length: usize| {
        if length > MOST_USER_DATA {
            let summary = format!("{name} has {length} bytes; EC2 takes 16 KiB");
            decoder.error(at, summary, "compress it: cloud-init takes gzip from user_data_file");
        }
    };
    let Some(path) = file else {
        let Some(Located { value, at }) = text else { return (None, None) };
        let (text, encoded, length) = user_data_of(value.into_bytes());
        too_long(&at, "user_data", length);
        return (text, encoded);
    };
    let Some((_, file)) = decoder.bundle_file(&path, "user_data_file") else { return (None, None) };
    let (text, encoded, length) = user_data_of(file.bytes.clone());
    too_long(&path.at, "user_data_file", length);
    (text, encoded)
}

/// User data as text, or else in Base64; and its length. What is Base64 already, such as `base64gzip(…)`, is sent as it is, as
/// in Packer (`LoadUserData` of its amazon plugin).
fn user_data_of(bytes: Vec<u8>) -> (Option<String>, Option<String>, usize) {
    let length = bytes.len();
    match String::from_utf8(bytes) {
        Err(binary) => (None, Some(STANDARD.encode(binary.as_bytes())), length),
        Ok(text) => {
            let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            match STANDARD.decode(&plain) {
                Ok(decoded) if !decoded.is_empty() => (None, Some(plain), decoded.len()),
                _ => (Some(text), None, length),
            }
        }
    }
}

/// A guest that shuts itself down for its image to be made must still be there afterwards.
pub fn shutdown_behavior(decoder: &Decoder<'_>, guest_stops_itself: bool, spot: bool) -> ShutdownBehavior {
    let Some(behavior) = decoder.text("shutdown_behavior") else {
        let stays = guest_stops_itself && !spot;
        return if stays { ShutdownBehavior::Stop } else { ShutdownBehavior::Terminate };
    };
    match behavior.value.as_str() {
        "stop" if spot => {
            let detail = "it is terminated when it shuts down; leave shutdown_behavior out";
            decoder.warn(&behavior.at, "a one-time spot instance can't be stopped", detail);
            ShutdownBehavior::Terminate
        }
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

fn placement(decoder: &Decoder<'_>) -> Placement {
    let old = decoder.text("tenancy");
    let mut placement = Placement::default();
    let mut at = old.as_ref().map_or(decoder.at(), |old| &old.at).clone();
    if let Some(options) = decoder.block_or_map("placement") {
        let inner = Decoder::new(&options, decoder.context);
        placement.tenancy = inner.string("tenancy");
        placement.host_id = inner.string("host_id");
        placement.host_resource_group_arn = inner.string("host_resource_group_arn");
        inner.finish("placement", &[]);
        at = options.at.clone();
    }
    if placement.tenancy.is_some() && old.is_some() {
        decoder.error(
            &at,
            "placement.tenancy and tenancy can't both be given",
            "tenancy is the old name; leave it out",
        );
    }
    placement.tenancy = placement.tenancy.or(old.map(|old| old.value));
    let on_host = placement.host_id.is_some() || placement.host_resource_group_arn.is_some();
    match placement.tenancy.as_deref() {
        Some("default" | "dedicated") if on_host => {
            decoder.error(&at, "host_id and host_resource_group_arn need tenancy = \"host\"", "leave tenancy out");
        }
        None | Some("host" | "default" | "dedicated") => {}
        Some(other) => {
            let summary = format!("there is no tenancy {other:?}");
            decoder.error(&at, summary, "there are default, dedicated and host");
        }
    }
    if placement.host_id.is_some() && placement.host_resource_group_arn.is_some() {
        decoder.error(&at, "host_id and host_resource_group_arn can't both be given", "");
    }
    placement
}

fn capacity_reservation(decoder: &Decoder<'_>) -> Option<CapacityReservation> {
    let preference = decoder.text("capacity_reservation_preference");
    let id = decoder.text("capacity_reservation_id");
    let group = decoder.text("capacity_reservation_group_arn");
    let given: Vec<&Located<String>> = [&preference, &id, &group].into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        let summary = "only one of capacity_reservation_preference, capacity_reservation_id and \
                       capacity_reservation_group_arn can be given";
        decoder.error(&second.at, summary, "");
    }
    if let Some(id) = id {
        return Some(CapacityReservation::Id(id.value));
    }
    if let Some(group) = group {
        return Some(CapacityReservation::Group(group.value));
    }
    let preference = preference?;
    match preference.value.as_str() {
        "none" => Some(CapacityReservation::None),
        "open" => Some(CapacityReservation::Open),
        other => {
            let summary = format!("capacity_reservation_preference must be \"none\" or \"open\", this is {other:?}");
            decoder.error(&preference.at, summary, "");
            None
        }
    }
}

fn licenses(decoder: &Decoder<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for options in decoder.blocks_or_maps("license_specifications") {
        let outer = Decoder::new(&options, decoder.context);
        for request in outer.blocks_or_maps("license_configuration_request") {
            let inner = Decoder::new(&request, decoder.context);
            found.push(required(&inner, "license_configuration_arn", "such as arn:aws:license-manager:…"));
            inner.finish("license_configuration_request", &[]);
        }
        outer.finish("license_specifications", &[]);
    }
    found
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

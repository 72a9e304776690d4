//! Where the machine is put, and who may reach it.

use indexmap::IndexMap;
use ipnet::IpNet;

use super::super::body::Decoder;
use super::required;
use crate::domain::config::AmazonEbs;
use crate::domain::config::launch::{Filters, SubnetFilter};
use crate::template::legacy::early::NOW;

/// Reads VPC, subnet, security groups and who may connect.
pub fn read(decoder: &Decoder<'_>, config: &mut AmazonEbs) {
    config.vpc_id = decoder.string("vpc_id");
    config.subnet_id = decoder.string("subnet_id");
    config.availability_zone = decoder.string("availability_zone");
    config.security_group_ids = security_groups(decoder);
    config.temporary_security_group_source_cidrs = source_cidrs(decoder);
    config.associate_public_ip_address = decoder.flag("associate_public_ip_address");
    config.vpc_filter = filter_block(decoder, "vpc_filter");
    config.security_group_filter = filter_block(decoder, "security_group_filter");
    config.subnet_filter = decoder.block("subnet_filter").map(|options| {
        let inner = Decoder::new(&options, decoder.context);
        let filter = SubnetFilter {
            filters: filters(&inner),
            most_free: inner.flag("most_free").unwrap_or(false),
            random: inner.flag("random").unwrap_or(false),
        };
        inner.finish("subnet_filter", &[]);
        filter
    });
}

fn filter_block(decoder: &Decoder<'_>, name: &'static str) -> Filters {
    let Some(options) = decoder.block(name) else { return Filters::new() };
    let inner = Decoder::new(&options, decoder.context);
    let found = filters(&inner);
    if found.is_empty() && !inner.any_unknown(&["filters", "filter"]) {
        decoder.error(&options.at, format!("{name} has no filter"), "write filters = { \"tag:Class\" = \"build\" }");
    }
    inner.finish(name, &[]);
    found
}

/// A map `filters`, and repeatable `filter { name value }` blocks. Commas separate alternatives.
fn filters(decoder: &Decoder<'_>) -> Filters {
    let mut found = from_map(decoder);
    for options in decoder.blocks("filter") {
        let inner = Decoder::new(&options, decoder.context);
        let name = required(&inner, "name", "such as \"tag:Class\"");
        let value = required(&inner, "value", "");
        inner.finish("filter", &[]);
        found.insert(name, split(&value));
    }
    found
}

/// The map `filters` alone, as `source_ami_filter` has it.
pub fn from_map(decoder: &Decoder<'_>) -> Filters {
    let mut found = IndexMap::new();
    for (name, value) in decoder.map("filters", NOW) {
        found.insert(name.value, split(&value.value.0));
    }
    found
}

fn split(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}

fn security_groups(decoder: &Decoder<'_>) -> Vec<String> {
    let one = decoder.text("security_group_id");
    let many = decoder.texts("security_group_ids");
    if let (Some(one), false) = (&one, many.is_empty()) {
        decoder.error(&one.at, "security_group_id and security_group_ids can't both be given", "");
    }
    one.into_iter().chain(many).map(|group| group.value).filter(|group| !group.is_empty()).collect()
}

fn source_cidrs(decoder: &Decoder<'_>) -> Option<Vec<String>> {
    let cidrs = decoder.texts("temporary_security_group_source_cidrs");
    for cidr in &cidrs {
        if cidr.value.parse::<IpNet>().is_err() {
            let summary = format!("temporary_security_group_source_cidrs: {:?} is no network", cidr.value);
            decoder.error(&cidr.at, summary, "write an address with its prefix length, such as 203.0.113.7/32");
        }
    }
    // What it asks for is what is done when no networks are given; with networks it counts for nothing, as in Packer.
    let _ = decoder.flag("temporary_security_group_source_public_ip");
    (!cidrs.is_empty()).then(|| cidrs.into_iter().map(|cidr| cidr.value).collect())
}

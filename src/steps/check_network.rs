//! Which subnets and security groups the template means, by id or by filter.

use sha2::{Digest, Sha256};

use crate::cloud::{Filter, Subnet};
use crate::domain::config::AmazonEbs;
use crate::domain::config::launch::Filters;
use crate::domain::failure::Failure;
use crate::engine::step::{StepContext, StepResult};

use super::retry;

/// Where the machine may be launched, in order of preference.
///
/// # Errors
/// `vpc-not-found`, `vpc-ambiguous`, `subnet-not-found`, `subnet-vpc-mismatch`.
pub async fn subnets(context: &StepContext, ebs: &AmazonEbs) -> StepResult<Vec<Subnet>> {
    let vpc = vpc(context, ebs).await?;
    let filter = ebs.subnet_filter.as_ref().filter(|_| ebs.subnet_id.is_none());
    let mut filters = Vec::new();
    if let Some(subnet) = &ebs.subnet_id {
        filters.push(Filter::new("subnet-id", [subnet]));
    } else if let Some(filter) = filter {
        filters.extend(in_vpc(&filter.filters, vpc.as_deref()));
    } else if let Some(vpc) = &vpc {
        filters.push(Filter::new("vpc-id", [vpc]));
    } else {
        filters.push(Filter::new("default-for-az", ["true"]));
    }
    if let Some(zone) = &ebs.availability_zone {
        filters.push(Filter::new("availability-zone", [zone]));
    }
    let place = context.place(&ebs.region);
    let mut found = retry::call(context, || context.looks.subnets(&place, &filters)).await?;
    if found.is_empty() {
        return Err(no_subnet(ebs, vpc.as_deref()).into());
    }
    if let (Some(subnet), Some(vpc)) = (&ebs.subnet_id, &vpc)
        && found[0].vpc_id != *vpc
    {
        return Err(Failure::user(
            "subnet-vpc-mismatch",
            format!("subnet {subnet} is in {}, not in {vpc}, which vpc_id or vpc_filter names.", found[0].vpc_id),
        )
        .into());
    }
    // The one with most free addresses first; the rest are tried when that zone has no room.
    found.sort_by(|a, b| b.available_addresses.cmp(&a.available_addresses).then_with(|| a.id.cmp(&b.id)));
    if filter.is_some_and(|filter| filter.random && !filter.most_free) {
        found.sort_by_key(|subnet| lot(context, &subnet.id));
    }
    Ok(found)
}

/// A number by chance that every server draws alike.
fn lot(context: &StepContext, subnet: &str) -> [u8; 32] {
    let text = format!("{} {} {subnet}", context.facts.build, context.facts.attempt);
    Sha256::digest(text.as_bytes()).into()
}

/// The VPC that is named, by id or filter.
async fn vpc(context: &StepContext, ebs: &AmazonEbs) -> StepResult<Option<String>> {
    if ebs.vpc_id.is_some() || ebs.vpc_filter.is_empty() {
        return Ok(ebs.vpc_id.clone());
    }
    let filters = to_filters(&ebs.vpc_filter);
    let found = retry::call(context, || context.cloud.find_vpcs(&ebs.region, &filters)).await?;
    match found.as_slice() {
        [vpc] => Ok(Some(vpc.id.clone())),
        [] => Err(Failure::user("vpc-not-found", format!("vpc_filter matched no VPC in {}.", ebs.region))
            .with_advice("Check the filter and the region.")
            .into()),
        several => {
            let ids: Vec<&str> = several.iter().take(5).map(|vpc| vpc.id.as_str()).collect();
            let message = format!("vpc_filter matched {} VPCs in {} ({}).", several.len(), ebs.region, ids.join(", "));
            Err(Failure::user("vpc-ambiguous", message).with_advice("Narrow the filter, or name vpc_id.").into())
        }
    }
}

fn no_subnet(ebs: &AmazonEbs, vpc: Option<&str>) -> Failure {
    let of_vpc = vpc.map(|vpc| format!(" of VPC {vpc}")).unwrap_or_default();
    let what = match (&ebs.subnet_id, &ebs.subnet_filter) {
        (Some(subnet), _) => format!("subnet {subnet}"),
        (None, Some(_)) => format!("a subnet{of_vpc} that subnet_filter matches"),
        (None, None) if vpc.is_some() => format!("a subnet{of_vpc}"),
        (None, None) => "a default subnet".to_owned(),
    };
    let zone = ebs.availability_zone.as_ref().map(|zone| format!(" in zone {zone}")).unwrap_or_default();
    Failure::user("subnet-not-found", format!("No such network in {}: {what}{zone}.", ebs.region))
        .with_advice("Name a subnet of this account and region with `subnet_id`.")
}

/// A template's filters, of the machine's VPC whatever VPC they name, as in Packer.
fn in_vpc(filters: &Filters, vpc: Option<&str>) -> Vec<Filter> {
    let mut filters = to_filters(filters);
    if let Some(vpc) = vpc {
        filters.retain(|filter| filter.name != "vpc-id");
        filters.push(Filter::new("vpc-id", [vpc]));
    }
    filters
}

/// The groups that the template names, of the machine's VPC where it names them by a filter; empty: a temporary one is made.
///
/// # Errors
/// `security-group-not-found`.
pub async fn groups(context: &StepContext, ebs: &AmazonEbs, vpc: Option<&str>) -> StepResult<Vec<String>> {
    let by_id = !ebs.security_group_ids.is_empty();
    if !by_id && ebs.security_group_filter.is_empty() {
        return Ok(Vec::new());
    }
    let filters = if by_id {
        vec![Filter::new("group-id", &ebs.security_group_ids)]
    } else {
        in_vpc(&ebs.security_group_filter, vpc)
    };
    let place = context.place(&ebs.region);
    let found = retry::call(context, || context.looks.security_groups(&place, &filters)).await?;
    let found: Vec<String> = found.into_iter().map(|group| group.id).collect();
    let missing: Vec<&str> =
        ebs.security_group_ids.iter().filter(|id| !found.contains(id)).map(String::as_str).collect();
    if by_id && !missing.is_empty() {
        return Err(Failure::user(
            "security-group-not-found",
            format!("No such security group in {}: {}.", ebs.region, missing.join(", ")),
        )
        .into());
    }
    if found.is_empty() {
        let message = format!("security_group_filter matched no security group in {}.", ebs.region);
        return Err(Failure::user("security-group-not-found", message)
            .with_advice("Check the filter, or leave it out: a group is made for the build then.")
            .into());
    }
    Ok(if by_id { ebs.security_group_ids.clone() } else { found })
}

fn to_filters(filters: &Filters) -> Vec<Filter> {
    filters.iter().map(|(name, values)| Filter::new(name, values)).collect()
}

//! Address arithmetic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{ANY, Call, Function, FunctionError, FunctionResult, function};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("cidrhost", 2, 2, |call| {
        let (net, number) = (prefix(call)?, call.integer(1)?);
        let bits = width(net) - net.prefix_len();
        let size = if bits >= 128 { u128::MAX } else { 1_u128 << bits };
        let offset =
            if number < 0 { size.checked_sub(u128::from(number.unsigned_abs())) } else { u128::try_from(number).ok() };
        match offset.filter(|offset| *offset < size) {
            Some(offset) => Ok(Value::string(address(net, number_of(net.network()) + offset).to_string())),
            None => Call::fail(1, format!("the network has only {size} addresses")),
        }
    }),
    function("cidrnetmask", 1, 1, |call| match prefix(call)? {
        IpNet::V4(net) => Ok(Value::string(net.netmask().to_string())),
        IpNet::V6(_) => Call::fail(0, "IPv6 has no net masks"),
    }),
    function("cidrsubnet", 3, 3, |call| {
        let (net, bits, number) = (prefix(call)?, call.integer(1)?, call.integer(2)?);
        let length = longer(net, bits, 1)?;
        let count =
            if length - net.prefix_len() >= 64 { i64::MAX } else { 1_i64 << (length - net.prefix_len()).min(62) };
        if number < 0 || number >= count {
            return Call::fail(2, format!("there are only {count} subnets of this size"));
        }
        let step = width(net) - length;
        let offset = u128::try_from(number).unwrap_or(0).checked_shl(step.into()).unwrap_or(0);
        Ok(subnet(net, number_of(net.network()).wrapping_add(offset), length))
    }),
    function("cidrsubnets", 1, ANY, subnets),
];

fn prefix(call: &Call<'_>) -> Result<IpNet, FunctionError> {
    match call.text(0)?.parse::<IpNet>() {
        Ok(net) => Ok(net.trunc()),
        Err(_) => Call::fail(0, "this is no network such as 10.0.0.0/16"),
    }
}

fn width(net: IpNet) -> u8 {
    if net.addr().is_ipv4() { 32 } else { 128 }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(net: IpNet, number: u128) -> IpAddr {
    if net.addr().is_ipv4() {
        IpAddr::V4(Ipv4Addr::from(u32::try_from(number & u128::from(u32::MAX)).unwrap_or(0)))
    } else {
        IpAddr::V6(Ipv6Addr::from(number))
    }
}

fn subnet(net: IpNet, number: u128, length: u8) -> Value {
    Value::string(format!("{}/{length}", address(net, number)))
}

fn longer(net: IpNet, bits: i64, argument: usize) -> Result<u8, FunctionError> {
    let length = u8::try_from(bits).ok().and_then(|bits| net.prefix_len().checked_add(bits));
    match length.filter(|length| *length <= width(net)) {
        Some(length) => Ok(length),
        None => Call::fail(argument, "the network has not that many bits left"),
    }
}

fn subnets(call: &Call<'_>) -> FunctionResult {
    let net = prefix(call)?;
    let first = number_of(net.network());
    let bits = width(net) - net.prefix_len();
    let size = if bits >= 128 { u128::MAX } else { 1_u128 << bits };
    let mut used: u128 = 0;
    let mut result = Vec::new();
    for at in 1..call.len() {
        let length = longer(net, call.integer(at)?, at)?;
        let block = 1_u128.checked_shl((width(net) - length).into()).unwrap_or(u128::MAX);
        let start = used.div_ceil(block).checked_mul(block);
        let end = start.and_then(|start| start.checked_add(block)).filter(|end| *end <= size);
        let (Some(start), Some(end)) = (start, end) else { return Call::fail(at, "the network is used up here") };
        result.push(subnet(net, first + start, length));
        used = end;
    }
    Ok(Value::list(result))
}

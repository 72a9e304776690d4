//! Address arithmetic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Call, Function, FunctionError, FunctionResult, Takes, function, number, takes, text, variadic};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("cidrhost", &[text("prefix"), number("hostnum")], host),
    function("cidrnetmask", &[text("prefix")], |call| Ok(Value::string(prefix(call)?.netmask().to_string()))),
    function("cidrsubnet", &[text("prefix"), number("newbits"), number("netnum")], subnet),
    variadic("cidrsubnets", &[text("prefix")], takes("newbits", Takes::Number), subnets),
];

fn prefix(call: &Call<'_>) -> Result<IpNet, FunctionError> {
    let text = call.text(0)?;
    let parts = text.split_once('/').and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)));
    match parts.and_then(|(address, length): (IpAddr, u8)| IpNet::new(address, length).ok()) {
        Some(net) => Ok(net.trunc()),
        None => Call::fail(0, "this is no network such as 10.0.0.0/16"),
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

fn written(net: IpNet, number: u128, length: u8) -> Value {
    Value::string(format!("{}/{length}", address(net, number)))
}

fn host(call: &Call<'_>) -> FunctionResult {
    let (net, number) = (prefix(call)?, call.integer(1)?);
    let bits = width(net) - net.prefix_len();
    let size = if bits >= 128 { u128::MAX } else { 1_u128 << bits };
    let offset =
        if number < 0 { size.checked_sub(u128::from(number.unsigned_abs())) } else { u128::try_from(number).ok() };
    match offset.filter(|offset| *offset < size) {
        Some(offset) => Ok(Value::string(address(net, number_of(net.network()) + offset).to_string())),
        None => Call::fail(1, format!("the network has only {size} addresses")),
    }
}

fn subnet(call: &Call<'_>) -> FunctionResult {
    let (net, bits, number) = (prefix(call)?, call.integer(1)?, call.integer(2)?);
    if bits > 32 {
        return Call::fail(1, "the prefix can't become longer by more than 32 bits");
    }
    let length = u8::try_from(bits).ok().and_then(|bits| net.prefix_len().checked_add(bits));
    let Some(length) = length.filter(|length| *length <= width(net)) else {
        return Call::fail(1, "the network has not that many bits left");
    };
    let count = 1_i64 << (length - net.prefix_len());
    if number < 0 || number >= count {
        return Call::fail(2, format!("there are only {count} subnets of this size"));
    }
    let offset = u128::try_from(number).unwrap_or(0).checked_shl((width(net) - length).into()).unwrap_or(0);
    Ok(written(net, number_of(net.network()).wrapping_add(offset), length))
}

fn subnets(call: &Call<'_>) -> FunctionResult {
    let net = prefix(call)?;
    let first = number_of(net.network());
    let bits = width(net) - net.prefix_len();
    let size = if bits >= 128 { u128::MAX } else { 1_u128 << bits };
    let mut used: u128 = 0;
    let mut result = Vec::new();
    for at in 1..call.len() {
        let bits = call.integer(at)?;
        if bits < 1 {
            return Call::fail(at, "the prefix must become longer by one bit at least");
        }
        if bits > 32 {
            return Call::fail(at, "the prefix can't become longer by more than 32 bits");
        }
        let length = u8::try_from(bits).ok().and_then(|bits| net.prefix_len().checked_add(bits));
        let Some(length) = length.filter(|length| *length <= width(net)) else {
            return Call::fail(at, "the network has not that many bits left");
        };
        let block = 1_u128.checked_shl((width(net) - length).into()).unwrap_or(u128::MAX);
        let start = used.div_ceil(block).checked_mul(block);
        let end = start.and_then(|start| start.checked_add(block)).filter(|end| *end <= size);
        let (Some(start), Some(end)) = (start, end) else {
            return Call::fail(at, "the network is used up here");
        };
        result.push(written(net, first + start, length));
        used = end;
    }
    Ok(Value::list(result))
}

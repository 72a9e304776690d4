//! `[network]`: who may reach the machines that are being built.

use ipnet::IpNet;

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct Network {
    /// What the temporary security group lets in; empty: the server's own address.
    pub source_cidrs: Vec<IpNet>,
}

impl Network {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("network", found);
        let mut source_cidrs = Vec::new();
        for item in section.list("source_cidrs", found) {
            match item.value.parse::<IpNet>() {
                Ok(net) if net.prefix_len() == 0 => found.push(
                    item.place
                        .error(format!("network.source_cidrs: {net} would open every machine that is being built to the whole internet"))
                        .with_detail("name the networks that the servers reach the machines from; a template can ask for more itself with temporary_security_group_source_cidrs"),
                ),
                Ok(net) => source_cidrs.push(net),
                Err(_) => found.push(item.place.error(format!("network.source_cidrs: {:?} is not a CIDR such as 10.0.0.0/8", item.value))),
            }
        }
        section.finish(found);
        Self { source_cidrs }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        let cidrs: Vec<String> = self.source_cidrs.iter().map(ToString::to_string).collect();
        let shown = if cidrs.is_empty() { "(the server's own address)".to_owned() } else { cidrs.join(", ") };
        line(lines, "network.source_cidrs", shown);
    }
}

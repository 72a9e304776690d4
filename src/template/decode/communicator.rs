//! The `ssh_*` options.

use std::time::Duration;

use super::body::Decoder;
use crate::domain::config::SshConfig;
use crate::domain::config::communicator::{CommunicatorKind, KeyPairType, SshInterface};

/// Reads the communicator's options of a builder.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> SshConfig {
    let mut config = SshConfig::for_user(&decoder.string("ssh_username").unwrap_or_default());
    let kind = decoder.text("communicator");
    match kind.as_ref().map(|kind| kind.value.as_str()) {
        None | Some("ssh") => {}
        Some("none") => config.communicator = CommunicatorKind::None,
        Some("winrm") => {
            let at = kind.as_ref().map_or(decoder.at(), |kind| &kind.at);
            decoder.error(at, "communicator \"winrm\" is not supported yet", "only ssh and none are");
        }
        Some(other) => {
            let at = kind.as_ref().map_or(decoder.at(), |kind| &kind.at);
            decoder.error(at, format!("there is no communicator {other:?}"), "there are ssh and none");
        }
    }
    if let Some(port) = decoder.integer("ssh_port", 1, 65_535) {
        config.port = u16::try_from(port).unwrap_or(22);
    }
    config.host = decoder.string("ssh_host");
    let timeout = decoder.duration("ssh_timeout");
    // The old name counts only where the new one is missing.
    let wait_timeout = decoder.duration("ssh_wait_timeout");
    if let Some(timeout) = timeout.or(wait_timeout).filter(|timeout| *timeout > Duration::ZERO) {
        config.timeout = timeout;
    }
    config.interface = interface(decoder);
    config.pty = decoder.flag("ssh_pty").unwrap_or(false);
    if let Some(interval) = decoder.duration("ssh_keep_alive_interval") {
        config.keep_alive_interval = interval;
    }
    if let Some(kind) = decoder.text("temporary_key_pair_type") {
        match kind.value.as_str() {
            "ed25519" => config.temporary_key_pair_type = KeyPairType::Ed25519,
            "rsa" => decoder.error(
                &kind.at,
                "temporary_key_pair_type \"rsa\" is not supported yet",
                "leave it out: EC2 takes ed25519 keys for every Linux image",
            ),
            other => decoder.error(
                &kind.at,
                format!("temporary_key_pair_type {other:?} is no type EC2 imports"),
                "use ed25519",
            ),
        }
    }
    // The key is taken out of every image that is cleaned, and never put in by the server itself.
    let _ = decoder.flag("ssh_clear_authorized_keys");
    if config.communicator == CommunicatorKind::Ssh && config.username.is_empty() {
        decoder.error(
            decoder.place("ssh_username").unwrap_or(decoder.at()),
            "ssh_username is missing",
            "name the image's user, such as ubuntu, ec2-user or admin",
        );
    }
    config
}

fn interface(decoder: &Decoder<'_>) -> Option<SshInterface> {
    let interface = decoder.text("ssh_interface")?;
    match interface.value.as_str() {
        "public_ip" => Some(SshInterface::PublicIp),
        "private_ip" => Some(SshInterface::PrivateIp),
        "public_dns" => Some(SshInterface::PublicDns),
        "private_dns" => Some(SshInterface::PrivateDns),
        "ipv6" => Some(SshInterface::Ipv6),
        "session_manager" => {
            let summary = "ssh_interface \"session_manager\" is not supported yet";
            decoder.error(&interface.at, summary, "use private_ip with a route from the server to the subnet");
            None
        }
        other => {
            let summary = format!("there is no ssh_interface {other:?}");
            decoder.error(&interface.at, summary, "there are public_ip, private_ip, public_dns, private_dns and ipv6");
            None
        }
    }
}

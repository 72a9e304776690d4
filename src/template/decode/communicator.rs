//! The communicator's options: `communicator`, `ssh_*`, `pause_before_connecting`.

use std::time::Duration;

use super::body::{Decoder, Located};
use super::ssh_keys;
use crate::domain::config::SshConfig;
use crate::domain::config::communicator::{Bastion, CommunicatorKind, KeyPairType, OwnKey, SshInterface};

/// What the server's SSH library speaks, in OpenSSH's words.
pub const CIPHERS: &[&str] = &[
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
];
/// As [`CIPHERS`].
pub const KEY_EXCHANGES: &[&str] = &[
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group15-sha512",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group17-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group1-sha1",
];

/// Reads the communicator's options of a builder that makes a machine.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> SshConfig {
    let mut config = connection(decoder);
    config.interface = interface(decoder);
    temporary_key(decoder, &mut config);
    config
}

/// Reads what is said of the connection itself.
#[must_use]
pub fn connection(decoder: &Decoder<'_>) -> SshConfig {
    let mut config = SshConfig::for_user(&decoder.string("ssh_username").unwrap_or_default());
    config.communicator = kind(decoder);
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
    config.pty = decoder.flag("ssh_pty").unwrap_or(false);
    if let Some(interval) = decoder.duration("ssh_keep_alive_interval") {
        config.keep_alive_interval = interval;
    }
    config.pause_before_connecting = decoder.duration("pause_before_connecting").unwrap_or_default();
    config.own_key = own_key(decoder);
    config.password = decoder.string("ssh_password");
    config.bastion = bastion(decoder, &config);
    config.clear_authorized_keys = decoder.flag("ssh_clear_authorized_keys").unwrap_or(false);
    config.ciphers = names(decoder, "ssh_ciphers", CIPHERS);
    config.key_exchange = names(decoder, "ssh_key_exchange_algorithms", KEY_EXCHANGES);
    file_transfer(decoder);
    // No agent is ever forwarded, whatever it says.
    let _ = decoder.flag("ssh_disable_agent_forwarding");
    let unknown = decoder.any_unknown(&["ssh_username", "communicator"]);
    if config.communicator == CommunicatorKind::Ssh && config.username.is_empty() && !unknown {
        decoder.error_at(
            "ssh_username",
            "ssh_username is missing",
            "name the image's user, such as ubuntu, ec2-user or admin",
        );
    }
    config
}

fn kind(decoder: &Decoder<'_>) -> CommunicatorKind {
    let Some(kind) = decoder.text("communicator") else { return CommunicatorKind::Ssh };
    match kind.value.as_str() {
        "ssh" => CommunicatorKind::Ssh,
        "none" => CommunicatorKind::None,
        "winrm" => {
            let detail =
                "only ssh and none are; Windows images from 2019 on have an OpenSSH server to switch on in user_data";
            decoder.fail("communicator", &kind.at, "communicator \"winrm\" is not supported yet", detail);
            CommunicatorKind::Ssh
        }
        other => {
            let summary = format!("there is no communicator {other:?}");
            decoder.fail("communicator", &kind.at, summary, "there are ssh and none");
            CommunicatorKind::Ssh
        }
    }
}

fn temporary_key(decoder: &Decoder<'_>, config: &mut SshConfig) {
    let bits = decoder.integer("temporary_key_pair_bits", 0, 16_384).filter(|bits| *bits > 0);
    let Some(kind) = decoder.text("temporary_key_pair_type") else {
        // Bits without a type are those of Packer's own default.
        if bits.is_some() {
            config.temporary_key_pair_type = KeyPairType::Rsa;
        }
        rsa_bits(decoder, config, bits);
        return;
    };
    match kind.value.as_str() {
        "ed25519" => config.temporary_key_pair_type = KeyPairType::Ed25519,
        "rsa" => config.temporary_key_pair_type = KeyPairType::Rsa,
        other => decoder.error(
            &kind.at,
            format!("temporary_key_pair_type {other:?} is no type EC2 imports"),
            "use ed25519, or rsa for old images",
        ),
    }
    rsa_bits(decoder, config, bits);
}

/// An Ed25519 key has one size; Packer passes the number over, too.
fn rsa_bits(decoder: &Decoder<'_>, config: &mut SshConfig, bits: Option<i32>) {
    if config.temporary_key_pair_type != KeyPairType::Rsa {
        return;
    }
    config.temporary_key_pair_bits = bits.and_then(|bits| u32::try_from(bits).ok());
    if let Some(bits) = bits
        && ![2048, 4096].contains(&bits)
    {
        let summary = format!("temporary_key_pair_bits must be 2048 or 4096 for rsa, this is {bits}");
        decoder.error_at("temporary_key_pair_bits", summary, "");
    }
}

fn own_key(decoder: &Decoder<'_>) -> Option<OwnKey> {
    let private_key = ssh_keys::private_key(decoder, "ssh_private_key_file");
    let certificate = ssh_keys::certificate(decoder, "ssh_certificate_file");
    let keypair = decoder.text("ssh_keypair_name");
    if decoder.given("ssh_private_key_file").is_none() {
        if let Some(keypair) = &keypair {
            let detail = "give its private half in ssh_private_key_file, or leave ssh_keypair_name out";
            decoder.error(&keypair.at, "ssh_keypair_name needs ssh_private_key_file", detail);
        }
        if certificate.is_some() {
            decoder.error_at("ssh_certificate_file", "ssh_certificate_file needs ssh_private_key_file", "");
        }
    }
    let keypair_name = keypair.map(|keypair| keypair.value);
    private_key.map(|private_key| OwnKey { private_key, certificate, keypair_name })
}

fn bastion(decoder: &Decoder<'_>, config: &SshConfig) -> Option<Bastion> {
    let host = decoder.text("ssh_bastion_host");
    let port = decoder.integer("ssh_bastion_port", 1, 65_535).and_then(|port| u16::try_from(port).ok());
    let bastion = Bastion {
        host: host.as_ref().map(|host| host.value.clone()).unwrap_or_default(),
        port: port.unwrap_or(22),
        username: decoder.string("ssh_bastion_username").unwrap_or_else(|| config.username.clone()),
        password: decoder.string("ssh_bastion_password"),
        interactive: decoder.flag("ssh_bastion_interactive").unwrap_or(false),
        private_key: ssh_keys::private_key(decoder, "ssh_bastion_private_key_file"),
        certificate: ssh_keys::certificate(decoder, "ssh_bastion_certificate_file"),
    };
    let Some(host) = host else {
        if decoder.is_unknown("ssh_bastion_host") {
            return None;
        }
        for name in [
            "ssh_bastion_port",
            "ssh_bastion_username",
            "ssh_bastion_password",
            "ssh_bastion_interactive",
            "ssh_bastion_private_key_file",
            "ssh_bastion_certificate_file",
        ] {
            if let Some(at) = decoder.given(name) {
                decoder.error(at, format!("{name} needs ssh_bastion_host"), "");
            }
        }
        return None;
    };
    let has_key = decoder.given("ssh_bastion_private_key_file").is_some()
        || decoder.given("ssh_private_key_file").is_some()
        || config.own_key.is_some();
    let has_password = bastion.password.is_some() || decoder.is_unknown("ssh_bastion_password");
    if !has_key && !has_password {
        let detail = "give ssh_bastion_private_key_file (a file of the bundle, or a sensitive variable's value) or \
                      ssh_bastion_password";
        decoder.error(&host.at, "there is no way to log in to ssh_bastion_host", detail);
    }
    if bastion.interactive && !has_password {
        decoder.error_at("ssh_bastion_interactive", "ssh_bastion_interactive needs ssh_bastion_password", "");
    }
    if bastion.certificate.is_some() && !has_key {
        decoder.error_at(
            "ssh_bastion_certificate_file",
            "ssh_bastion_certificate_file needs ssh_bastion_private_key_file",
            "",
        );
    }
    Some(bastion)
}

fn names(decoder: &Decoder<'_>, option: &'static str, known: &[&str]) -> Vec<String> {
    let given: Vec<Located<String>> = decoder.texts(option);
    for name in given.iter().filter(|name| !known.contains(&name.value.as_str())) {
        let summary = format!("{option}: the server does not speak {:?}", name.value);
        decoder.error(&name.at, summary, format!("it speaks {}", known.join(", ")));
    }
    given.into_iter().map(|name| name.value).collect()
}

fn file_transfer(decoder: &Decoder<'_>) {
    let Some(method) = decoder.text("ssh_file_transfer_method") else { return };
    match method.value.as_str() {
        "sftp" => {}
        "scp" => {
            decoder.warn(&method.at, "files go over SFTP all the same", "every OpenSSH server has it; leave it out");
        }
        other => {
            let summary = format!("ssh_file_transfer_method must be \"sftp\" or \"scp\", this is {other:?}");
            decoder.error(&method.at, summary, "files go over SFTP; leave it out");
        }
    }
}

fn interface(decoder: &Decoder<'_>) -> Option<SshInterface> {
    let interface = decoder.text("ssh_interface")?;
    match interface.value.as_str() {
        "public_ip" => Some(SshInterface::PublicIp),
        "private_ip" => Some(SshInterface::PrivateIp),
        "public_dns" => Some(SshInterface::PublicDns),
        "private_dns" => Some(SshInterface::PrivateDns),
        "ipv6" => Some(SshInterface::Ipv6),
        "session_manager" => Some(SshInterface::SessionManager),
        other => {
            let summary = format!("there is no ssh_interface {other:?}");
            decoder.error(
                &interface.at,
                summary,
                "there are public_ip, private_ip, public_dns, private_dns, ipv6 and session_manager",
            );
            None
        }
    }
}

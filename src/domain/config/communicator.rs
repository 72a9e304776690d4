//! The communicator's options (`ssh_*`), with Packer's names and defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::milliseconds;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshConfig {
    /// `ssh`, or `none`: then nothing is connected to and there may be no provisioners.
    pub communicator: CommunicatorKind,
    pub username: String,
    pub port: u16,
    /// Overrides the instance's address; allowed only for hosts that `[policy] ssh_hosts` names.
    pub host: Option<String>,
    /// How long to wait for SSH to answer; 5 minutes.
    #[serde(with = "milliseconds")]
    pub timeout: Duration,
    /// Which of the instance's addresses to use; `None`: public IP, else private IP.
    pub interface: Option<SshInterface>,
    /// Request a pseudo-terminal for commands.
    pub pty: bool,
    /// How often to send keep-alives; 5 seconds.
    #[serde(with = "milliseconds")]
    pub keep_alive_interval: Duration,
    pub temporary_key_pair_type: KeyPairType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommunicatorKind {
    Ssh,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SshInterface {
    PublicIp,
    PrivateIp,
    PublicDns,
    PrivateDns,
    Ipv6,
}

/// Ingot's default is `ed25519` (Packer: `rsa`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPairType {
    Ed25519,
    Rsa,
}

impl SshConfig {
    /// Packer's defaults for a user name.
    #[must_use]
    pub fn for_user(username: &str) -> Self {
        Self {
            communicator: CommunicatorKind::Ssh,
            username: username.to_owned(),
            port: 22,
            host: None,
            timeout: Duration::from_secs(300),
            interface: None,
            pty: false,
            keep_alive_interval: Duration::from_secs(5),
            temporary_key_pair_type: KeyPairType::Ed25519,
        }
    }
}

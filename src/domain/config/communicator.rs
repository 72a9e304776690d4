//! The communicator's options (`ssh_*`), with Packer's names and defaults.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::milliseconds;

/// Holds keys and passwords: its `Debug` leaves them out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Which of the instance's addresses to use, or which way; `None`: public IP, else private IP.
    pub interface: Option<SshInterface>,
    /// Request a pseudo-terminal for commands.
    pub pty: bool,
    /// How often to send keep-alives; 5 seconds.
    #[serde(with = "milliseconds")]
    pub keep_alive_interval: Duration,
    pub temporary_key_pair_type: KeyPairType,
    /// Of a temporary `rsa` key; `None`: 4096.
    #[serde(default)]
    pub temporary_key_pair_bits: Option<u32>,
    /// Before the first try; zero: none.
    #[serde(default, with = "milliseconds")]
    pub pause_before_connecting: Duration,
    /// `pause_before_ssm`: before the first session is started; zero: none.
    #[serde(default, with = "milliseconds")]
    pub pause_before_session: Duration,
    /// The template's own key instead of a temporary one, and what goes with it.
    #[serde(default)]
    pub own_key: Option<OwnKey>,
    /// Logs in with it; without [`Self::own_key`] no key is made.
    #[serde(default)]
    pub password: Option<String>,
    /// Connect through this host.
    #[serde(default)]
    pub bastion: Option<Bastion>,
    /// Take the temporary key out of `authorized_keys`, also when the image is not cleaned.
    #[serde(default)]
    pub clear_authorized_keys: bool,
    /// `ssh_ciphers`, in OpenSSH's words; empty: the server's own choice.
    #[serde(default)]
    pub ciphers: Vec<String>,
    /// `ssh_key_exchange_algorithms`, in OpenSSH's words; empty: the server's own choice.
    #[serde(default)]
    pub key_exchange: Vec<String>,
}

/// `ssh_private_key_file`, `ssh_certificate_file` and `ssh_keypair_name`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnKey {
    /// The private key's text, OpenSSH or PEM form.
    pub private_key: String,
    /// The text of an OpenSSH user certificate.
    pub certificate: Option<String>,
    /// The key pair's name in EC2; `None`: the image lets the key in by itself.
    pub keypair_name: Option<String>,
}

/// `ssh_bastion_*`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bastion {
    /// Allowed only for hosts that `[policy] ssh_hosts` names.
    pub host: String,
    pub port: u16,
    pub username: String,
    pub password: Option<String>,
    /// Answer keyboard-interactive questions with the password.
    pub interactive: bool,
    /// The private key's text; `None`: the machine's key is tried, as in Packer.
    pub private_key: Option<String>,
    /// The text of an OpenSSH user certificate.
    pub certificate: Option<String>,
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
    /// No address: a session of Systems Manager's Session Manager.
    SessionManager,
}

/// Ingot's default is `ed25519` (Packer: `rsa`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPairType {
    Ed25519,
    Rsa,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self::for_user("")
    }
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
            temporary_key_pair_bits: None,
            pause_before_connecting: Duration::ZERO,
            pause_before_session: Duration::ZERO,
            own_key: None,
            password: None,
            bastion: None,
            clear_authorized_keys: false,
            ciphers: Vec::new(),
            key_exchange: Vec::new(),
        }
    }

    /// Whether the server makes a key for the build.
    #[must_use]
    pub fn needs_temporary_key(&self) -> bool {
        self.communicator == CommunicatorKind::Ssh && self.own_key.is_none() && self.password.is_none()
    }

    /// Whether SSH goes through Session Manager.
    #[must_use]
    pub fn uses_session_manager(&self) -> bool {
        self.communicator == CommunicatorKind::Ssh && self.interface == Some(SshInterface::SessionManager)
    }

    /// Whether a server of the release before these options would connect alike.
    #[must_use]
    pub fn is_of_first_form(&self) -> bool {
        let plain = Self {
            communicator: self.communicator,
            port: self.port,
            host: self.host.clone(),
            timeout: self.timeout,
            interface: self.interface,
            keep_alive_interval: self.keep_alive_interval,
            ..Self::for_user(&self.username)
        };
        *self == plain
    }
}

impl fmt::Debug for SshConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut form = f.debug_struct("SshConfig");
        form.field("communicator", &self.communicator).field("username", &self.username).field("port", &self.port);
        form.field("host", &self.host).field("timeout", &self.timeout).field("interface", &self.interface);
        form.field("pty", &self.pty).field("own_key", &self.own_key).field("bastion", &self.bastion);
        form.finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKey").field("keypair_name", &self.keypair_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bastion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut form = f.debug_struct("Bastion");
        form.field("host", &self.host).field("port", &self.port).field("username", &self.username);
        form.finish_non_exhaustive()
    }
}

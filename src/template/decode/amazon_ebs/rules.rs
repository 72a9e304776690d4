//! Options of Packer's amazon builders that are refused, with what to do instead. No message shows a value.

use super::super::body::Rule::{NotYet, Refused};
use super::super::body::Rules;

const KEYS: &str = "the server assumes a role in each account: remove access_key and secret_key, configure \
    [accounts.<name>] role_arn, and name that account in the request with `account`";
const ACCOUNT: &str = "configure [accounts.<name>] role_arn and name that account in the request with `account`";
const ENDPOINT: &str = "endpoints are the server's to choose: [aws] endpoint_url in its configuration";
const AGENT: &str = "a server has no SSH agent: leave it out, and a key is made for the build; or give \
    ssh_private_key_file, a file of the bundle or a sensitive variable's value";
const KEY_TEXT: &str =
    "give the private key in ssh_private_key_file, a file of the bundle or a sensitive variable's value";
const WINDOWS: &str = "only ssh is; Windows images from 2019 on have an OpenSSH server to switch on in user_data";
const PROXY: &str =
    "use ssh_bastion_host or ssh_interface = \"session_manager\", or let the server reach the subnet with private_ip";
const TUNNEL: &str = "the server opens no ports for a build; fetch what the machine needs in a provisioner";
const BOOT_MODE: &str = "of the amazon builders only amazon-ebssurrogate has it: an image made of an instance has the boot \
    mode of the image that the instance was started from; choose that image accordingly";
const REGISTERED: &str = "of the amazon builders only amazon-ebssurrogate has it: an image made of an instance has this from \
    the image that the instance was started from";

/// See the module's text; those of the communicator are in [`COMMUNICATOR`].
pub const RULES: Rules = &[
    ("access_key", Refused(KEYS)),
    ("secret_key", Refused(KEYS)),
    ("token", Refused(KEYS)),
    ("profile", Refused(ACCOUNT)),
    ("shared_credentials_file", Refused(ACCOUNT)),
    ("mfa_code", Refused(ACCOUNT)),
    ("vault_aws_engine", Refused(ACCOUNT)),
    ("custom_endpoint_ec2", Refused(ENDPOINT)),
    ("insecure_skip_tls_verify", Refused("certificates are always checked; remove it")),
    ("skip_metadata_api_check", Refused("a template has no part in how the server finds its credentials; remove it")),
    ("skip_credential_validation", Refused("the server checks its own credentials; remove it")),
    ("block_duration_minutes", Refused("EC2 has no spot instances of a fixed duration any more; remove it")),
    ("elastic_ip_allocation_id", NotYet("use associate_public_ip_address, or ssh_interface = \"private_ip\"")),
    ("boot_mode", Refused(BOOT_MODE)),
    ("uefi_data", Refused(REGISTERED)),
    ("tpm_support", Refused(REGISTERED)),
    ("ami_architecture", Refused(REGISTERED)),
    ("windows_password_timeout", NotYet(WINDOWS)),
    ("no_ephemeral", Refused("name each drive in launch_block_device_mappings with no_device = true")),
    ("http_directory", Refused("amazon builders have no HTTP server: upload files with a file provisioner")),
    ("http_content", Refused("amazon builders have no HTTP server: upload files with a file provisioner")),
];

/// Of the communicator's options.
pub const COMMUNICATOR: Rules = &[
    ("ssh_private_key", Refused(KEY_TEXT)),
    ("ssh_public_key", Refused(KEY_TEXT)),
    ("ssh_agent_auth", Refused(AGENT)),
    ("ssh_bastion_agent_auth", Refused(AGENT)),
    ("temporary_key_pair_name", Refused("remove it: the server names the key by build and attempt, to find it again")),
    ("ssh_handshake_attempts", Refused("remove it: ssh_timeout bounds how long is tried")),
    ("ssh_proxy_host", Refused(PROXY)),
    ("ssh_proxy_port", Refused(PROXY)),
    ("ssh_proxy_username", Refused(PROXY)),
    ("ssh_proxy_password", Refused(PROXY)),
    ("ssh_read_write_timeout", Refused("give the provisioner a timeout")),
    ("ssh_remote_tunnels", Refused(TUNNEL)),
    ("ssh_local_tunnels", Refused(TUNNEL)),
    ("ssh_ip_version", Refused("it is for other clouds: use ssh_interface = \"ipv6\" or \"public_ip\"")),
    ("winrm_username", NotYet(WINDOWS)),
    ("winrm_password", NotYet(WINDOWS)),
    ("winrm_host", NotYet(WINDOWS)),
    ("winrm_no_proxy", NotYet(WINDOWS)),
    ("winrm_port", NotYet(WINDOWS)),
    ("winrm_timeout", NotYet(WINDOWS)),
    ("winrm_use_ssl", NotYet(WINDOWS)),
    ("winrm_insecure", NotYet(WINDOWS)),
    ("winrm_use_ntlm", NotYet(WINDOWS)),
];

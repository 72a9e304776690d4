//! SSH through Systems Manager's Session Manager, and the rules over it and other options.

use super::super::body::Decoder;
use crate::domain::config::AmazonEbs;

/// Reads what belongs to `ssh_interface = "session_manager"`, once the profile and the communicator are read.
pub fn read(decoder: &Decoder<'_>, config: &mut AmazonEbs) {
    let pause = decoder.duration("pause_before_ssm");
    let port = decoder.integer("session_manager_port", 0, 65_535);
    if let Some(at) = decoder.given("session_manager_port").filter(|_| port.is_some()) {
        let detail = "the server opens no port of its own for a session; ssh_port is the machine's. Leave it out";
        decoder.warn(at, "session_manager_port has no use here", detail);
    }
    if !config.communicator.uses_session_manager() {
        if pause.is_some() && !decoder.any_unknown(&["ssh_interface", "communicator"]) {
            decoder.warn_at(
                "pause_before_ssm",
                "pause_before_ssm has no use without ssh_interface = \"session_manager\"",
                "",
            );
        }
        return;
    }
    config.communicator.pause_before_session = pause.unwrap_or_default();
    let has_profile = config.iam_instance_profile.is_some() || config.temporary_instance_profile_policy.is_some();
    let profiles = ["iam_instance_profile", "temporary_iam_instance_profile_policy_document"];
    if !has_profile && !decoder.any_unknown(&profiles) {
        let detail = "the machine's agent needs a role with AmazonSSMManagedInstanceCore: give iam_instance_profile, or \
                      temporary_iam_instance_profile_policy_document";
        decoder.error_at_value("ssh_interface", "ssh_interface \"session_manager\" needs an instance profile", detail);
    }
    if config.communicator.bastion.is_some() {
        let detail = "a session leads to the machine itself: leave ssh_bastion_host out, or name another ssh_interface";
        decoder.error_at("ssh_bastion_host", "ssh_bastion_host excludes ssh_interface \"session_manager\"", detail);
    }
    if config.communicator.host.is_some() {
        let detail =
            "a session leads to the machine that is launched: leave ssh_host out, or name another ssh_interface";
        decoder.error_at("ssh_host", "ssh_host excludes ssh_interface \"session_manager\"", detail);
    }
    if config.temporary_security_group_source_cidrs.is_some() {
        decoder.warn_at(
            "temporary_security_group_source_cidrs",
            "temporary_security_group_source_cidrs has no use with ssh_interface \"session_manager\"",
            "the temporary security group lets nobody in",
        );
    }
}

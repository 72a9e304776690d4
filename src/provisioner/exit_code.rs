//! Whether a script's end is a good one.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;

use super::ProvisionError;
use crate::communicator::ExitStatus;

/// A script on the machine. Signals count as `128 + number`, as in a shell and in Packer.
pub(super) fn check(status: &ExitStatus, valid: &[i32]) -> Result<(), ProvisionError> {
    let (code, signal) = match status {
        ExitStatus::Code(code) => (*code, String::new()),
        ExitStatus::Signal { name, .. } => (128 + signal_number(name), format!(" (killed by signal {name})")),
        ExitStatus::Disconnected => return Err(ProvisionError::Disconnected),
    };
    judge(code, &signal, valid)
}

/// A process of the server, signals as in [`check`].
pub(super) fn check_process(status: std::process::ExitStatus, valid: &[i32]) -> Result<(), ProvisionError> {
    let signal = status.signal().unwrap_or_default();
    let note = if signal == 0 { String::new() } else { format!(" (killed by signal {signal})") };
    judge(status.code().unwrap_or(128 + signal), &note, valid)
}

fn judge(code: i32, note: &str, valid: &[i32]) -> Result<(), ProvisionError> {
    let valid = if valid.is_empty() { &[0] } else { valid };
    if valid.contains(&code) {
        return Ok(());
    }
    let mut allowed = String::new();
    for (index, code) in valid.iter().enumerate() {
        // Writing to a string can't fail.
        let _ = write!(allowed, "{}{code}", if index == 0 { "" } else { " " });
    }
    Err(ProvisionError::Script(format!(
        "Script exited with non-zero exit status: {code}{note}. Allowed exit codes are: [{allowed}]"
    )))
}

/// Linux's numbers of the signals that RFC 4254 names; 0 for others.
fn signal_number(name: &str) -> i32 {
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ILL" => 4,
        "ABRT" => 6,
        "FPE" => 8,
        "KILL" => 9,
        "USR1" => 10,
        "SEGV" => 11,
        "USR2" => 12,
        "PIPE" => 13,
        "ALRM" => 14,
        "TERM" => 15,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert!(check(&ExitStatus::Code(0), &[]).is_ok());
        assert!(check(&ExitStatus::Code(2), &[0, 2]).is_ok());
        let text = |status, valid: &[i32]| check(&status, valid).unwrap_err().to_string();
        assert_eq!(
            text(ExitStatus::Code(3), &[0]),
            "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]"
        );
        assert_eq!(
            text(ExitStatus::Signal { name: "KILL".into(), core_dumped: false }, &[0, 5]),
            "Script exited with non-zero exit status: 137 (killed by signal KILL). Allowed exit codes are: [0 5]"
        );
        assert!(check(&ExitStatus::Signal { name: "KILL".into(), core_dumped: false }, &[137]).is_ok());

        // As the kernel reports them: the code in the second byte, the signal in the first.
        let process = |raw, valid: &[i32]| check_process(std::process::ExitStatus::from_raw(raw), valid);
        assert!(process(0, &[]).is_ok() && process(2 << 8, &[2]).is_ok() && process(9, &[137]).is_ok());
        assert_eq!(
            process(9, &[0]).unwrap_err().to_string(),
            "Script exited with non-zero exit status: 137 (killed by signal 9). Allowed exit codes are: [0]"
        );
    }
}

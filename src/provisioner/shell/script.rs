//! What is uploaded and with which variables: the pure part of the `shell` provisioner.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::communicator::ExitStatus;
use crate::domain::config::provisioner::Shell;
use crate::provisioner::{ProvisionContext, ProvisionError};

/// One script as it is uploaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) label: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn scripts(shell: &Shell, context: &ProvisionContext<'_>) -> Result<Vec<Script>, ProvisionError> {
    let convert = |bytes: Vec<u8>| if shell.binary { bytes } else { unix_lines(&bytes) };
    if !shell.inline.is_empty() {
        let bytes = convert(inline_script(shell, context)?.into_bytes());
        return Ok(vec![Script { label: "inline commands".to_owned(), bytes }]);
    }
    let read = |path: &String| match context.bundle.resolve("", path) {
        Ok(Some((name, file))) => Ok(Script { label: name.to_owned(), bytes: convert(file.bytes.clone()) }),
        Ok(None) => {
            Err(ProvisionError::Configuration(format!("the script {path:?} is not among the template's files")))
        }
        Err(error) => Err(ProvisionError::Configuration(format!("the script {path:?} can't be used: {error}"))),
    };
    shell.scripts.iter().map(read).collect()
}

/// The inline commands, one a line, under the shebang; a shebang of their own counts only while the option is unset.
fn inline_script(shell: &Shell, context: &ProvisionContext<'_>) -> Result<String, ProvisionError> {
    let lines: Vec<String> = shell
        .inline
        .iter()
        .map(|line| context.render("inline", &line.0, &BTreeMap::new()))
        .collect::<Result<_, _>>()?;
    let own = shell.inline_shebang.is_none() && lines.first().is_some_and(|line| line.starts_with("#!"));
    let mut text = String::new();
    if !own {
        text = format!("#!{}\n", shell.inline_shebang.as_deref().unwrap_or("/bin/sh -e"));
    }
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// As Packer's reader for scripts: line ends become `\n`, the last line gets one too.
fn unix_lines(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.push(b'\n');
    }
    out
}

/// All variables, sorted by name, each by `env_var_format`.
pub(super) fn variables(shell: &Shell, context: &ProvisionContext<'_>) -> Result<String, ProvisionError> {
    let none = BTreeMap::new();
    let mut all = BTreeMap::from([
        ("PACKER_BUILD_NAME".to_owned(), context.build_name.to_owned()),
        ("PACKER_BUILDER_TYPE".to_owned(), context.builder_type.to_owned()),
    ]);
    for variable in &shell.environment_vars {
        let text = context.render("environment_vars", &variable.0, &none)?;
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            // The value may be secret, so the text itself is not shown.
            ProvisionError::Configuration("an element of environment_vars is not in format NAME=value".to_owned())
        })?;
        all.insert(name.to_owned(), value.to_owned());
    }
    for (name, value) in &shell.env {
        all.insert(name.clone(), context.render("env", &value.0, &none)?);
    }
    let default = if shell.use_env_var_file { "export %s='%s'\n" } else { "%s='%s' " };
    let format = shell.env_var_format.as_deref().unwrap_or(default);
    all.iter().map(|(name, value)| variable(format, name, &value.replace('\'', r#"'"'"'"#))).collect()
}

/// `env_var_format` is a Go format with the name and the value as its two arguments.
fn variable(format: &str, name: &str, value: &str) -> Result<String, ProvisionError> {
    let wrong = |what: &str| ProvisionError::Configuration(format!("env_var_format {format:?}: {what}"));
    let mut arguments = [name, value].into_iter();
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        match (character, if character == '%' { characters.next() } else { None }) {
            ('%', Some('s' | 'v')) => {
                text.push_str(arguments.next().ok_or_else(|| wrong("it has more than two %s (name and value)"))?);
            }
            ('%', Some('%')) => text.push('%'),
            ('%', verb) => {
                let verb = verb.map(String::from).unwrap_or_default();
                return Err(wrong(&format!("the verb %{verb}: not yet; use %s for the name and %s for the value")));
            }
            (other, _) => text.push(other),
        }
    }
    if arguments.next().is_some() { Err(wrong("it needs two %s (name and value)")) } else { Ok(text) }
}

/// Signals count as `128 + number`, as in a shell and in Packer.
pub(super) fn check_exit(status: &ExitStatus, valid: &[i32]) -> Result<(), ProvisionError> {
    let (code, signal) = match status {
        ExitStatus::Code(code) => (*code, String::new()),
        ExitStatus::Signal { name, .. } => (128 + signal_number(name), format!(" (killed by signal {name})")),
        ExitStatus::Disconnected => return Err(ProvisionError::Disconnected),
    };
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
        "Script exited with non-zero exit status: {code}{signal}. Allowed exit codes are: [{allowed}]"
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
    fn line_ends_become_unix_ones() {
        assert_eq!(unix_lines(b"a\r\nb\rc\n\r\nlast\r"), b"a\nb\rc\n\nlast\n");
        assert_eq!(unix_lines(b""), b"");
    }

    #[test]
    fn formats_of_variables() {
        assert_eq!(variable("%s='%s' ", "A", "b").unwrap(), "A='b' ");
        assert_eq!(variable("100%% %v=%s", "A", "%s").unwrap(), "100% A=%s");
        for (format, what) in
            [("%s", "needs two"), ("%s%s%s", "more than two"), ("%s=%q", "%q: not yet"), ("%s%", "not yet")]
        {
            let error = variable(format, "A", "b").unwrap_err().to_string();
            assert!(error.contains(what), "{format}: {error}");
        }
    }

    #[test]
    fn exit_codes() {
        assert!(check_exit(&ExitStatus::Code(0), &[]).is_ok());
        assert!(check_exit(&ExitStatus::Code(2), &[0, 2]).is_ok());
        let text = |status, valid: &[i32]| check_exit(&status, valid).unwrap_err().to_string();
        assert_eq!(
            text(ExitStatus::Code(3), &[0]),
            "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]"
        );
        assert_eq!(
            text(ExitStatus::Signal { name: "KILL".into(), core_dumped: false }, &[0, 5]),
            "Script exited with non-zero exit status: 137 (killed by signal KILL). Allowed exit codes are: [0 5]"
        );
        assert!(check_exit(&ExitStatus::Signal { name: "KILL".into(), core_dumped: false }, &[137]).is_ok());
    }
}

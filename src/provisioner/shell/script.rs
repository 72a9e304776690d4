//! What is uploaded: the pure part of the `shell` provisioner.

use std::collections::BTreeMap;

use crate::domain::bundle::written;
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
    let read = |path: &String| match context.bundle.resolve(path) {
        Ok(Some((name, file))) => Ok(Script { label: written(name), bytes: convert(file.bytes.clone()) }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_unix_ones() {
        assert_eq!(unix_lines(b"a\r\nb\rc\n\r\nlast\r"), b"a\nb\rc\n\nlast\n");
        assert_eq!(unix_lines(b""), b"");
    }
}

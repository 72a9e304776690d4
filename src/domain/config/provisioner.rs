//! Provisioner blocks as they apply to one build: `only`, `except` and `override` are already worked in.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{LateString, milliseconds};
use crate::domain::diagnostic::SourceLocation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvisionerBlock {
    pub name: Option<String>,
    pub config: ProvisionerConfig,
    #[serde(with = "milliseconds")]
    pub pause_before: Duration,
    /// How often to try again after a failure.
    pub max_retries: u32,
    /// Time limit for one try; zero: none.
    #[serde(with = "milliseconds")]
    pub timeout: Duration,
    pub at: Option<SourceLocation>,
}

/// The provisioners that exist. The tag is Packer's provisioner type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ProvisionerConfig {
    #[serde(rename = "shell")]
    Shell(Box<Shell>),
    #[serde(rename = "shell-local")]
    ShellLocal(Box<ShellLocal>),
    #[serde(rename = "file")]
    File(Box<FileTransfer>),
    #[serde(rename = "breakpoint")]
    Breakpoint(Breakpoint),
}

impl ProvisionerConfig {
    /// Packer's provisioner type, such as `shell`.
    #[must_use]
    pub fn provisioner_type(&self) -> &'static str {
        match self {
            Self::Shell(_) => "shell",
            Self::ShellLocal(_) => "shell-local",
            Self::File(_) => "file",
            Self::Breakpoint(_) => "breakpoint",
        }
    }

    /// Whether it acts on the build's machine.
    #[must_use]
    pub fn needs_machine(&self) -> bool {
        match self {
            Self::Shell(_) | Self::File(_) => true,
            Self::ShellLocal(_) | Self::Breakpoint(_) => false,
        }
    }
}

/// The `shell` provisioner. Exactly one of `inline` and `scripts` is not empty (`script` is a `scripts` of one).
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own in Packer")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shell {
    pub inline: Vec<LateString>,
    /// Paths in the bundle; each was seen to exist.
    pub scripts: Vec<String>,
    /// `NAME=value`, in order.
    pub environment_vars: Vec<LateString>,
    /// Overrides `environment_vars`.
    pub env: IndexMap<String, LateString>,
    pub use_env_var_file: bool,
    /// `%s='%s' `, or `export %s='%s'\n` with `use_env_var_file`, when `None`.
    pub env_var_format: Option<String>,
    /// `chmod +x {{.Path}}; {{.Vars}} {{.Path}}`, or with `use_env_var_file`
    /// `chmod +x {{.Path}}; . {{.EnvVarFile}} && {{.Path}}`, when `None`.
    pub execute_command: Option<LateString>,
    /// `/bin/sh -e` when `None`; then a first inline line that starts with `#!` is left alone.
    pub inline_shebang: Option<String>,
    /// `/tmp`.
    pub remote_folder: String,
    /// `script_NNNN.sh` when `None`.
    pub remote_file: Option<String>,
    /// `remote_folder/remote_file` when `None`.
    pub remote_path: Option<String>,
    /// Leave the uploaded script where it is.
    pub skip_clean: bool,
    /// Upload scripts as they are; otherwise CRLF becomes LF.
    pub binary: bool,
    pub valid_exit_codes: Vec<i32>,
    pub expect_disconnect: bool,
    /// How long to try to start the script; 5 minutes.
    #[serde(with = "milliseconds")]
    pub start_retry_timeout: Duration,
    #[serde(with = "milliseconds")]
    pub pause_after: Duration,
}

impl Default for Shell {
    fn default() -> Self {
        Self {
            inline: Vec::new(),
            scripts: Vec::new(),
            environment_vars: Vec::new(),
            env: IndexMap::new(),
            use_env_var_file: false,
            env_var_format: None,
            execute_command: None,
            inline_shebang: None,
            remote_folder: "/tmp".to_owned(),
            remote_file: None,
            remote_path: None,
            skip_clean: false,
            binary: false,
            valid_exit_codes: vec![0],
            expect_disconnect: false,
            start_retry_timeout: Duration::from_secs(300),
            pause_after: Duration::ZERO,
        }
    }
}

/// The `shell-local` provisioner: scripts on the server's own machine. Exactly one of `inline` and `scripts` is not empty
/// (`script` is a `scripts` of one, `command` an `inline` of one).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShellLocal {
    pub inline: Vec<LateString>,
    /// Paths in the bundle; each was seen to exist.
    pub scripts: Vec<String>,
    /// `NAME=value`, in order.
    pub environment_vars: Vec<LateString>,
    /// Overrides `environment_vars`.
    pub env: IndexMap<String, LateString>,
    /// How `{{.Vars}}` has each variable; `%s='%s' ` when `None`.
    pub env_var_format: Option<String>,
    /// Program and arguments; when it is empty, the script is run by its own interpreter.
    pub execute_command: Vec<LateString>,
    /// `/bin/sh -e` when `None`.
    pub inline_shebang: Option<String>,
    /// Go's names of operating systems; empty: all.
    pub only_on: Vec<String>,
    /// What the inline script's file name ends with, without its dot.
    pub tempfile_extension: Option<String>,
    pub valid_exit_codes: Vec<i32>,
}

impl Default for ShellLocal {
    fn default() -> Self {
        Self {
            inline: Vec::new(),
            scripts: Vec::new(),
            environment_vars: Vec::new(),
            env: IndexMap::new(),
            env_var_format: None,
            execute_command: Vec::new(),
            inline_shebang: None,
            only_on: Vec::new(),
            tempfile_extension: None,
            valid_exit_codes: vec![0],
        }
    }
}

/// The `file` provisioner. For uploads exactly one of `sources` and `content` is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FileTransfer {
    /// Upload: paths in the bundle, a trailing `/` kept (it means "the contents of this folder").
    /// Download: paths on the machine.
    pub sources: Vec<LateString>,
    pub content: Option<LateString>,
    /// Upload: a path on the machine. Download: the name of the run file.
    pub destination: LateString,
    pub direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    #[default]
    Upload,
    Download,
}

/// The `breakpoint` provisioner: the build holds there and waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breakpoint {
    /// Go on without holding.
    pub disable: bool,
    /// What to tell the person.
    pub note: String,
}

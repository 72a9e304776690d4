//! Commands that run to their end, and folders for them.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What a command left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub complaint: String,
}

/// Runs a command to its end, away from the server's runtime.
pub async fn end_of(command: Command) -> Ended {
    tokio::task::spawn_blocking(move || run(command, "")).await.expect("it ends")
}

/// Runs a command to its end with this on its standard input.
pub fn run(mut command: Command, input: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    // A command that reads none of it closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended { code: status.code(), out: text(stdout), complaint: text(stderr) }
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

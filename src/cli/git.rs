//! Which commit a template's folder is at.

use std::path::Path;
use std::process::{Command, Stdio};

/// The commit that `folder` is at, with `-dirty` after it when files below `folder` differ from it. `None` when it is in
/// no git work tree, has no commit yet, or git is not installed.
#[must_use]
pub fn head(folder: &Path) -> Option<String> {
    let sha = git(folder, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    let sha = sha.trim();
    if sha.len() < 40 || !sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let changes = git(folder, &["status", "--porcelain", "--untracked-files=normal", "--", "."])?;
    Some(if changes.trim().is_empty() { sha.to_owned() } else { format!("{sha}-dirty") })
}

fn git(folder: &Path, args: &[&str]) -> Option<String> {
    // Optional locks would let a mere look fight with a git command of the user's.
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args).env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &Path, args: &[&str]) {
        let who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").arg("-C").arg(folder).args(who).args(args).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "git {args:?}");
    }

    #[test]
    fn the_commit_and_whether_it_is_clean() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(head(dir.path()), None, "no work tree");
        run(dir.path(), &["init", "--quiet"]);
        assert_eq!(head(dir.path()), None, "no commit");
        std::fs::create_dir(dir.path().join("web")).unwrap();
        std::fs::write(dir.path().join("web/a"), "1").unwrap();
        run(dir.path(), &["add", "."]);
        run(dir.path(), &["commit", "--quiet", "--message", "first"]);
        let clean = head(&dir.path().join("web")).unwrap();
        assert_eq!(clean.len(), 40);
        std::fs::write(dir.path().join("beside"), "not the template's").unwrap();
        assert_eq!(head(&dir.path().join("web")).unwrap(), clean);
        std::fs::write(dir.path().join("web/a"), "2").unwrap();
        assert_eq!(head(&dir.path().join("web")).unwrap(), format!("{clean}-dirty"));
    }
}

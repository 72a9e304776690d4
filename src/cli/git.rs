//! Which commit a template's folder is at.

use std::path::Path;
use std::process::{Command, Stdio};

/// The commit that `folder` is at, with `-dirty` after it when files below `folder` differ from it. `None` when it is in
/// no git work tree, has no commit yet, or git is not installed.
#[must_use]
pub fn head(folder: &Path) -> Option<String> {
    let sha = asked(folder)?;
    let changes = git(folder, &["status", "--porcelain", "--untracked-files=normal", "--", "."])?;
    Some(if changes.trim().is_empty() { sha } else { format!("{sha}-dirty") })
}

/// The commit alone, as quickly as it can be told: mostly without asking git, which takes longer than all else that a check
/// does.
#[must_use]
pub fn commit(folder: &Path) -> Option<String> {
    if std::env::var_os("GIT_DIR").is_some() {
        return asked(folder);
    }
    let real = std::fs::canonicalize(folder).ok()?;
    let dot_git = real.ancestors().map(|folder| folder.join(".git")).find(|path| path.exists())?;
    from_files(&dot_git).or_else(|| asked(folder))
}

/// What `HEAD` of an ordinary repository says; `None` for a linked work tree, a submodule or another format of references.
fn from_files(dot_git: &Path) -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(dot_git.join(path)).ok();
    let head = read("HEAD")?;
    let Some(reference) = head.strip_prefix("ref: ").map(str::trim) else { return commit_id(&head) };
    if let Some(loose) = read(reference) {
        return commit_id(&loose);
    }
    let packed = read("packed-refs")?;
    let line = packed.lines().find(|line| line.split_once(' ').is_some_and(|(_, name)| name == reference))?;
    commit_id(line.split_once(' ')?.0)
}

fn asked(folder: &Path) -> Option<String> {
    commit_id(&git(folder, &["rev-parse", "--verify", "--quiet", "HEAD"])?)
}

fn commit_id(text: &str) -> Option<String> {
    let id = text.trim();
    (id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
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
        assert_eq!(commit(dir.path()), None);
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

        assert_eq!(commit(&dir.path().join("web")), Some(clean.clone()));
        run(dir.path(), &["pack-refs", "--all"]);
        assert_eq!(commit(dir.path()), Some(clean.clone()), "packed references");
        run(dir.path(), &["checkout", "--quiet", "--detach"]);
        assert_eq!(commit(dir.path()), Some(clean.clone()), "no branch");
        let beside = tempfile::tempdir().unwrap();
        run(dir.path(), &["worktree", "add", "--quiet", beside.path().join("tree").to_str().unwrap()]);
        assert_eq!(commit(&beside.path().join("tree")), Some(clean), "a linked work tree");
    }
}

//! Finding `PostgreSQL`'s programs on this machine, and running them as a user they accept: `PostgreSQL` refuses to run as root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::domain::error::{Error, ErrorKind, Result};

/// The folder with `initdb` and `postgres` of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installation {
    pub bin: PathBuf,
    pub major: u32,
}

impl Installation {
    /// The newest installation, or the one of a given major version.
    pub(super) fn find(major: Option<u32>) -> Result<Self> {
        // Of equal versions the last counts: the distribution's own before what PATH happens to name.
        let mut candidates: Vec<Self> = on_path().into_iter().collect();
        candidates.extend(packaged());
        candidates.retain(|candidate| major.is_none_or(|major| candidate.major == major));
        candidates.into_iter().max_by_key(|candidate| candidate.major).ok_or_else(|| match major {
            None => unusable(
                "No database: PostgreSQL is not installed on this machine. Install PostgreSQL, or set \
                 INGOT__DATABASE__URL to one that runs elsewhere.",
            ),
            Some(major) => unusable(format!(
                "The private database was made by PostgreSQL {major}, which is not installed any more. Install \
                 PostgreSQL {major}, or set INGOT__DATABASE__URL."
            )),
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Where distributions put it: `/usr/lib/postgresql/<major>/bin` (Debian), `/usr/pgsql-<major>/bin` (PGDG for Red Hat).
fn packaged() -> Vec<Installation> {
    let folders = |root: &str| fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    folders("/usr/lib/postgresql")
        .chain(
            folders("/usr")
                .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("pgsql-"))),
        )
        .filter_map(|path| {
            let major = path.file_name()?.to_str()?.trim_start_matches("pgsql-").parse().ok()?;
            let bin = path.join("bin");
            is_complete(&bin).then_some(Installation { bin, major })
        })
        .collect()
}

fn on_path() -> Option<Installation> {
    let path = std::env::var_os("PATH")?;
    let bin = std::env::split_paths(&path).find(|folder| is_complete(folder))?;
    // Prints `postgres (PostgreSQL) 16.3 (…)`.
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some(Installation { bin, major: digits.parse().ok()? })
}

fn is_complete(bin: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| bin.join(program).is_file())
}

/// As whom `PostgreSQL`'s programs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunAs {
    /// As whoever runs Ingot.
    Myself,
    /// Ingot runs as root, and hands over to this user.
    User { name: String, uid: u32, gid: u32 },
}

impl RunAs {
    /// Root hands over to `postgres`, else to `nobody`.
    pub(super) fn choose() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Myself);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"].iter().find_map(|name| lookup(&passwd, name)).ok_or_else(|| {
            unusable(
                "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody. Run \
                 `ingot serve` as another user, or set INGOT__DATABASE__URL.",
            )
        })
    }

    /// A command that runs `program` as this user, in a folder that it can always enter. `die_with_parent`: the process gets
    /// SIGTERM when the thread that started it ends.
    pub(super) fn command(&self, program: &Path, die_with_parent: bool) -> Result<Command> {
        let mut command = match self {
            Self::Myself if !die_with_parent => Command::new(program),
            Self::Myself => {
                let mut command = Command::new(need("setpriv")?);
                command.arg("--pdeathsig=TERM").arg("--").arg(program);
                command
            }
            Self::User { uid, gid, .. } => {
                let mut command = Command::new(need("setpriv")?);
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
                if die_with_parent {
                    command.arg("--pdeathsig=TERM");
                }
                command.arg("--").arg(program);
                command
            }
        };
        command.current_dir("/").env("LC_ALL", "C").env_remove("PGDATA").env_remove("PGPORT");
        Ok(command)
    }

    /// Gives a file or folder to this user.
    pub(super) fn give(&self, path: &Path) -> Result<()> {
        let Self::User { uid, gid, .. } = self else { return Ok(()) };
        chown(path, Some(*uid), Some(*gid)).map_err(|error| file_error("give away", path, &error))
    }

    /// Makes a folder that only this user can enter; one that is there must be its own.
    pub(super) fn private_folder(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => return self.give(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(file_error("make", path, &error)),
        }
        let found = fs::symlink_metadata(path).map_err(|error| file_error("read", path, &error))?;
        let uid = match self {
            Self::Myself => rustix::process::geteuid().as_raw(),
            Self::User { uid, .. } => *uid,
        };
        if !found.is_dir() || found.uid() != uid || found.permissions().mode() & 0o077 != 0 {
            return Err(unusable(format!(
                "{} is there already and is not a private folder of the user that runs PostgreSQL; remove it.",
                path.display()
            )));
        }
        Ok(())
    }

    /// Checks that this user can reach a folder, and says which parent is in the way.
    pub(super) fn check_reach(&self, path: &Path) -> Result<()> {
        let Self::User { name, .. } = self else { return Ok(()) };
        let reached = self.command(Path::new("/usr/bin/test"), false)?.arg("-d").arg(path).status();
        if reached.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        let closed = path
            .ancestors()
            .skip(1)
            .filter(|parent| fs::metadata(parent).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0));
        let closed = closed.last().unwrap_or(path);
        Err(unusable(format!(
            "PostgreSQL does not run as root, and user {name} can't enter {0}. Choose another INGOT__DATA_DIR (such as \
             /var/lib/ingot), run `chmod o+x {0}`, run `ingot serve` as another user, or set INGOT__DATABASE__URL.",
            closed.display()
        )))
    }
}

fn lookup(passwd: &str, wanted: &str) -> Option<RunAs> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (name == wanted).then(|| RunAs::User { name: name.to_owned(), uid, gid })
    })
}

fn need(program: &str) -> Result<PathBuf> {
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].into_iter().map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file()).ok_or_else(
        || {
            unusable(format!(
                "`{program}` (util-linux) is not installed, and it is needed to run PostgreSQL as another user than \
                 root. Install it, run `ingot serve` as another user, or set INGOT__DATABASE__URL."
            ))
        },
    )
}

/// The private database can't be had; the text says what to do.
pub(super) fn unusable(public: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, "private-database", public)
}

pub(super) fn file_error(what: &str, path: &Path, error: &std::io::Error) -> Error {
    unusable(format!("Can't {what} {}: {error}.", path.display()))
}

/// Runs a program to its end and turns its complaint into an error.
pub(super) fn run_to_end(mut command: Command, what: &str) -> Result<()> {
    let output = command.output().map_err(|error| unusable(format!("{what} can't be started: {error}.")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(unusable(format!("{what} failed ({}): {complaint}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:n:/:/bin/false\n";
        let nobody = RunAs::User { name: "nobody".into(), uid: 65534, gid: 65533 };
        assert_eq!(lookup(passwd, "nobody"), Some(nobody));
        assert_eq!(lookup(passwd, "postgres"), None);
    }

    #[test]
    fn a_missing_version_is_named() {
        let error = Installation::find(Some(7)).unwrap_err();
        assert!(error.public.contains("PostgreSQL 7") && error.public.contains("INGOT__DATABASE__URL"));
    }
}

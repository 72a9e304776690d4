//! Emptying a machine, as the last thing before its image is made, of what must not be in an image: our way in, its
//! identity, and what is left over from the build. AMIs that keep the temporary key or a machine id are an old complaint
//! about image builders.

use crate::communicator::shell_quote;

/// Prints a line for each thing done (`clean: …`) and for each that failed (`clean: warning: …`), and ends with 0 either
/// way: an image with a leftover is still what was asked for, the caller decides. `$1` a folder to work below (tests), `$2`
/// the user, `$3` our public key's Base64 (empty: there is none), `$4` not empty: nothing but the key is removed.
///
/// POSIX sh. Files are emptied or rewritten in place so that owner, mode and labels stay.
const SCRIPT: &str = r#"
root=$1; user=$2; blob=$3; only=$4; tab=$(printf '\t'); seen=' '
say() { printf 'clean: %s\n' "$*"; }
warn() { printf 'clean: warning: %s\n' "$*"; }

homes() {
  { cat "$root/etc/passwd"; [ -n "$root" ] || getent passwd "$user"; } 2>/dev/null |
    while IFS=: read -r _ _ _ _ _ home _; do [ -n "$home" ] && printf '%s\n' "$root$home"; done
  for home in "$root/root" "$root"/home/*; do printf '%s\n' "$home"; done
}

remove_key() {
  file=$1
  [ -n "$blob" ] || return 0
  grep -qF -- "$blob" "$file" 2>/dev/null || return 0
  kept=$(while IFS= read -r line || [ -n "$line" ]; do
    case "$line " in
      *[" $tab"]"$blob"[" $tab"]*) ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <"$file") || { warn "can't read $file"; return 0; }
  if { if [ -n "$kept" ]; then printf '%s\n' "$kept"; fi; } 2>/dev/null >"$file"; then
    say "removed the temporary public key from $file"
  else
    warn "can't write $file"
  fi
}

remove_files() {
  what=$1; shift; count=0
  for file in "$@"; do
    if [ -f "$file" ] || [ -L "$file" ]; then
      if rm -f -- "$file" 2>/dev/null; then count=$((count + 1)); else warn "can't remove $file"; fi
    fi
  done
  [ "$count" -eq 0 ] || say "removed $count $what"
}

empty_folder() {
  (
    cd "$1" 2>/dev/null || exit 0
    find . -xdev ! -type d -exec rm -f -- {} + 2>/dev/null
    find . -xdev -depth -type d ! -name . -exec rmdir -- {} + 2>/dev/null
    left=$(find . -xdev ! -name . 2>/dev/null | wc -l)
    say "emptied $1"
    [ "$left" -eq 0 ] || warn "$((left)) entries of $1 are in use and stay"
  )
}

homes | while IFS= read -r home; do
  case "$seen" in *" $home "*) continue ;; esac
  seen="$seen$home "
  remove_key "$home/.ssh/authorized_keys"
  remove_key "$home/.ssh/authorized_keys2"
  [ -z "$only" ] || continue
  remove_files "shell history file(s) of $home" "$home/.bash_history" "$home/.zsh_history" "$home/.sh_history" \
    "$home/.ash_history" "$home/.ksh_history" "$home/.local/share/fish/fish_history"
done
if [ -n "$only" ]; then say done; exit 0; fi

if [ -e "$root/etc/machine-id" ]; then
  if printf '' 2>/dev/null >"$root/etc/machine-id"; then say "emptied $root/etc/machine-id"
  else warn "can't empty $root/etc/machine-id"; fi
fi
dbus=$root/var/lib/dbus/machine-id
if [ -f "$dbus" ] && [ ! -L "$dbus" ]; then remove_files "D-Bus machine id" "$dbus"; fi

cloud_state=1
if [ -z "$root" ] && command -v cloud-init >/dev/null 2>&1; then
  if cloud-init clean --logs >/dev/null 2>&1; then say "cloud-init cleaned itself"; cloud_state=0
  else warn "cloud-init clean failed, removing its state instead"; fi
fi
if [ "$cloud_state" = 1 ] && [ -d "$root/var/lib/cloud" ]; then
  if rm -rf -- "$root/var/lib/cloud/instance" "$root/var/lib/cloud/instances" "$root/var/lib/cloud/data" \
    "$root/var/lib/cloud/sem" 2>/dev/null; then say "removed cloud-init's state"
  else warn "can't remove all of cloud-init's state"; fi
  remove_files "cloud-init log(s)" "$root"/var/log/cloud-init.log "$root"/var/log/cloud-init-output.log
fi

empty_folder "$root/tmp"
empty_folder "$root/var/tmp"
remove_files "SSH host key file(s)" "$root"/etc/ssh/ssh_host_*_key "$root"/etc/ssh/ssh_host_*_key.pub \
  "$root"/etc/ssh/ssh_host_*_key-cert.pub
say done
exit 0
"#;

/// The command line that cleans the machine: removes our public key from every user's authorized keys, machine ids, SSH host
/// keys, cloud-init's state, shell histories, and what is in `/tmp` and `/var/tmp`. It works by `sudo -n` unless the user
/// is root. The present connection goes on; a new one may be impossible afterwards, so this comes last.
///
/// `public_key` is an OpenSSH line; only its key, not its comment, is compared. `None`: the build made none. Its output is
/// for [`report`].
#[must_use]
pub fn clean_commands(username: &str, public_key: Option<&str>) -> String {
    as_root(&arguments("", username, public_key, false))
}

/// As [`clean_commands`], but removes nothing besides our public key.
#[must_use]
pub fn remove_key_commands(username: &str, public_key: Option<&str>) -> String {
    as_root(&arguments("", username, public_key, true))
}

fn as_root(arguments: &str) -> String {
    let script = shell_quote(SCRIPT);
    format!(
        "if [ \"$(id -u)\" = 0 ]; then sh -c {script} clean {arguments}; else sudo -n sh -c {script} clean {arguments}; fi"
    )
}

fn arguments(root: &str, username: &str, public_key: Option<&str>, only_key: bool) -> String {
    // The second word, or the only one when the Base64 alone is given.
    let mut words = public_key.unwrap_or_default().split_whitespace();
    let first = words.next().unwrap_or_default();
    let blob = words.next().unwrap_or(first);
    let only = if only_key { "key" } else { "" };
    format!("{} {} {} {}", shell_quote(root), shell_quote(username), shell_quote(blob), shell_quote(only))
}

/// What the cleaning said it did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CleanReport {
    pub done: Vec<String>,
    pub warnings: Vec<String>,
    /// Whether it came to its end.
    pub complete: bool,
}

/// Reads the output of [`clean_commands`].
#[must_use]
pub fn report(output: &str) -> CleanReport {
    let mut report = CleanReport::default();
    for line in output.lines() {
        let Some(text) = line.trim_end().strip_prefix("clean: ") else { continue };
        match text.strip_prefix("warning: ") {
            Some(warning) => report.warnings.push(warning.to_owned()),
            None if text == "done" => report.complete = true,
            None => report.done.push(text.to_owned()),
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    const OURS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOurTemporaryKeyBlob ingot";
    const THEIRS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITheirKeyBlob admin@example.org";

    fn write(root: &std::path::Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs the script below a folder with a shell of this machine.
    fn run(root: &std::path::Path) -> CleanReport {
        run_with(root, Some(OURS), false)
    }

    fn run_with(root: &std::path::Path, key: Option<&str>, only_key: bool) -> CleanReport {
        let line = arguments(root.to_str().unwrap(), "ubuntu", key, only_key);
        let output =
            Command::new("sh").arg("-c").arg(format!("sh -c {} clean {line}", shell_quote(SCRIPT))).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let root = root.to_str().unwrap();
        report(&String::from_utf8(output.stdout).unwrap().replace(root, ""))
    }

    #[test]
    fn the_key_alone_can_be_removed_and_without_one_none_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "home/ubuntu/.ssh/authorized_keys", &format!("{THEIRS}\n{OURS}\na  b\n"));
        write(root, "home/ubuntu/.bash_history", "x");
        write(root, "etc/machine-id", "0123\n");
        let keys = || fs::read_to_string(root.join("home/ubuntu/.ssh/authorized_keys")).unwrap();
        let without = run_with(root, None, true);
        assert!(without.done.is_empty() && without.complete && keys().contains("a  b"), "{without:?}");
        let only = run_with(root, Some(OURS), true);
        assert_eq!(only.done, ["removed the temporary public key from /home/ubuntu/.ssh/authorized_keys"]);
        assert!(keys().contains(THEIRS) && !keys().contains(OURS));
        assert!(root.join("home/ubuntu/.bash_history").exists());
        assert_eq!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), "0123\n");
    }

    #[test]
    fn it_removes_what_is_ours_and_keeps_what_is_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\nsvc:x:2:2::/srv/svc:/bin/sh\n",
        );
        write(root, "root/.ssh/authorized_keys", &format!("no-pty,command=\"echo no\" {OURS}\n"));
        let longer = OURS.replace("Blob", "Blob2");
        write(root, "home/ubuntu/.ssh/authorized_keys", &format!("# {THEIRS}\n{THEIRS}\n{OURS}\n\n{longer}"));
        write(root, "home/unlisted/.ssh/authorized_keys", OURS);
        write(root, "srv/svc/.ssh/authorized_keys", THEIRS);
        write(root, "home/ubuntu/.bash_history", "secret");
        write(root, "home/ubuntu/data", "baked");
        write(root, "etc/machine-id", "0123\n");
        write(root, "var/lib/dbus/machine-id", "0123\n");
        write(root, "etc/ssh/ssh_host_ed25519_key", "x");
        write(root, "etc/ssh/ssh_host_ed25519_key.pub", "x");
        write(root, "etc/ssh/sshd_config", "baked");
        write(root, "var/lib/cloud/instances/i-1/x", "x");
        write(root, "var/lib/cloud/seed/nocloud/meta-data", "baked");
        write(root, "var/log/cloud-init.log", "x");
        write(root, "tmp/a b/.hidden/c", "x");
        write(root, "var/tmp/y", "x");

        let report = run(root);
        insta::assert_snapshot!(report.done.join("\n"), @r"
        removed the temporary public key from /root/.ssh/authorized_keys
        removed the temporary public key from /home/ubuntu/.ssh/authorized_keys
        removed 1 shell history file(s) of /home/ubuntu
        removed the temporary public key from /home/unlisted/.ssh/authorized_keys
        emptied /etc/machine-id
        removed 1 D-Bus machine id
        removed cloud-init's state
        removed 1 cloud-init log(s)
        emptied /tmp
        emptied /var/tmp
        removed 2 SSH host key file(s)
        ");
        assert_eq!((report.warnings, report.complete), (vec![], true));
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("home/ubuntu/.ssh/authorized_keys"), format!("# {THEIRS}\n{THEIRS}\n\n{longer}\n"));
        assert_eq!(
            (read("root/.ssh/authorized_keys"), read("home/unlisted/.ssh/authorized_keys")),
            (String::new(), String::new())
        );
        assert_eq!(read("srv/svc/.ssh/authorized_keys"), THEIRS, "not even its missing line end is touched");
        assert_eq!((read("etc/machine-id"), read("home/ubuntu/data")), (String::new(), "baked".to_owned()));
        assert_eq!(read("var/lib/cloud/seed/nocloud/meta-data"), "baked");
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
        assert!(root.join("etc/ssh/sshd_config").exists() && !root.join("etc/ssh/ssh_host_ed25519_key").exists());
    }

    #[test]
    fn a_bare_machine_is_no_problem_and_twice_is_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run(folder.path()), CleanReport { complete: true, ..CleanReport::default() });
        write(folder.path(), "tmp/x", "x");
        run(folder.path());
        assert!(run(folder.path()).warnings.is_empty());
    }

    #[test]
    fn what_can_t_be_done_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/machine-id")).unwrap();
        let report = run(folder.path());
        assert_eq!(report.warnings, ["can't empty /etc/machine-id"]);
        assert!(report.complete, "the rest is still done");
    }

    #[test]
    fn the_command_quotes_its_arguments() {
        let command = clean_commands("it's", Some(OURS));
        assert!(
            command.ends_with(r"clean '' 'it'\''s' 'AAAAC3NzaC1lZDI1NTE5AAAAIOurTemporaryKeyBlob' ''; fi"),
            "{command}"
        );
        assert!(Command::new("sh").args(["-n", "-c", &command]).status().unwrap().success());
    }
}

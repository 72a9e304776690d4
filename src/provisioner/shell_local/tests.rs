//! The `shell-local` provisioner with real processes.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::communicator::ssh::test_support::Collected;
use crate::domain::config::provisioner::{ProvisionerBlock, ProvisionerConfig};
use crate::provisioner::run_block;
use crate::provisioner::test_support::World;

fn inline(lines: &[&str]) -> ShellLocal {
    ShellLocal { inline: lines.iter().map(|line| LateString::from(*line)).collect(), ..ShellLocal::default() }
}

/// Runs it without a machine; what it printed, or why it failed.
async fn outcome(local: &ShellLocal, world: &World) -> Result<String, ProvisionError> {
    let output = Collected::default();
    let context = ProvisionContext { machine: None, output: &output, ..world.context() };
    local.provision(&context).await.map(|_| format!("{}{}", output.stdout(), output.stderr()))
}

/// Whether a process is there and has not ended.
fn is_alive(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

async fn wait_gone(id: &str) {
    let began = Instant::now();
    while is_alive(id) {
        assert!(began.elapsed() < Duration::from_secs(60), "the process {id} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn commands_run_in_the_template_s_files_and_leave_nothing() {
    let mut world = World::default();
    world.bundle.insert("conf/names.txt", b"ann\n".to_vec(), false).unwrap();
    let lines = ["cat conf/names.txt", "echo err >&2", "touch made \"$TMPDIR/x\"", "dirname \"$PWD\" && echo $HOME"];
    let printed = outcome(&inline(&lines), &world).await.unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    let [name, parent, home, error] = lines.as_slice() else { panic!("{printed}") };
    assert_eq!((*name, *error, *parent), ("ann", "err", *home));
    assert!(!Path::new(home).exists(), "{home}");
    assert_eq!(world.said(), "Running local shell script: inline commands");
    assert_eq!(world.machine.log(), "", "nothing is done on a machine");
}

/// The environment that cargo gives to the tests stands for the server's.
#[tokio::test]
async fn nothing_of_the_server_s_environment_is_passed_on() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let mut local = inline(&["tr '\\0' '\\n' </proc/$$/environ"]);
    local.environment_vars = vec!["WORD=it's".into(), "PLACE=list".into()];
    local.env.insert("PLACE".to_owned(), "map".into());
    let printed = outcome(&local, &World::default()).await.unwrap();
    let mut names: Vec<&str> = printed.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let own =
        ["HOME", "LANG", "PACKER_BUILDER_TYPE", "PACKER_BUILD_NAME", "PACKER_RUN_UUID", "PATH", "PLACE", "TMPDIR"];
    assert_eq!(names, [&own[..], &["WORD"]].concat(), "{printed}");
    for line in ["WORD=it's", "PLACE=map", "PACKER_BUILD_NAME=amazon-ebs.web", "PACKER_RUN_UUID=7e57"] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    let closed = outcome(&inline(&["read -r line || echo nothing to read"]), &World::default()).await;
    assert_eq!(closed.unwrap(), "nothing to read\n");
}

#[tokio::test]
async fn exit_codes_decide() {
    let world = World::default();
    let mut local = inline(&["echo before", "exit 3", "echo after"]);
    let error = outcome(&local, &world).await.unwrap_err();
    assert_eq!(error.to_string(), "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]");
    local.valid_exit_codes = vec![0, 3];
    assert_eq!(outcome(&local, &world).await.unwrap(), "before\n");
    let killed = outcome(&inline(&["kill -KILL $$"]), &world).await.unwrap_err().to_string();
    assert!(killed.contains("137 (killed by signal 9)"), "{killed}");
}

#[tokio::test]
async fn scripts_of_the_bundle_run_by_their_own_interpreter_until_one_fails() {
    let mut world = World::default();
    for (path, text) in [
        ("a/one.sh", "#!/bin/sh -e\necho \"one $0\" | sed 's|/.*/files/||'\n"),
        ("two", "echo two\n"),
        ("three.sh", "#!/bin/sh\nexit 1\n"),
    ] {
        world.bundle.insert(path, text.as_bytes().to_vec(), false).unwrap();
    }
    let mut local = ShellLocal { scripts: vec!["./a/one.sh".into(), "two".into()], ..ShellLocal::default() };
    assert_eq!(outcome(&local, &world).await.unwrap(), "one a/one.sh\ntwo\n");
    local.scripts = vec!["three.sh".into(), "two".into()];
    outcome(&local, &world).await.unwrap_err();
    insta::assert_snapshot!(world.said(), @r"
    Running local shell script: a/one.sh
    Running local shell script: two
    Running local shell script: three.sh
    ");
    local.scripts = vec!["missing.sh".into()];
    let error = outcome(&local, &world).await.unwrap_err();
    assert_eq!(error.to_string(), "the script \"missing.sh\" is not among the template's files");
}

#[test]
fn interpreters() {
    let words = |text: &[u8]| interpreter(text).into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>();
    assert_eq!(words(b"#!/usr/bin/env python3 -u \r\nx"), ["/usr/bin/env", "python3 -u"]);
    assert_eq!(words(b"#!/bin/bash"), ["/bin/bash"]);
    assert_eq!(words(b"echo\n"), ["/bin/sh"]);
    assert_eq!(words(b"#!\n"), ["/bin/sh"]);
    assert!(words(b"\x7fELF\x02").is_empty());
}

#[tokio::test]
async fn the_template_s_own_command_is_a_program_and_its_arguments() {
    let world = World::default();
    let mut local = inline(&["echo \"$A\""]);
    local.env.insert("A".to_owned(), "it's".into());
    let command = ["/bin/sh", "-c", "echo {{.Command}} | sed 's|.*/||'; {{ .Vars }} exec /bin/sh {{.Script}}"];
    local.execute_command = command.into_iter().map(LateString::from).collect();
    local.tempfile_extension = Some("sh".to_owned());
    assert_eq!(outcome(&local, &world).await.unwrap(), "packer-shell.sh\nit's\n");
    local.execute_command = ["/bin/echo", "{{ .Vars }}"].into_iter().map(LateString::from).collect();
    local.env_var_format = Some("%s:%s,".to_owned());
    let all = r#"A:it'"'"'s,PACKER_BUILDER_TYPE:amazon-ebs,PACKER_BUILD_NAME:amazon-ebs.web,"#;
    assert_eq!(outcome(&local, &world).await.unwrap(), format!("{all}\n"));
    local.execute_command.clear();
    local.env_var_format = Some("export %s='%s';".to_owned());
    assert_eq!(outcome(&local, &world).await.unwrap(), "it's\n");
    local.execute_command = vec!["/nowhere/shell".into(), "{{.Script}}".into()];
    let error = outcome(&local, &world).await.unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/shell can't be started on the server: No such file"), "{error}");
}

#[tokio::test]
async fn other_systems_are_skipped() {
    let world = World::default();
    let mut local = ShellLocal { only_on: vec!["darwin".into(), "windows".into()], ..inline(&["exit 1"]) };
    assert_eq!(outcome(&local, &world).await.unwrap(), "");
    assert_eq!(world.said(), "Skipping shell-local due to runtime OS");
    local.only_on.push("linux".into());
    outcome(&local, &world).await.unwrap_err();
}

/// Prints the number of a child that would live for long, and waits for it.
const WITH_CHILD: [&str; 4] = ["trap 'echo told; exit 1' TERM", "sleep 600 &", "echo $!", "wait"];

#[tokio::test]
async fn a_cancel_ends_the_script_with_its_children() {
    let (world, output) = (World::default(), Collected::default());
    let context = ProvisionContext { machine: None, output: &output, ..world.context() };
    let local = inline(&WITH_CHILD);
    let cancel = async {
        let child = output.first_line().await;
        assert!(is_alive(&child));
        world.cancel.cancel();
        child
    };
    let (result, child) = tokio::join!(local.provision(&context), cancel);
    assert!(result.unwrap_err().is_cancelled());
    wait_gone(&child).await;
    assert!(output.stdout().ends_with("told\n"), "it may clean up: {}", output.stdout());
}

#[tokio::test]
async fn a_time_limit_ends_the_script_with_its_children() {
    let (world, output) = (World::default(), Collected::default());
    let context = ProvisionContext { machine: None, output: &output, ..world.context() };
    let limit = Duration::from_millis(500);
    let block = ProvisionerBlock {
        name: None,
        config: ProvisionerConfig::ShellLocal(Box::new(inline(&WITH_CHILD))),
        pause_before: Duration::ZERO,
        max_retries: 0,
        timeout: limit,
        at: None,
    };
    let error = run_block(&block, &context).await.unwrap_err();
    assert_eq!(error, ProvisionError::TimedOut { after: limit, killed: true });
    if let Some((child, _)) = output.stdout().split_once('\n') {
        wait_gone(child).await;
    }
}

/// As when the lease is lost or the grace of a stopping server is over.
#[tokio::test]
async fn a_script_whose_future_is_dropped_is_killed_even_when_it_does_not_want_to() {
    let (world, output) = (World::default(), Collected::default());
    let context = ProvisionContext { machine: None, output: &output, ..world.context() };
    let local = inline(&["trap '' TERM HUP INT", "sleep 600 &", "echo \"$! $HOME\"", "wait"]);
    let line = tokio::select! {
        _ = local.provision(&context) => panic!("it never ends"),
        line = output.first_line() => line,
    };
    let (child, home) = line.split_once(' ').unwrap();
    wait_gone(child).await;
    while Path::new(home).exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_a_script_leaves_running_ends_with_it() {
    let printed = outcome(&inline(&["sleep 600 &", "echo $!"]), &World::default()).await.unwrap();
    wait_gone(printed.trim()).await;
    // What is written through another process is not cut off.
    let late = inline(&["(sleep 0.3; echo late) &"]);
    assert_eq!(outcome(&late, &World::default()).await.unwrap(), "late\n");
    // A signal to its own group is the script's own affair.
    let own = inline(&["trap '' TERM", "kill 0", "echo still here"]);
    assert_eq!(outcome(&own, &World::default()).await.unwrap(), "still here\n");
}

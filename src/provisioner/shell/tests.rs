//! The `shell` provisioner on a machine in memory.

use std::sync::Arc;

use super::*;
use crate::communicator::fake::Answer;
use crate::communicator::ssh::SshConnection;
use crate::communicator::ssh::test_support::{Collected, Sshd};
use crate::domain::config::LateString;
use crate::provisioner::test_support::World;

fn inline(lines: &[&str]) -> Shell {
    Shell { inline: lines.iter().map(|line| LateString::from(*line)).collect(), ..Shell::default() }
}

fn lost() -> CommunicatorError {
    CommunicatorError::ConnectionLost("reset".to_owned())
}

fn file(world: &World, path: &str) -> String {
    String::from_utf8(world.machine.state().files[path].0.clone()).unwrap()
}

#[tokio::test]
async fn inline_commands_run_as_a_script_and_leave_nothing() {
    let world = World::default();
    let mut shell = inline(&["echo one", "echo two"]);
    shell.provision(&world.context()).await.unwrap();
    insta::assert_snapshot!(world.machine.log(), @r"
    upload /tmp/script_42.sh 0755
    run chmod +x /tmp/script_42.sh; PACKER_BUILDER_TYPE='amazon-ebs' PACKER_BUILD_NAME='amazon-ebs.web'  /tmp/script_42.sh
    remove /tmp/script_42.sh
    ");
    assert!(world.machine.state().files.is_empty());
    shell.skip_clean = true;
    shell.provision(&world.context()).await.unwrap();
    assert_eq!(file(&world, "/tmp/script_42.sh"), "#!/bin/sh -e\necho one\necho two\n");
}

#[tokio::test]
async fn the_shebang_is_the_option_s_or_the_first_line_s() {
    let mut shell = inline(&["#!/bin/bash", "x"]);
    let world = World::default();
    let script = |shell: &Shell| String::from_utf8(script::scripts(shell, &world.context()).unwrap()[0].bytes.clone());
    assert_eq!(script(&shell).unwrap(), "#!/bin/bash\nx\n");
    shell.inline_shebang = Some("/bin/sh -ex".to_owned());
    assert_eq!(script(&shell).unwrap(), "#!/bin/sh -ex\n#!/bin/bash\nx\n");
}

#[tokio::test]
async fn variables_are_sorted_quoted_and_overridden_by_the_map() {
    let world = World::default();
    let mut shell = inline(&["x"]);
    shell.environment_vars = vec!["B=it's".into(), "A=1=2".into(), "C=list".into()];
    shell.env.insert("C".to_owned(), "map".into());
    let variables = |shell: &Shell| environment::variables(&shell.environment_vars, &shell.env, &world.context());
    insta::assert_snapshot!(environment::formatted(&variables(&shell).unwrap(), "%s='%s' ").unwrap(),
        @r#"A='1=2' B='it'"'"'s' C='map' PACKER_BUILDER_TYPE='amazon-ebs' PACKER_BUILD_NAME='amazon-ebs.web' "#);
    shell.environment_vars = vec!["secret".into()];
    let error = variables(&shell).unwrap_err().to_string();
    assert_eq!(error, "an element of environment_vars is not in format NAME=value");
}

#[tokio::test]
async fn variables_can_go_into_a_file_that_only_the_user_reads() {
    let world = World::default();
    let mut shell = inline(&["x"]);
    shell.use_env_var_file = true;
    shell.remote_folder = "/opt".to_owned();
    shell.remote_file = Some("setup.sh".to_owned());
    shell.env.insert("KEY".to_owned(), "v".into());
    shell.provision(&world.context()).await.unwrap();
    insta::assert_snapshot!(world.machine.log(), @r"
    upload /opt/varfile_42.sh 0600
    upload /opt/setup.sh 0755
    run chmod +x /opt/setup.sh; . /opt/varfile_42.sh && /opt/setup.sh
    remove /opt/setup.sh
    remove /opt/varfile_42.sh
    ");
    shell.skip_clean = true;
    shell.provision(&world.context()).await.unwrap();
    let text = "export KEY='v'\nexport PACKER_BUILDER_TYPE='amazon-ebs'\nexport PACKER_BUILD_NAME='amazon-ebs.web'\n";
    assert_eq!(file(&world, "/opt/varfile_42.sh"), text);
}

#[tokio::test]
async fn scripts_come_from_the_bundle_and_run_by_the_template_s_own_command() {
    let mut world = World::default();
    world.bundle.insert("scripts/a.sh", b"one\r\ntwo".to_vec(), false).unwrap();
    world.bundle.insert("b.bin", b"\r\n".to_vec(), true).unwrap();
    let mut shell = Shell {
        scripts: vec!["./scripts/a.sh".to_owned(), "b.bin".to_owned()],
        execute_command: Some("sudo env {{ .Vars }} {{ .Path }}".into()),
        remote_path: Some("/var/run/me".to_owned()),
        ..Shell::default()
    };
    let context = world.context();
    let machine = context.machine.map(|machine| MachineAccess { pty: true, ..machine });
    shell.provision(&ProvisionContext { machine, ..context }).await.unwrap();
    insta::assert_snapshot!(world.machine.log(), @r"
    upload /var/run/me 0755
    run (pty) sudo env PACKER_BUILDER_TYPE='amazon-ebs' PACKER_BUILD_NAME='amazon-ebs.web'  /var/run/me
    remove /var/run/me
    upload /var/run/me 0755
    run (pty) sudo env PACKER_BUILDER_TYPE='amazon-ebs' PACKER_BUILD_NAME='amazon-ebs.web'  /var/run/me
    remove /var/run/me
    ");
    insta::assert_snapshot!(world.said(), @r"
    Provisioning with shell script: scripts/a.sh
    Provisioning with shell script: b.bin
    ");
    let bytes = |shell: &Shell| -> Vec<Vec<u8>> {
        script::scripts(shell, &world.context()).unwrap().into_iter().map(|script| script.bytes).collect()
    };
    assert_eq!(bytes(&shell), [b"one\ntwo\n".to_vec(), b"\n".to_vec()]);
    shell.binary = true;
    assert_eq!(bytes(&shell), [b"one\r\ntwo".to_vec(), b"\r\n".to_vec()]);
    shell.scripts = vec!["missing.sh".to_owned()];
    let error = shell.provision(&world.context()).await.unwrap_err();
    assert_eq!(error.to_string(), "the script \"missing.sh\" is not among the template's files");
}

#[tokio::test]
async fn a_failed_script_stops_the_rest_and_is_still_removed() {
    let world = World::default();
    world.machine.state().answers.push_back(Answer::Exit(ExitStatus::Code(3)));
    let error = inline(&["false"]).provision(&world.context()).await.unwrap_err();
    assert_eq!(error.to_string(), "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]");
    assert!(world.machine.state().files.is_empty());
}

#[tokio::test]
async fn a_render_error_names_the_option() {
    let world = World::default();
    let shell = Shell { execute_command: Some("{{ .Nope }}".into()), ..inline(&["x"]) };
    let error = shell.provision(&world.context()).await.unwrap_err().to_string();
    assert!(error.starts_with("execute_command can't be rendered: unknown action"), "{error}");
}

#[tokio::test]
async fn a_disconnect_is_an_error_unless_it_was_expected() {
    let world = World::default();
    world.machine.state().answers.push_back(Answer::Exit(ExitStatus::Disconnected));
    let error = inline(&["reboot"]).provision(&world.context()).await.unwrap_err().to_string();
    assert!(error.starts_with("Script disconnected unexpectedly. If you expected"), "{error}");
    assert!(!world.machine.log().contains("reconnect"), "a failed build does not wait for the machine");
}

#[tokio::test]
async fn after_an_expected_disconnect_the_machine_is_waited_for() {
    for (expect_disconnect, valid_exit_codes) in [(true, vec![0]), (false, vec![0, DISCONNECT_CODE])] {
        let world = World::default();
        world.machine.state().answers.extend([
            Answer::Exit(ExitStatus::Disconnected),
            Answer::Output("stopping\n", ExitStatus::Code(0)),
            Answer::Exit(ExitStatus::Disconnected),
            Answer::Output("starting\n", ExitStatus::Code(0)),
        ]);
        let shell = Shell { valid_exit_codes, expect_disconnect, ..inline(&["reboot"]) };
        shell.provision(&world.context()).await.unwrap();
        let log: Vec<_> = world.machine.log().lines().skip(2).map(str::to_owned).collect();
        let look = format!("run {LOOK_COMMAND}");
        assert_eq!(log, [&look, "reconnect", &look, &look, "reconnect", &look, "remove /tmp/script_42.sh"]);
    }
}

#[tokio::test]
async fn a_lost_connection_before_the_start_is_made_anew() {
    let world = World::default();
    world.machine.state().upload_errors.extend([lost(), lost()]);
    inline(&["x"]).provision(&world.context()).await.unwrap();
    insta::assert_snapshot!(world.machine.log(), @r"
    upload /tmp/script_42.sh 0755
    reconnect
    upload /tmp/script_42.sh 0755
    reconnect
    upload /tmp/script_42.sh 0755
    run chmod +x /tmp/script_42.sh; PACKER_BUILDER_TYPE='amazon-ebs' PACKER_BUILD_NAME='amazon-ebs.web'  /tmp/script_42.sh
    remove /tmp/script_42.sh
    ");
    let world = World::default();
    world.machine.state().upload_errors.push_back(lost());
    let shell = Shell { start_retry_timeout: Duration::ZERO, ..inline(&["x"]) };
    assert_eq!(shell.provision(&world.context()).await.unwrap_err(), ProvisionError::Communicator(lost()));
}

#[tokio::test]
async fn it_pauses_afterwards() {
    let world = World::default();
    let shell = Shell { pause_after: Duration::from_millis(30), ..inline(&["x"]) };
    let before = Instant::now();
    shell.provision(&world.context()).await.unwrap();
    assert!(before.elapsed() >= shell.pause_after);
}

/// The whole way over a real sshd: variables, output, exit code, clean-up, and coming back after a disconnect.
#[tokio::test]
async fn it_works_on_a_real_machine() {
    let sshd = Sshd::start();
    let (world, output) = (World::default(), Collected::default());
    let connection =
        SshConnection::connect(sshd.target(), Duration::from_secs(20), Arc::new(|_| {}), &world.cancel).await.unwrap();
    let machine = Some(MachineAccess { communicator: &connection, reconnect: &connection, pty: false });
    let context = ProvisionContext { machine, output: &output, ..world.context() };
    let folder = sshd.path("scripts dir");
    std::fs::create_dir(&folder).unwrap();
    let mut shell = inline(&["echo \"$PACKER_BUILD_NAME $WORD\"", "echo err >&2", "false", "echo not reached"]);
    shell.env.insert("WORD".to_owned(), "it's".into());
    shell.remote_folder.clone_from(&folder);
    shell.execute_command = Some("chmod +x '{{.Path}}'; {{.Vars}} '{{.Path}}'".into());
    let error = shell.provision(&context).await.unwrap_err();
    assert_eq!(error.to_string(), "Script exited with non-zero exit status: 1. Allowed exit codes are: [0]");
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("amazon-ebs.web it's\n", "err\n"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");

    // The parent of the command's shell is the connection's own sshd process, so this is what a reboot looks like from here.
    let shell = Shell {
        expect_disconnect: true,
        execute_command: Some("kill -9 $PPID; sleep 5 # {{.Path}}".into()),
        remote_folder: folder.clone(),
        ..inline(&["x"])
    };
    shell.provision(&context).await.unwrap();
    assert!(world.said().contains("Waiting for the machine to come back..."), "{}", world.said());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "removed over the new connection");
}

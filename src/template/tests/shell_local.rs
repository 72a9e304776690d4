//! The `shell-local` provisioner's options.

use super::*;
use crate::domain::config::provisioner::ShellLocal;
use crate::domain::config::{LateString, ProvisionerConfig};
use crate::domain::policy::Policy;

/// A build without a machine.
fn build(block: &str) -> Given {
    Given::hcl(&format!(
        "source \"null\" \"a\" {{\n  communicator = \"none\"\n}}\nbuild {{\n  sources = [\"null.a\"]\n{block}}}\n"
    ))
}

fn with(options: &str) -> Given {
    build(&format!("  provisioner \"shell-local\" {{\n{options}\n  }}\n")).file("a.sh", "x").file("b.sh", "y")
}

fn decoded(given: &Given) -> ShellLocal {
    let evaluated = given.good();
    assert_eq!(lines(&evaluated.warnings), "");
    let ProvisionerConfig::ShellLocal(local) = &evaluated.builds[0].provisioners[0].config else {
        panic!("shell-local")
    };
    (**local).clone()
}

fn late(texts: &[&str]) -> Vec<LateString> {
    texts.iter().map(|text| LateString::from(*text)).collect()
}

#[test]
fn all_options() {
    let local = decoded(&with(
        r#"
    inline             = ["echo ${build.ConnType}", "echo {{build_name}}"]
    inline_shebang     = "/bin/bash -e"
    environment_vars   = ["A=1", "B={{ build `Host` }}"]
    env                = { C = "2" }
    env_var_format     = "export %s='%s'; "
    execute_command    = ["bash", "-c", "{{ .Vars }} {{.Script}} {{ .Command }} {{build_type}}"]
    only_on            = ["linux", "darwin"]
    tempfile_extension = ".bash"
    use_linux_pathing  = false
    valid_exit_codes   = [0, 2]
    pause_before       = "1s"
    max_retries        = 2
    timeout            = "5m"
    name               = "x""#,
    ));
    let wanted = ShellLocal {
        inline: late(&["echo {{ build `ConnType` }}", "echo a"]),
        inline_shebang: Some("/bin/bash -e".into()),
        environment_vars: late(&["A=1", "B={{ build `Host` }}"]),
        env: [("C".to_owned(), "2".into())].into_iter().collect(),
        env_var_format: Some("export %s='%s'; ".into()),
        execute_command: late(&["bash", "-c", "{{ .Vars }} {{.Script}} {{ .Command }} null"]),
        only_on: vec!["linux".into(), "darwin".into()],
        tempfile_extension: Some("bash".into()),
        valid_exit_codes: vec![0, 2],
        ..ShellLocal::default()
    };
    assert_eq!(local, wanted);
}

#[test]
fn sources_of_commands() {
    let scripts = |options: &str| decoded(&with(options)).scripts;
    assert_eq!(scripts("script = \"./a.sh\""), ["a.sh"]);
    assert_eq!(scripts("scripts = [\"b.sh\", \"a.sh\"]"), ["b.sh", "a.sh"]);
    assert_eq!(decoded(&with("command = \"echo x\"")).inline, late(&["echo x"]));
    insta::assert_snapshot!(with("").bad(), @"t.pkr.hcl:6:3: the shell-local provisioner needs command, inline, script or scripts");
    insta::assert_snapshot!(with("    command = \"x\"\n    inline = [\"y\"]").bad(), @"t.pkr.hcl:8:5: only one of command, inline, script and scripts can be given: use a provisioner for each");
    insta::assert_snapshot!(with("    script = \"c.sh\"").bad(), @r#"t.pkr.hcl:7:14: script: the bundle has no file "c.sh": send the file with the template; paths count from the template's folder"#);
    insta::assert_snapshot!(with("    script = \"/etc/rc.local\"").bad(), @r#"t.pkr.hcl:7:14: script: "/etc/rc.local" is absolute; paths in a bundle are relative to the template's folder: copy it into the template's folder, and write the path from there"#);
}

#[test]
fn complaints() {
    let complaints = |options: &str| with(&format!("    inline = [\"x\"]\n{options}")).bad();
    insta::assert_snapshot!(complaints("    use_linux_pathing = true\n    only_on = [\"linus\", \"plan9\"]"), @r#"
    t.pkr.hcl:8:5: use_linux_pathing can't be used here: leave it out: the server runs on Linux, where paths are what they are
    t.pkr.hcl:9:16: only_on: there is no system "linus": did you mean "linux"?
    t.pkr.hcl:9:25: only_on: there is no system "plan9": there are darwin, freebsd, linux, openbsd, solaris, windows
    "#);
    insta::assert_snapshot!(complaints("    execute_comand = [\"x\"]\n    remote_path = \"/x\""), @r#"
    t.pkr.hcl:8:5: the shell-local provisioner has no option "execute_comand": did you mean "execute_command"?
    t.pkr.hcl:9:5: the shell-local provisioner has no option "remote_path"
    "#);
    insta::assert_snapshot!(complaints("    execute_command = [\"sh\", \"{{ .Path }}\"]"), @"t.pkr.hcl:8:30: {{ .Path }} has no value in this option");
    insta::assert_snapshot!(complaints("    environment_vars = [\"=x\"]\n    env_var_format = \"%s\"\n    valid_exit_codes = [\"x\"]\n    tempfile_extension = \"a/b\""), @r#"
    t.pkr.hcl:8:5: environment_vars holds an entry that is not NAME=value
    t.pkr.hcl:9:22: env_var_format must hold %s twice: for the name and for the value
    t.pkr.hcl:10:25: valid_exit_codes: "x" is no whole number
    t.pkr.hcl:11:26: tempfile_extension must be the end of a file name, such as .sh
    "#);
    let warned = with("    inline = [\"#!/bin/bash\", \"x\"]").good();
    insta::assert_snapshot!(lines(&warned.warnings), @"t.pkr.hcl:7:5: warning: the first line names an interpreter, which shell-local does not look at: the commands are run by /bin/sh -e: name it in inline_shebang");
}

/// JSON takes a string for a list, cut at its commas, as Packer does.
#[test]
fn json() {
    let json = |command: &str| {
        let text = format!(
            r#"{{"builders": [{{"type": "null", "communicator": "none"}}], "provisioners": [{{"type": "shell-local", "Inline": "x,y", "execute_command": {command}}}]}}"#
        );
        decoded(&Given::default().file("t.json", &text))
    };
    let words = late(&["bash", "{{.Script}}"]);
    assert_eq!(json(r#"["bash", "{{.Script}}"]"#).execute_command, words);
    assert_eq!(json(r#""bash,{{.Script}}""#).execute_command, words);
}

#[test]
fn it_needs_no_machine() {
    let local = "  provisioner \"shell-local\" {\n    inline = [\"x\"]\n  }\n";
    let shell = "  provisioner \"shell\" {\n    inline = [\"x\"]\n  }\n";
    let warnings = |block: &str| lines(&build(block).good().warnings);
    assert_eq!(warnings(&format!("{local}  provisioner \"breakpoint\" {{}}\n")), "");
    insta::assert_snapshot!(warnings(&format!("{local}{shell}")), @r#"t.pkr.hcl:9:3: warning: with communicator "none" there is no machine: the build will fail at this provisioner: name a host in ssh_host and set communicator = "ssh""#);
    let cleanup = local.replace("provisioner", "error-cleanup-provisioner");
    assert_eq!(warnings(&format!("{local}{cleanup}")), "");
}

#[test]
fn it_runs_where_the_policy_says_so() {
    let local = "  provisioner \"shell-local\" {\n    inline = [\"x\"]\n  }\n";
    let block = format!("{local}{}", local.replace("provisioner", "error-cleanup-provisioner"));
    let evaluated = build(&block).good();
    let policy = Policy::default();
    assert_eq!(policy.check(&evaluated.builds[0]), [], "the template is a good one");
    let refused = policy.check_run(&evaluated.builds[0]);
    assert_eq!(refused.len(), 2);
    insta::assert_snapshot!(refused[0].to_string(), @"t.pkr.hcl:6:3: a shell-local provisioner would run on the Ingot server, which does not allow it: Run the commands on the build's machine with a shell provisioner, or before and after the build in the CI job that starts it; or have an administrator set `[policy] shell_local = true` on all servers, which lets whoever may start runs execute commands as the server's user.");
    let allowing = Policy { shell_local: true, ..Policy::default() };
    assert_eq!(allowing.check_run(&evaluated.builds[0]), []);
    let file = "source \"file\" \"a\" {\n  content = \"x\"\n  target = \"y\"\n}\nbuild {\n  sources = [\"file.a\"]\n";
    let left_out = Given::hcl(&format!("{file}{block}}}\n")).good();
    assert_eq!(policy.check_run(&left_out.builds[0]), [], "it is left out");
    insta::assert_snapshot!(lines(&left_out.warnings), @"t.pkr.hcl:7:3: warning: the file builder has no machine: its provisioners are left out");
}

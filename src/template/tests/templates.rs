//! Templates that must evaluate.

use super::{Given, ebs, lines, with_options};
use crate::domain::config::amazon_ebs::{ShutdownBehavior, SourceAmi};
use crate::domain::config::{PostProcessorConfig, ProvisionerConfig};
use crate::template::{Format, outline};

const NGINX: &str = include_str!("templates/nginx.pkr.hcl");
const GOLDEN: &str = include_str!("templates/golden.pkr.hcl");
const NGINX_JSON: &str = include_str!("templates/nginx.json");

#[test]
fn an_hcl2_template() {
    let mut given = Given::default().file("ubuntu-nginx.hcl", NGINX);
    given.git_sha = Some("4f2c".to_owned());
    let evaluated = given.good();
    assert_eq!(lines(&evaluated.warnings), "");
    let [build] = evaluated.builds.as_slice() else { panic!("one build") };
    assert_eq!((build.name.as_str(), build.source.as_str()), ("amazon-ebs.ubuntu", "amazon-ebs.ubuntu"));
    let ebs = ebs(build);
    assert_eq!(ebs.ami_name, "ubuntu-nginx-1709647629");
    assert_eq!(ebs.shutdown_behavior, ShutdownBehavior::Terminate);
    let SourceAmi::Filter(filter) = &ebs.source else { panic!("a filter") };
    assert_eq!(filter.owners, ["099720109477"]);
    assert_eq!(filter.filters["root-device-type"], ["ebs"]);
    assert!(filter.most_recent);
    let tags: Vec<(&str, &str)> = ebs.tags.iter().map(|(key, value)| (key.as_str(), value.0.as_str())).collect();
    assert_eq!(
        tags,
        [
            ("Name", "ubuntu-nginx"),
            ("Built-By", "packer"),
            ("Git-SHA", "4f2c"),
            ("Build-Time", "1709647629"),
            ("Base", "{{ .SourceAMIName }}"),
        ]
    );
    assert_eq!(ebs.locations["ami_name"].to_string(), "ubuntu-nginx.hcl:16:3");
    assert_eq!(ebs.locations["source_ami_filter.owners"].line, 26);
    let ProvisionerConfig::Shell(shell) = &build.provisioners[0].config else { panic!("a shell") };
    assert_eq!(shell.inline[1].0, "echo 'Built 1709647629 on {{ build `Host` }}'");
    let PostProcessorConfig::Manifest(manifest) = &build.post_processors[0][0].config;
    assert!(manifest.strip_path && manifest.output == "manifest.json");
}

#[test]
fn what_is_not_selected_may_need_more_than_there_is() {
    let given = Given::default()
        .file("golden.pkr.hcl", GOLDEN)
        .file("files/cloud-init-defaults.yaml", "x")
        .var("app_version", "2.1.0")
        .env("GIT_SHA", "abc");
    let evaluated = given.only("amazon-ebs.*").good();
    let ebs = ebs(&evaluated.builds[0]);
    assert_eq!(ebs.ami_name, "app-2.1.0-20240305-1407");
    assert_eq!(ebs.ami_regions, ["us-west-2", "eu-west-1"]);
    assert_eq!(evaluated.builds[0].provisioners.len(), 2);
    assert_eq!(evaluated.builds[0].post_processors.len(), 1);
}

#[test]
fn what_is_selected_and_missing_is_named() {
    let given = Given::default().file("golden.pkr.hcl", GOLDEN).var("app_version", "1");
    insta::assert_snapshot!(given.bad(), @r#"
    golden.pkr.hcl:32:19: warning: {{ env `GIT_SHA` }} is empty: the run's env has no GIT_SHA
    golden.pkr.hcl:36:1: builder "docker" is not supported yet: amazon-ebs, amazon-ebsvolume, amazon-ebssurrogate, null and file are; leave the build out with except, or select others with only
    golden.pkr.hcl:45:19: source: the bundle has no file or folder "files/cloud-init-defaults.yaml": send the file with the template; paths count from the template's folder
    golden.pkr.hcl:49:3: provisioner "ansible" is not supported yet: shell, shell-local, file and breakpoint are
    golden.pkr.hcl:61:3: post-processor "docker-tag" is not supported yet: manifest is
    golden.pkr.hcl:63:33: there is no variable "build_tag": declare it: variable "build_tag" { … }
    "#);
}

#[test]
fn a_json_template() {
    let given = Given::default()
        .file("packer.json", NGINX_JSON)
        .file("index.html", "<p>")
        .file("provision.sh", "true")
        .var("token", "s3cret\nline")
        .env("GIT_SHA", "abc");
    let evaluated = given.good();
    assert_eq!(lines(&evaluated.warnings), "");
    assert_eq!(evaluated.sensitive_values, ["s3cret\nline", "s3cret", "line"]);
    assert_eq!(evaluated.description.as_deref(), Some("nginx"));
    let build = &evaluated.builds[0];
    assert_eq!(build.name, "amazon-ebs");
    let ebs = ebs(build);
    assert_eq!(ebs.ami_name, "web.ap-northeast-1.1709647629");
    assert_eq!(ebs.associate_public_ip_address, Some(true));
    assert_eq!(ebs.ami_regions, ["us-east-1"]);
    assert_eq!(ebs.tags["Name"].0, "web.ap-northeast-1.2024-03-05");
    assert_eq!(ebs.tags["Sha"].0, "abc");
    assert_eq!(ebs.tags["Base"].0, "{{ .SourceAMI }}");
    assert_eq!(ebs.launch_block_device_mappings[0].volume_size, Some(20));
    let ProvisionerConfig::Shell(shell) = &build.provisioners[0].config else { panic!("a shell") };
    assert_eq!(shell.execute_command.as_ref().unwrap().0, "sudo sh -c '{{ .Vars }} {{ .Path }}'");
    let ProvisionerConfig::Shell(shell) = &build.provisioners[2].config else { panic!("a shell") };
    assert_eq!(shell.inline.len(), 1);
    assert_eq!((build.provisioners[2].pause_before.as_secs(), build.provisioners[2].max_retries), (5, 2));
    let ProvisionerConfig::Shell(shell) = &build.provisioners[3].config else { panic!("a shell") };
    assert_eq!(shell.scripts, ["provision.sh"]);
    assert_eq!(build.post_processors.len(), 2);
}

#[test]
fn outlines_need_no_values() {
    let hcl = outline(&Given::default().file("golden.pkr.hcl", GOLDEN).bundle()).unwrap();
    assert_eq!(hcl.format, Format::Hcl2);
    let variables: Vec<_> = hcl.variables.iter().map(|v| (v.name.as_str(), v.type_name.as_str(), v.required)).collect();
    assert_eq!(variables, [("app_version", "string", true), ("env", "string", false)]);
    let builds: Vec<_> = hcl.builds.iter().map(|b| (b.name.as_str(), b.builder_type.as_str())).collect();
    assert_eq!(builds, [("amazon-ebs.app", "amazon-ebs"), ("docker.app", "docker")]);
    let json = outline(&Given::default().file("t.json", NGINX_JSON).bundle()).unwrap();
    assert_eq!(json.format, Format::Json);
    assert!(json.variables.iter().any(|v| v.name == "token" && v.required && v.sensitive));
    assert_eq!(json.builds[0].name, "amazon-ebs");
}

#[test]
fn polling_bounds_the_waits() {
    let limit = |options: &str| {
        let evaluated = with_options(options).good();
        ebs(&evaluated.builds[0]).aws_polling.map(|polling| polling.limit().as_secs())
    };
    assert_eq!(limit(""), None);
    assert_eq!(limit("  aws_polling {\n    delay_seconds = 30\n    max_attempts = \"50\"\n  }"), Some(1500));
    assert_eq!(limit("  aws_polling {\n    max_attempts = 120\n  }"), Some(1800), "every 15 seconds");
    assert_eq!(limit("  aws_polling {\n    delay_seconds = 60\n  }"), Some(2400), "40 times");
    assert_eq!(limit("  aws_polling {\n    delay_seconds = 0\n    max_attempts = 0\n  }"), None, "0 is not given");

    let json = r#"{"builders": [{"type": "amazon-ebs", "ami_name": "abc", "region": "us-east-1", "instance_type": "t3.micro",
        "source_ami": "ami-1", "ssh_username": "u", "aws_polling": {"delay_seconds": 5, "max_attempts": 200}}]}"#;
    let evaluated = Given::default().file("t.json", json).good();
    assert_eq!(ebs(&evaluated.builds[0]).aws_polling.map(|polling| polling.limit().as_secs()), Some(1000));
}

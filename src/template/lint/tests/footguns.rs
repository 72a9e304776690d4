//! A template in which a beginner's eight mistakes are, and others that people meet in articles.

use super::*;

const EIGHT: &str = r#"source "amazon-ebs" "web" {
  ami_name      = "web-server"
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami    = "ami-0abcdef1234567890"
  ssh_username  = "root"
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    inline = [
      "apt-get install nginx",
      "echo 'DB_PASSWORD=hunter2' >> /etc/app/.env",
      "curl -fsSL https://get.docker.com | sh"
    ]
  }
}
"#;

#[test]
fn all_eight_are_found() {
    insta::assert_snapshot!(Given::hcl(EIGHT).lines(), @r"
    1:8 Info root-volume-unencrypted: nothing asks for the image's root volume to be encrypted
    1:8 Info tags-incomplete: the image's tags do not tell the commit, the time, the base image or the builder
    2:19 Warning ami-name-static: ami_name is the same in each run
    5:20 Warning ami-id-hard-coded: the base image ami-0abcdef1234567890 is written into the template
    6:19 Error ssh-user-root: ssh_username is root
    9:1 Info clean-up-missing: nothing cleans the machine before its image is made
    9:1 Warning manifest-missing: no manifest post-processor records which image this build made
    14:8 Error package-prompt: apt-get asks before it does anything, and nobody is there to answer
    14:24 Info package-unpinned: nginx is installed without a version
    15:26 Error secret-in-provisioner: the value of DB_PASSWORD is written into what runs on the machine or is uploaded to it
    16:8 Error download-piped: a script from the network is run as it comes
    ");
    for finding in Given::hcl(EIGHT).found() {
        assert!(!finding.detail.is_empty() && finding.end.is_some() && finding.source_line.is_some());
        assert!(!format!("{finding:?}").contains("hunter2"), "{finding:?}");
    }
    let unclean = Given { clean_image: false, ..Given::hcl(EIGHT) };
    assert!(unclean.lines().contains("9:1 Warning clean-up-missing"));
}

/// The same in JSON.
#[test]
fn all_eight_are_found_in_json() {
    let template = r#"{
  "builders": [{
    "type": "amazon-ebs",
    "ami_name": "web-server",
    "instance_type": "t3.micro",
    "region": "us-east-1",
    "source_ami": "ami-0abcdef1234567890",
    "ssh_username": "root"
  }],
  "provisioners": [{
    "type": "shell",
    "inline": [
      "apt-get install nginx",
      "echo 'DB_PASSWORD=hunter2' >> /etc/app/.env",
      "curl -fsSL https://get.docker.com | sh"
    ]
  }]
}
"#;
    insta::assert_snapshot!(Given::json(template).lines(), @r"
    2:3 Info clean-up-missing: nothing cleans the machine before its image is made
    2:3 Info json-legacy: the template is in the legacy JSON format
    2:3 Warning manifest-missing: no manifest post-processor records which image this build made
    3:13 Info root-volume-unencrypted: nothing asks for the image's root volume to be encrypted
    3:13 Info tags-incomplete: the image's tags do not tell the commit, the time, the base image or the builder
    4:17 Warning ami-name-static: ami_name is the same in each run
    7:20 Warning ami-id-hard-coded: the base image ami-0abcdef1234567890 is written into the template
    8:21 Error ssh-user-root: ssh_username is root
    13:8 Error package-prompt: apt-get asks before it does anything, and nobody is there to answer
    13:24 Info package-unpinned: nginx is installed without a version
    14:26 Error secret-in-provisioner: the value of DB_PASSWORD is written into what runs on the machine or is uploaded to it
    15:8 Error download-piped: a script from the network is run as it comes
    ");
}

/// And in HCL2's JSON syntax.
#[test]
fn all_eight_are_found_in_hcl_json() {
    let template = r#"{
  "source": { "amazon-ebs": { "web": {
    "ami_name": "web-server",
    "instance_type": "t3.micro",
    "region": "us-east-1",
    "source_ami": "ami-0abcdef1234567890",
    "ssh_username": "root"
  } } },
  "build": {
    "sources": ["source.amazon-ebs.web"],
    "provisioner": { "shell": { "inline": [
      "apt-get install nginx",
      "echo 'DB_PASSWORD=hunter2' >> /etc/app/.env",
      "curl -fsSL https://get.docker.com | sh"
    ] } }
  }
}
"#;
    insta::assert_snapshot!(Given::file("t.pkr.json", template).lines(), @r"
    2:15 Info root-volume-unencrypted: nothing asks for the image's root volume to be encrypted
    2:15 Info tags-incomplete: the image's tags do not tell the commit, the time, the base image or the builder
    3:17 Warning ami-name-static: ami_name is the same in each run
    6:19 Warning ami-id-hard-coded: the base image ami-0abcdef1234567890 is written into the template
    7:21 Error ssh-user-root: ssh_username is root
    9:3 Info clean-up-missing: nothing cleans the machine before its image is made
    9:3 Warning manifest-missing: no manifest post-processor records which image this build made
    12:7 Error package-prompt: apt-get asks before it does anything, and nobody is there to answer
    12:24 Info package-unpinned: nginx is installed without a version
    13:26 Error secret-in-provisioner: the value of DB_PASSWORD is written into what runs on the machine or is uploaded to it
    14:7 Error download-piped: a script from the network is run as it comes
    ");
}

/// A template that can't be evaluated or even parsed is looked at all the same.
#[test]
fn broken_templates_have_findings() {
    let broken = EIGHT
        .replace("region        = \"us-east-1\"", "region = var.missing")
        .replace("inline = [", "inline = [\n      var.nothing,");
    assert_eq!(Given::hcl(&broken).found().len(), Given::hcl(EIGHT).found().len());
    let unparsable = EIGHT.replace("ssh_username  = \"root\"", "ssh_username = \"root\"; x = 'y'");
    let found = Given::hcl(&unparsable).lines();
    for rule in [
        "ami-name-static",
        "ami-id-hard-coded",
        "package-prompt",
        "secret-in-provisioner",
        "download-piped",
        "manifest-missing",
    ] {
        assert!(found.contains(rule), "{rule} in\n{found}");
    }
}

/// An article's JSON with keys in it.
#[test]
fn keys_and_sleep() {
    let template = r#"{
  "builders": [{
    "type": "amazon-ebs",
    "region": "ap-northeast-1",
    "source_ami": "ami-00000000",
    "instance_type": "t2.micro",
    "ami_name": "DevelopersIO-try",
    "ssh_username": "ec2-user",
    "access_key": "your access key",
    "secret_key": "your secret key"
  }],
  "provisioners": [
    { "type": "shell", "inline": ["sleep 30", "sudo amazon-linux-extras install -y nginx1", "sudo systemctl start nginx"] },
    { "type": "file", "source": "index.html", "destination": "/tmp/" },
    { "type": "shell", "inline": "sudo cp /tmp/index.html /usr/share/nginx/html/" }
  ]
}
"#;
    insta::assert_snapshot!(Given::json(template).and("index.html", "hi").lines(), @r"
    2:3 Info clean-up-missing: nothing cleans the machine before its image is made
    2:3 Info json-legacy: the template is in the legacy JSON format
    2:3 Warning manifest-missing: no manifest post-processor records which image this build made
    3:13 Info root-volume-unencrypted: nothing asks for the image's root volume to be encrypted
    3:13 Info tags-incomplete: the image's tags do not tell the commit, the time, the base image or the builder
    5:20 Warning ami-id-hard-coded: the base image ami-00000000 is written into the template
    7:17 Warning ami-name-static: ami_name is the same in each run
    9:5 Error long-lived-keys: access_key: the template uses an AWS access key
    10:5 Error long-lived-keys: secret_key: the template uses an AWS access key
    13:36 Info sleep-as-wait: a fixed sleep stands for waiting until the machine is ready
    ");
}

/// An article's JSON with a script that needs root and does not stop.
#[test]
fn a_script_of_the_bundle() {
    let template = r#"{
  "builders": [{
    "type": "amazon-ebs",
    "region": "us-east-1",
    "source_ami": "ami-cd0f5cb6",
    "instance_type": "m3.large",
    "ssh_username": "ubuntu",
    "associate_public_ip_address": true,
    "ami_name": "packer.my_test_machine.{{timestamp}}",
    "tags": { "Name": "packer.my_test_machine.{{timestamp}}", "source": "packer" }
  }],
  "provisioners": [{ "type": "shell", "script": "packer_provision.sh" }]
}
"#;
    let given = Given::json(template)
        .and("packer_provision.sh", "#!/bin/bash\n\nset -x\n\napt update\n\napt -y install nginx\n");
    insta::assert_snapshot!(given.lines(), @r"
    packer_provision.sh:1:1 Warning script-without-set-e: the script goes on after a command has failed
    packer_provision.sh:5:1 Warning sudo-missing: apt needs root, and the SSH user is another one
    packer_provision.sh:7:16 Info package-unpinned: nginx is installed without a version
    2:3 Info clean-up-missing: nothing cleans the machine before its image is made
    2:3 Info json-legacy: the template is in the legacy JSON format
    2:3 Warning manifest-missing: no manifest post-processor records which image this build made
    3:13 Info root-volume-unencrypted: nothing asks for the image's root volume to be encrypted
    5:20 Warning ami-id-hard-coded: the base image ami-cd0f5cb6 is written into the template
    10:5 Info tags-incomplete: the image's tags do not tell the commit or the base image
    ");
}

/// Good practice of the same article: only what could still be pinned.
#[test]
fn an_articles_good_template() {
    let template = r#"source "amazon-ebs" "ubuntu" {
  ami_name      = "ubuntu-2204-{{timestamp}}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami_filter {
    filters = {
      name                = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners = ["099720109477"] # Canonical's account
  }
  ssh_username = "ubuntu"
  tags = {
    "OS"    = "Ubuntu",
    "Ver"   = "22.04",
    "Build" = "{{timestamp}}"
  }
}

build {
  sources = ["source.amazon-ebs.ubuntu"]

  provisioner "shell" {
    inline = [
      "sudo apt-get update",
      "sudo DEBIAN_FRONTEND=noninteractive apt-get upgrade -y",
      "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y nginx",
      "sudo systemctl enable nginx",
      "echo 'Hello from Packer build {{timestamp}}' | sudo tee /var/www/html/index.html"
    ]
  }
}
"#;
    insta::assert_snapshot!(Given::hcl(template).lines(), @r"
    1:8 Info root-volume-unencrypted: nothing asks for the image's root volume to be encrypted
    5:3 Warning source-filter-most-recent: the image filter does not say most_recent = true
    14:3 Info tags-incomplete: the image's tags do not tell the commit or the builder
    21:1 Info clean-up-missing: nothing cleans the machine before its image is made
    21:1 Warning manifest-missing: no manifest post-processor records which image this build made
    28:63 Info package-unpinned: nginx is installed without a version
    ");
}

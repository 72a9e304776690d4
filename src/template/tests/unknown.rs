//! What is not known when a template is checked: nothing is said to be missing that may still come.

use super::Given;

const DATA: &str = r#"
data "http" "x" {
  url = "https://example.com"
}
locals {
  text = data.http.x.body
  all  = jsondecode(data.http.x.body)
}
"#;

const MACHINE: &str = r#"
source "amazon-ebs" "a" {
  ami_name      = "abc"
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = "ami-1"
  ssh_username  = "u"
"#;

/// A template whose one source has these options, checked while nothing is known of its data.
fn checked(options: &str, build: &str) -> String {
    let text = format!("{DATA}{MACHINE}{options}\n}}\nbuild {{\n  sources = [\"amazon-ebs.a\"]\n{build}\n}}\n");
    match Given::hcl(&text).run() {
        Ok(evaluated) => super::lines(&evaluated.warnings),
        Err(complaints) => super::lines(&complaints),
    }
}

/// A dynamic block of which nobody knows how many blocks it makes.
fn dynamic(kind: &str, content: &str) -> String {
    format!("dynamic \"{kind}\" {{\n  for_each = local.all\n  content {{\n{content}\n  }}\n}}\n")
}

#[test]
fn what_unknown_dynamic_blocks_lack_is_no_fault() {
    let filter = dynamic("filter", "name = filter.key\nvalue = filter.value");
    let empty = |kind: &str| dynamic(kind, "");
    let nested = [
        format!("security_group_filter {{\n{filter}}}"),
        dynamic("subnet_filter", "filters = subnet_filter.value"),
        empty("vpc_filter"),
        dynamic("assume_role", "session_name = assume_role.key"),
        dynamic("launch_block_device_mappings", "volume_size = 8"),
        empty("ami_block_device_mappings"),
        dynamic("run_tag", "value = run_tag.value"),
        format!("temporary_iam_instance_profile_policy_document {{\n{}}}", empty("Statement")),
        format!("fast_launch {{\n{}}}", dynamic("region_launch_templates", "template_version = 1")),
        // One of these is sure, the other may not be there.
        format!("{}metadata_options {{\n  http_tokens = \"required\"\n}}", empty("metadata_options")),
        empty("license_specifications"),
    ];
    assert_eq!(checked(&nested.join("\n"), ""), "");
    assert_eq!(checked("", &dynamic("provisioner", "").replace("content", "labels = [\"shell\"]\n  content")), "");
    assert_eq!(checked("", &dynamic("provisioner", "").replace("content", "labels = [\"file\"]\n  content")), "");
    // What is written and wrong is a fault all the same.
    let wrong = dynamic("launch_block_device_mappings", "device = 1\nvolume_size = -1");
    insta::assert_snapshot!(checked(&wrong, ""), @r#"
    t.pkr.hcl:19:1: launch_block_device_mappings has no option "device": did you mean "no_device"?
    t.pkr.hcl:20:15: volume_size must be from 0 to 65536
    "#);
}

#[test]
fn a_source_image_s_filter_may_be_unknown() {
    for filter in [
        "source_ami_filter {\n  filters = { name = local.text }\n  owners  = [local.text]\n}",
        "source_ami_filter {\n  filters = local.all\n  owners  = local.all\n}",
        "dynamic \"source_ami_filter\" {\n  for_each = local.all\n  content {}\n}",
    ] {
        let text = format!("{DATA}{MACHINE}{filter}\n}}\nbuild {{\n  sources = [\"amazon-ebs.a\"]\n}}\n");
        Given::hcl(&text.replace("  source_ami    = \"ami-1\"\n", "")).good();
    }
    let search = "data \"amazon-ami\" \"b\" {\n  filters = { name = local.text }\n  owners  = [local.text]\n}\n";
    Given::hcl(&format!("{DATA}{search}{MACHINE}}}\nbuild {{\n  sources = [\"amazon-ebs.a\"]\n}}\n")).good();
}

#[test]
fn rules_over_several_options_wait_for_all_of_them() {
    for options in [
        "launch_block_device_mappings {\n  device_name = \"/dev/sda1\"\n  volume_type = local.text\n  iops = 3000\n  throughput = 125\n}",
        "launch_block_device_mappings {\n  device_name = \"/dev/sda1\"\n  no_device = local.text\n  volume_size = 8\n}",
        "security_group_filter {\n  filters = { (\"tag:a\") = local.text }\n}",
        "encrypt_boot = local.text\n  kms_key_id = \"alias/x\"",
        "encrypt_boot = true\n  kms_key_id = local.text\n  ami_users = [\"1\"]",
        "spot_price = local.text\n  spot_tags = { a = 1 }\n  spot_allocation_strategy = \"diversified\"",
        "fast_launch {\n  template_id = local.text\n  template_version = 1\n}",
        "ssh_bastion_host = local.text\n  ssh_bastion_port = 22\n  ssh_bastion_password = \"x\"",
        "ssh_bastion_host = \"b\"\n  ssh_bastion_password = local.text\n  ssh_bastion_interactive = true",
        "ssh_private_key_file = local.text\n  ssh_keypair_name = \"x\"",
        "force_deregister = local.text\n  force_delete_snapshot = true",
    ] {
        assert_eq!(checked(options, ""), "", "{options}");
    }
    let skip =
        format!("{DATA}{MACHINE}  skip_create_ami = local.text\n}}\nbuild {{\n  sources = [\"amazon-ebs.a\"]\n}}\n");
    Given::hcl(&skip.replace("  ami_name      = \"abc\"\n", "")).good();
    let null = "source \"null\" \"n\" {\n  communicator = local.text\n}\nbuild {\n  sources = [\"null.n\"]\n}\n";
    Given::hcl(&format!("{DATA}{null}")).good();
    let file =
        "provisioner \"file\" {\n  direction = local.text\n  source = \"/etc/motd\"\n  destination = \"motd\"\n}";
    assert_eq!(checked("", file), "");
    for kind in ["shell", "shell-local"] {
        let scripts = format!("provisioner \"{kind}\" {{\n  script = local.text\n  inline = [\"x\"]\n}}");
        assert_eq!(checked("", &scripts), "", "{kind}");
    }
}

#[test]
fn sources_may_be_unknown() {
    let options = "region = \"us-east-1\"\nami_name = \"abc\"\ninstance_type = \"t3.micro\"\nsource_ami = \"ami-1\"\nssh_username = \"u\"";
    let sources = format!(
        "dynamic \"source\" {{\n  for_each = local.all\n  labels = [\"amazon-ebs\", source.key]\n  content {{\n{options}\n  }}\n}}\n"
    );
    let inner =
        "dynamic \"source\" {\n  for_each = local.all\n  labels = [\"amazon-ebs.${source.key}\"]\n  content {}\n}";
    for build in
        ["sources = [\"amazon-ebs.x\"]", "sources = [for name, _ in local.all : \"amazon-ebs.${name}\"]", inner]
    {
        Given::hcl(&format!("{DATA}{sources}build {{\n  {build}\n}}\n")).good();
    }
}

#[test]
fn devices_of_the_other_builders_may_be_unknown() {
    let common =
        "  region = \"us-east-1\"\n  instance_type = \"t3.micro\"\n  source_ami = \"ami-1\"\n  ssh_username = \"u\"\n";
    let volume = "  ebs_volumes {\n    device_name = \"/dev/sdf\"\n    volume_size = 1\n    encrypted = true\n    kms_key_id = \
                  local.text\n    snapshot_volume = true\n    snapshot_users = [\"123456789012\"]\n  }\n";
    let root = "  ami_name = \"abc\"\n  ami_virtualization_type = \"hvm\"\n  ena_support = true\n  launch_block_device_mappings {\n    \
                device_name = local.text\n    volume_size = 1\n  }\n  ami_root_device {\n    source_device_name = \
                \"/dev/xvdf\"\n    device_name = \"/dev/xvda\"\n  }\n";
    for (kind, options) in [("amazon-ebsvolume", volume), ("amazon-ebssurrogate", root)] {
        let source = format!("source \"{kind}\" \"a\" {{\n{common}{options}}}\n");
        Given::hcl(&format!("{DATA}{source}build {{\n  sources = [\"{kind}.a\"]\n}}\n")).good();
    }
}

//! Packer's rules for the amazon builders' options, and those of EC2 that it would tell only at the end of a build.

use super::{Given, ebs, lines, with_options};
use crate::domain::config::amazon_ebs::SourceAmi;
use crate::domain::config::builders::FileContent;
use crate::domain::config::communicator::KeyPairType;
use crate::domain::config::launch::{CapacityReservation, SpotAllocation};
use crate::domain::config::{BuilderConfig, ProvisionerConfig};
use crate::domain::policy::Policy;

#[test]
fn encryption_and_sharing() {
    insta::assert_snapshot!(with_options("  encrypt_boot = true\n  snapshot_users = [\"1\"]").bad(), @r#"t.pkr.hcl:8:3: an image encrypted with the default key can't be shared: give a key of your own in kms_key_id, or leave snapshot_users out"#);
    insta::assert_snapshot!(with_options("  encrypt_boot = true\n  kms_key_id = \"alias/x\"\n  ami_users = [\"1\"]\n  ami_regions = [\"us-west-2\"]").bad(), @"t.pkr.hcl:9:3: the copy in us-west-2 would be encrypted with the default key and can't be shared: give each region a key of your own in region_kms_key_ids");
    insta::assert_snapshot!(with_options("  encrypt_boot = true\n  kms_key_id = \"alias/x\"\n  ami_groups = [\"all\", \"some\"]").bad(), @r#"
    t.pkr.hcl:9:3: an encrypted image can't be made public: leave ami_groups out and list account ids in ami_users, or do not encrypt
    t.pkr.hcl:9:24: ami_groups: there is no group "some": EC2 has only "all"
    "#);
    insta::assert_snapshot!(with_options("  ami_org_arns = [\"o\"]\n  launch_block_device_mappings {\n    device_name = \"/dev/sdb\"\n    encrypted = true\n  }").bad(), @"t.pkr.hcl:7:3: an image whose volume /dev/sdb has the default key can't be shared: give the volume a kms_key_id of your own");
    let shared = with_options("  encrypt_boot = true\n  kms_key_id = \"alias/x\"\n  ami_users = [\"1\"]").good();
    insta::assert_snapshot!(lines(&shared.warnings), @"t.pkr.hcl:9:3: warning: whoever the encrypted image is shared with needs its KMS key too: allow them kms:DescribeKey, kms:CreateGrant, kms:ReEncrypt* and kms:Decrypt in the key's policy");
}

#[test]
fn a_region_that_is_left_out() {
    let template = "source \"amazon-ebs\" \"a\" {\n  ami_name = \"abc\"\n  instance_type = \"t3.micro\"\n  source_ami = \"ami-1\"\n  \
        ssh_username = \"u\"\n}\nbuild {\n  sources = [\"amazon-ebs.a\"]\n}\n";
    let region = |given: &Given| ebs(&given.good().builds[0]).region.clone();
    let given = || Given::hcl(template);
    insta::assert_snapshot!(given().bad(), @"t.pkr.hcl:1:1: region is missing: name the region to build in, such as us-east-1, or set AWS_REGION in the run's env");
    assert_eq!(region(&given().env("AWS_DEFAULT_REGION", "eu-west-1")), "eu-west-1");
    assert_eq!(region(&given().env("AWS_DEFAULT_REGION", "eu-west-1").env("AWS_REGION", "us-west-2")), "us-west-2");
    assert!(given().env("AWS_REGION", "").run().is_err());
}

#[test]
fn keys_of_regions() {
    let text = |rest: &str| with_options(&format!("  encrypt_boot = true\n{rest}"));
    insta::assert_snapshot!(text("  ami_regions = [\"us-west-2\", \"eu-west-1\"]\n  region_kms_key_ids = { \"us-west-2\" = \"\", \"us-east-2\" = \"key one\" }").bad(), @r#"
    t.pkr.hcl:8:3: ami_regions names "eu-west-1", which has no key in region_kms_key_ids: give it one; "" is the region's default key
    t.pkr.hcl:9:44: region_kms_key_ids names "us-east-2", which is not in ami_regions: add the region to ami_regions, or take its key out
    t.pkr.hcl:9:58: region_kms_key_ids: "key one" is no KMS key: give a key's id, its ARN, or alias/NAME
    "#);
    let given = text(
        "  kms_key_id = \"alias/all\"\n  ami_regions = [\"us-east-1\", \"us-west-2\"]\n  region_kms_key_ids = { \"us-east-1\" = \"mrk-1a2b\", \"us-west-2\" = \"\" }",
    );
    let evaluated = given.good();
    let config = ebs(&evaluated.builds[0]);
    assert_eq!(config.kms_key_id.as_deref(), Some("mrk-1a2b"), "the region's own key counts first");
    assert_eq!(config.ami_regions, ["us-west-2"]);
    for good in
        ["arn:aws:kms:us-east-1:123456789012:key/1a2b-3c", "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/a"]
    {
        text(&format!("  kms_key_id = \"{good}\"")).good();
    }
    insta::assert_snapshot!(with_options("  skip_save_build_region = true\n  snapshot_copy_duration_minutes = 20\n  deprecate_at = \"tomorrow\"").bad(), @r#"
    t.pkr.hcl:7:3: skip_save_build_region would leave no image at all: name other regions in ami_regions, or leave skip_save_build_region out
    t.pkr.hcl:8:3: snapshot_copy_duration_minutes must be a multiple of 15
    t.pkr.hcl:9:18: deprecate_at must be a time such as 2027-01-31T00:00:00Z, this is "tomorrow"
    "#);
}

#[test]
fn spot() {
    let spot = |options: &str| {
        let evaluated = with_options(options).good();
        ebs(&evaluated.builds[0]).spot.clone()
    };
    assert_eq!(spot("  spot_price = \"0\""), None, "as in Packer");
    assert_eq!(spot("  spot_price = \"auto\"").unwrap().max_price, None);
    let full = spot("  spot_price = \"0.05\"\n  spot_allocation_strategy = \"price-capacity-optimized\"").unwrap();
    assert_eq!(full.max_price.as_deref(), Some("0.05"));
    assert_eq!(full.allocation_strategy, Some(SpotAllocation::PriceCapacityOptimized));
    insta::assert_snapshot!(with_options("  spot_price = \"cheap\"\n  spot_instance_types = [\"t3.micro\"]\n  ena_support = true\n  spot_allocation_strategy = \"best\"\n  enable_nitro_enclave = true").bad(), @r#"
    t.pkr.hcl:7:16: spot_price must be dollars an hour or "auto", this is "cheap": write spot_price = "0.05", or "auto" for at most the on-demand price
    t.pkr.hcl:8:3: instance_type and spot_instance_types can't both be given: name all acceptable types in spot_instance_types and leave instance_type out, or the other way round
    t.pkr.hcl:9:3: ena_support can't be used with spot instances: a spot instance can't be modified: start from an image that has it already
    t.pkr.hcl:10:30: there is no spot_allocation_strategy "best": there are price-capacity-optimized, capacity-optimized, diversified and lowest-price
    t.pkr.hcl:11:3: enable_nitro_enclave can't be used with spot instances
    t.pkr.hcl:11:3: enable_nitro_enclave can't be used with burstable types such as t3.micro
    "#);
    insta::assert_snapshot!(with_options("  fleet_tags = { a = \"b\" }\n  spot_tag {\n    key = \"a\"\n    value = \"b\"\n  }\n  spot_allocation_strategy = \"diversified\"").bad(), @r#"
    t.pkr.hcl:7:3: fleet_tags are for spot instances: give spot_price = "auto", or leave the tags out
    t.pkr.hcl:8:3: spot_tags are for spot instances: give spot_price = "auto", or leave the tags out
    t.pkr.hcl:12:3: spot_allocation_strategy is for spot instances: give spot_price = "auto", or leave it out
    "#);
}

#[test]
fn where_the_machine_runs() {
    insta::assert_snapshot!(with_options("  tenancy = \"host\"\n  placement {\n    tenancy = \"shared\"\n    host_id = \"h\"\n    host_resource_group_arn = \"a\"\n  }").bad(), @r#"
    t.pkr.hcl:8:3: placement.tenancy and tenancy can't both be given: tenancy is the old name; leave it out
    t.pkr.hcl:8:3: there is no tenancy "shared": there are default, dedicated and host
    t.pkr.hcl:8:3: host_id and host_resource_group_arn can't both be given
    "#);
    insta::assert_snapshot!(with_options("  capacity_reservation_preference = \"open\"\n  capacity_reservation_id = \"cr\"\n  vpc_filter {}\n  subnet_filter {\n    filter {\n      value = \"x\"\n    }\n  }").bad(), @r#"
    t.pkr.hcl:8:29: only one of capacity_reservation_preference, capacity_reservation_id and capacity_reservation_group_arn can be given
    t.pkr.hcl:9:3: vpc_filter has no filter: write filters = { "tag:Class" = "build" }
    t.pkr.hcl:11:5: name is missing: such as "tag:Class"
    "#);
    // As Packer's documentation writes them.
    let written = "  placement = { host_id = \"h\" }\n  license_specifications = [{ license_configuration_request = { license_configuration_arn = \"a\" } }]\n  capacity_reservation_id = \"cr\"";
    let evaluated = with_options(written).good();
    let config = ebs(&evaluated.builds[0]);
    assert_eq!(config.placement.host_id.as_deref(), Some("h"));
    assert_eq!(config.license_configurations, ["a"]);
    assert_eq!(config.capacity_reservation, Some(CapacityReservation::Id("cr".into())));
    let filters = "  subnet_filter {\n    random = true\n    filters = { \"tag:a\" = \"1,2\" }\n    filter {\n      name = \"tag:b\"\n      value = \"3\"\n    }\n  }";
    let evaluated = with_options(filters).good();
    let filter = ebs(&evaluated.builds[0]).subnet_filter.clone().unwrap();
    assert!(filter.random && !filter.most_free);
    assert_eq!((filter.filters["tag:a"].len(), filter.filters["tag:b"].len()), (2, 1));
}

#[test]
fn devices() {
    let bad = "  launch_block_device_mappings {\n    device_name = \"/dev/sdb\"\n    no_device = true\n    volume_size = 8\n  }\n  ami_block_device_mappings {\n    device_name = \"/dev/sdc\"\n    volume_type = \"io1\"\n    volume_size = 4\n    iops = 500\n    throughput = 200\n    encrypted = false\n    kms_key_id = \"alias/x\"\n  }\n  launch_block_device_mappings {\n    device_name = \"/dev/sdb\"\n  }";
    insta::assert_snapshot!(with_options(bad).bad(), @r#"
    t.pkr.hcl:10:5: volume_size excludes no_device: a device with no_device has no EBS volume
    t.pkr.hcl:16:5: iops may be at most 50 for each GiB of a io1 volume
    t.pkr.hcl:17:5: throughput is only for gp3 volumes
    t.pkr.hcl:19:5: kms_key_id needs encrypted = true
    t.pkr.hcl:22:5: launch_block_device_mappings names the device "/dev/sdb" twice
    "#);
    let device = |name: &str, rest: &str| format!("  {name} {{\n    device_name = \"/dev/{rest}\n  }}\n");
    let text = device("launch_block_device_mappings", "a\"\n    kms_key_id = \"alias/x\"")
        + &device("launch_block_device_mappings", "b\"\n    delete_on_termination = false")
        + &device("ami_block_device_mappings", "c\"\n    delete_on_termination = false");
    let evaluated = with_options(&text).good();
    let config = ebs(&evaluated.builds[0]);
    let [a, b] = config.launch_block_device_mappings.as_slice() else { panic!("two") };
    assert_eq!((a.encrypted, a.outlives_build), (Some(true), false));
    assert!(b.outlives_build, "it is written out");
    assert!(!config.ami_block_device_mappings[0].outlives_build, "there is no volume before the image");
}

#[test]
fn keys_and_bastions() {
    insta::assert_snapshot!(with_options("  ssh_private_key_file = \"~/.ssh/id_rsa\"\n  ssh_bastion_host = \"b\"\n  ssh_bastion_private_key_file = \"key\"").bad(), @r#"
    t.pkr.hcl:7:26: ssh_private_key_file: the server can't read files of your machine: send the file with the template, or give the key's text in a sensitive variable
    t.pkr.hcl:9:34: ssh_bastion_private_key_file: the bundle has no file "key": send the file with the template; paths count from the template's folder
    "#);
    insta::assert_snapshot!(with_options("  ssh_keypair_name = \"k\"\n  ssh_bastion_host = \"b\"\n  ssh_ciphers = [\"rot13\"]\n  temporary_key_pair_type = \"dsa\"").bad(), @r#"
    t.pkr.hcl:7:22: ssh_keypair_name needs ssh_private_key_file: give its private half in ssh_private_key_file, or leave ssh_keypair_name out
    t.pkr.hcl:8:22: there is no way to log in to ssh_bastion_host: give ssh_bastion_private_key_file (a file of the bundle, or a sensitive variable's value) or ssh_bastion_password
    t.pkr.hcl:9:18: ssh_ciphers: the server does not speak "rot13": it speaks aes128-gcm@openssh.com, aes256-gcm@openssh.com, chacha20-poly1305@openssh.com, aes128-ctr, aes192-ctr, aes256-ctr, aes128-cbc, aes192-cbc, aes256-cbc
    t.pkr.hcl:10:29: temporary_key_pair_type "dsa" is no type EC2 imports: use ed25519, or rsa for old images
    "#);
    let locked = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    insta::assert_snapshot!(with_options("  ssh_private_key_file = \"key\"").file("key", locked).bad(), @"t.pkr.hcl:7:26: ssh_private_key_file has a passphrase: nobody is there to type it: ssh-keygen -p takes it off; keep the key in a sensitive variable");
    // A sensitive variable's value.
    let text = "variable \"key\" {\n  sensitive = true\n}\n";
    let given = with_options("  ssh_private_key_file = var.key");
    let text = format!("{text}{}", String::from_utf8(given.files[0].1.clone()).unwrap());
    let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let evaluated = Given::hcl(&text).var("key", key).good();
    let communicator = &ebs(&evaluated.builds[0]).communicator;
    assert_eq!(communicator.own_key.as_ref().unwrap().private_key, key);
    assert!(!communicator.needs_temporary_key());
    assert!(!format!("{communicator:?}").contains("AAAA"), "keys are not shown");
    let evaluated = with_options("  temporary_key_pair_bits = 2048").good();
    assert_eq!(ebs(&evaluated.builds[0]).communicator.temporary_key_pair_type, KeyPairType::Rsa);
}

#[test]
fn a_compressed_file_of_user_data() {
    let mut given = with_options("  user_data_file = \"x.gz\"");
    given.files.push(("x.gz".to_owned(), vec![0x1f, 0x8b, 0xff]));
    let evaluated = given.good();
    let config = ebs(&evaluated.builds[0]);
    assert_eq!((config.user_data.as_deref(), config.user_data_base64.as_deref()), (None, Some("H4v/")));
    let long = with_options("  user_data_file = \"x\"").file("x", &"x".repeat(16 * 1024 + 1)).bad();
    assert!(long.contains("has 16385 bytes; EC2 takes 16 KiB"), "{long}");
}

#[test]
fn null_and_file() {
    let text = |source: &str, rest: &str| {
        let kind = source.split(' ').next().unwrap();
        let body = source.split_once(' ').unwrap().1;
        Given::hcl(&format!("source \"{kind}\" \"a\" {body}\nbuild {{\n  sources = [\"{kind}.a\"]\n{rest}}}\n"))
    };
    let null = text("null {\n  ssh_host = \"h\"\n  ssh_username = \"u\"\n  ssh_password = \"p\"\n}", "").good();
    let BuilderConfig::Null(config) = &null.builds[0].builder else { panic!("null") };
    assert_eq!(config.communicator.host.as_deref(), Some("h"));
    let none =
        text("null {\n  communicator = \"none\"\n}", "  provisioner \"shell\" {\n    inline = [\"x\"]\n  }\n").good();
    insta::assert_snapshot!(lines(&none.warnings), @r#"t.pkr.hcl:6:3: warning: with communicator "none" there is no machine: the build will fail at this provisioner: name a host in ssh_host and set communicator = "ssh""#);
    insta::assert_snapshot!(text("null {\n  ssh_interface = \"ipv6\"\n}", "").bad(), @r#"
    t.pkr.hcl:1:1: ssh_username is missing: name the image's user, such as ubuntu, ec2-user or admin
    t.pkr.hcl:1:1: ssh_host is missing: name the host to run the provisioners on, or set communicator = "none"
    t.pkr.hcl:1:1: there is no way to log in: give ssh_private_key_file, a file of the bundle or a sensitive variable's value, or ssh_password
    t.pkr.hcl:2:3: null has no option "ssh_interface"
    "#);

    let file = text("file {\n  target = \"./a/b.txt\"\n  content = \"x\"\n}", "").good();
    let BuilderConfig::File(config) = &file.builds[0].builder else { panic!("a file") };
    assert_eq!((config.target.as_str(), &config.content), ("a/b.txt", &FileContent::Text("x".into())));
    insta::assert_snapshot!(text("file {\n  target = \"/etc/passwd\"\n  content = \"x\"\n  source = \"../y\"\n}", "").bad(), @r#"
    t.pkr.hcl:2:12: target: "/etc/passwd" is absolute; paths in a bundle are relative to the template's folder: the file is kept with the run; give it a plain name
    t.pkr.hcl:4:12: source and content can't both be given
    t.pkr.hcl:4:12: source: "../y" leaves the template's folder: a file above it comes along when it is there and is named without variables; check the path, or copy the file into the folder
    "#);
    insta::assert_snapshot!(text("amazon-chroot {}", "").bad(), @r#"t.pkr.hcl:1:1: builder "amazon-chroot" can't be used here: it works on a volume of the machine that Packer itself runs on, and the server has none to give: use amazon-ebssurrogate"#);
}

/// A source of another amazon builder.
fn other(kind: &str, rest: &str) -> Given {
    let common =
        "  region = \"us-east-1\"\n  instance_type = \"t3.micro\"\n  source_ami = \"ami-1\"\n  ssh_username = \"u\"\n";
    Given::hcl(&format!("source \"{kind}\" \"a\" {{\n{common}{rest}}}\nbuild {{\n  sources = [\"{kind}.a\"]\n}}\n"))
}

#[test]
fn volumes() {
    let volume = |options: &str| format!("  ebs_volumes {{\n    device_name = \"/dev/sdb\"\n{options}  }}\n");
    let options = "    volume_size = 1\n    snapshot_volume = true\n    tags = { a = \"{{ .SourceAMI }}\" }\n";
    let good = format!("{}  run_volume_tag {{\n    key = \"a\"\n    value = \"b\"\n  }}\n", volume(options));
    let evaluated = other("amazon-ebsvolume", &good).good();
    assert_eq!(lines(&evaluated.warnings), "");
    let build = evaluated.builds[0].builder.volumes().unwrap();
    assert!(build.machine.launch_block_device_mappings[0].outlives_build, "it is what is built");
    assert_eq!(build.with_snapshots().count(), 1);

    insta::assert_snapshot!(other("amazon-ebsvolume", "  ami_name = \"x\"\n").bad(), @r#"
    t.pkr.hcl:1:1: warning: the build makes nothing: there are no ebs_volumes
    t.pkr.hcl:6:3: amazon-ebsvolume has no option "ami_name"
    "#);
    let bad = volume(
        "    snapshot_volume = true\n    virtual_name = \"ephemeral0\"\n    snapshot_groups = [\"some\"]\n",
    ) + &volume(
        "    encrypted = true\n    snapshot_volume = true\n    snapshot_users = [\"1\"]\n    snapshot_groups = [\"all\"]\n",
    ) + &volume("    snapshot_description = \"x\"\n    snapshot_tags = { a = \"b\" }\n");
    insta::assert_snapshot!(other("amazon-ebsvolume", &bad).bad(), @r#"
    t.pkr.hcl:8:5: there can be no snapshot of a device without an EBS volume
    t.pkr.hcl:10:24: snapshot_groups: there is no group "some": EC2 has only "all"
    t.pkr.hcl:13:5: ebs_volumes names the device "/dev/sdb" twice
    t.pkr.hcl:16:5: a snapshot that is encrypted with the default key can't be shared: give the volume a kms_key_id of your own
    t.pkr.hcl:17:5: an encrypted snapshot can't be made public: list account ids in snapshot_users, or do not encrypt the volume
    t.pkr.hcl:20:5: ebs_volumes names the device "/dev/sdb" twice
    t.pkr.hcl:21:5: warning: snapshot_description says nothing without snapshot_volume = true
    t.pkr.hcl:22:5: warning: snapshot_tags says nothing without snapshot_volume = true
    "#);
    insta::assert_snapshot!(other("amazon-ebsvolume", &format!("  spot_price = \"auto\"\n  ena_support = true\n{good}")).bad(), @r#"t.pkr.hcl:7:3: ena_support can't be used with spot instances: a spot instance can't be modified: start from an image that has it already"#);
}

#[test]
fn surrogates() {
    let image = "  ami_name = \"abc\"\n  ami_virtualization_type = \"hvm\"\n  ena_support = true\n";
    let device = |name: &str, options: &str| {
        format!("  launch_block_device_mappings {{\n    device_name = \"{name}\"\n    volume_size = 8\n{options}  }}\n")
    };
    let root = |options: &str| {
        format!(
            "  ami_root_device {{\n    source_device_name = \"/dev/xvdf\"\n    device_name = \"/dev/sda1\"\n{options}  }}\n"
        )
    };
    let text = |rest: &str| other("amazon-ebssurrogate", &format!("{image}{rest}"));
    let source = device("/dev/xvdf", "    delete_on_termination = true\n");
    for options in ["", "  use_create_image = false\n", "  use_create_image = true\n", "  spot_price = \"auto\"\n"] {
        let evaluated = text(&format!("{options}{source}{}", root(""))).good();
        assert_eq!(lines(&evaluated.warnings), "", "{options}");
        let surrogate = evaluated.builds[0].builder.surrogate().unwrap();
        assert!(surrogate.root.delete_on_termination, "as the volume that it is made of, where nothing is said");
    }
    let kept = text(&format!("{source}{}", root("    delete_on_termination = false\n"))).good();
    assert!(!kept.builds[0].builder.surrogate().unwrap().root.delete_on_termination);

    let missing = "  boot_mode = \"bios\"\n  ami_architecture = \"mips\"\n  skip_create_ami = true\n";
    insta::assert_snapshot!(text(&format!("{source}{missing}")).bad(), @r#"
    t.pkr.hcl:1:1: ami_root_device is missing: it says which volume becomes the image's root
    t.pkr.hcl:14:3: there is no boot_mode "bios": there are legacy-bios, uefi and uefi-preferred
    t.pkr.hcl:15:3: there is no ami_architecture "mips": there are arm64, arm64_mac, i386, x86_64, x86_64_mac
    t.pkr.hcl:16:3: amazon-ebssurrogate has no option "skip_create_ami"
    "#);
    let bad_root = root("    volume_size = 5\n    encrypted = true\n    snapshot_id = \"snap-1\"\n");
    let devices = device("/dev/sda1", "") + &device("/dev/xvdf", "    omit_from_artifact = true\n");
    insta::assert_snapshot!(text(&format!("{source}{devices}{bad_root}")).bad(), @r#"
    t.pkr.hcl:19:5: launch_block_device_mappings names the device "/dev/xvdf" twice
    t.pkr.hcl:23:3: the image's root can't have omit_from_artifact = true
    t.pkr.hcl:23:3: the image would have two devices "/dev/sda1": its root, and one of launch_block_device_mappings: give the latter omit_from_artifact = true, or the root another device_name
    t.pkr.hcl:26:5: the image's root can't be smaller than the volume that it is made of, 8 GiB
    t.pkr.hcl:27:5: ami_root_device has no option "encrypted": say it of the volume in launch_block_device_mappings
    t.pkr.hcl:28:5: ami_root_device has no option "snapshot_id": say it of the volume in launch_block_device_mappings
    "#);
    let store =
        "  launch_block_device_mappings {\n    device_name = \"/dev/xvdf\"\n    virtual_name = \"ephemeral0\"\n  }\n";
    insta::assert_snapshot!(text(&format!("{store}{}", root(""))).bad(), @r#"t.pkr.hcl:13:3: the device "/dev/xvdf" has no EBS volume, so no image can be made of it"#);
    let create = "  use_create_image = true\n  spot_price = \"auto\"\n  boot_mode = \"uefi\"\n";
    insta::assert_snapshot!(text(&format!("{source}{}{create}", root(""))).bad(), @r#"
    t.pkr.hcl:18:3: use_create_image can't be used with spot instances: a spot instance can't be stopped, and so its root can't be replaced; leave one of them out
    t.pkr.hcl:20:3: warning: boot_mode says nothing with use_create_image = true: the image has what the machine has
    "#);
    let without =
        other("amazon-ebssurrogate", &format!("{}{source}{}", image.replace("  ena_support = true\n", ""), root("")));
    insta::assert_snapshot!(lines(&without.good().warnings), @r#"t.pkr.hcl:1:1: warning: without ena_support = true the image has no enhanced networking (ENA): current instance types can't start it; an image made of snapshots has nothing of the machine"#);
}

#[test]
fn policy_of_disks() {
    let volume = "  ebs_volumes {\n    device_name = \"/dev/sdb\"\n    volume_size = 200\n    snapshot_volume = true\n    snapshot_users = [\"1\"]\n    snapshot_groups = [\"all\"]\n  }\n";
    let policy = Policy { max_volume_size: Some(100), ..Policy::default() };
    let build = other("amazon-ebsvolume", volume).good().builds.remove(0);
    insta::assert_snapshot!(lines(&policy.check(&build)), @r#"
    t.pkr.hcl:6:3: volume /dev/sdb is larger than this account allows: The limit is 100 GiB.
    t.pkr.hcl:6:3: sharing with account "1" is not allowed: Have an administrator add it to `[policy] share_accounts`.
    t.pkr.hcl:6:3: ebs_volumes: making it public is not allowed: Have an administrator add "all" to `[policy] share_accounts`; * does not stand for it.
    "#);
    let surrogate = "  ami_name = \"abc\"\n  ami_virtualization_type = \"hvm\"\n  launch_block_device_mappings {\n    device_name = \"/dev/xvdf\"\n    volume_size = 8\n  }\n  ami_root_device {\n    source_device_name = \"/dev/xvdf\"\n    device_name = \"/dev/sda1\"\n    volume_size = 101\n  }\n";
    let build = other("amazon-ebssurrogate", surrogate).good().builds.remove(0);
    insta::assert_snapshot!(lines(&policy.check(&build)), @r#"t.pkr.hcl:12:3: volume /dev/sda1 is larger than this account allows: The limit is 100 GiB."#);
}

#[test]
fn what_a_template_may_not_decide() {
    let options = "  ami_users = [\"1\"]\n  ami_groups = [\"all\"]\n  ami_ou_arns = [\"arn:ou\"]\n  ssh_bastion_host = \"10.1.2.3\"\n  \
                   ssh_bastion_password = \"x\"\n  assume_role {\n    role_arn = \"arn:aws:iam::1:role/images\"\n  }\n  \
                   temporary_iam_instance_profile_policy_document {\n    Statement {\n      Effect = \"Allow\"\n      Action = \
                   [\"s3:*\"]\n      Resource = [\"*\"]\n    }\n  }\n";
    let given = with_options(options);
    let build = given.good().builds.remove(0);
    let policy = Policy { share_accounts: vec!["*".into()], instance_types: vec!["m5.*".into()], ..Policy::default() };
    insta::assert_snapshot!(lines(&policy.check(&build)), @r#"
    t.pkr.hcl:10:3: ssh_bastion_host "10.1.2.3" is not allowed: The server would connect to it with a template's word alone. Have an administrator add it to `[policy] ssh_hosts`, or leave ssh_bastion_host out to reach the instance itself.
    t.pkr.hcl:15:3: temporary_iam_instance_profile_policy_document is not allowed in this account: A template could give itself any right with it. Name a profile in iam_instance_profile, or have an administrator set the account's `temporary_instance_profiles = true`.
    t.pkr.hcl:13:5: assume_role: "arn:aws:iam::1:role/images" is not allowed in this account: The server works with the account's own role. Leave assume_role out, or have an administrator add the role to the account's `allowed_roles`.
    t.pkr.hcl:8:3: ami_groups: making it public is not allowed: Have an administrator add "all" to `[policy] share_accounts`; * does not stand for it.
    t.pkr.hcl:4:3: instance type "t3.micro" is not allowed in this account: Allowed: m5.*.
    "#);
    let policy = Policy {
        share_accounts: vec!["1".into(), "arn:ou".into(), "all".into()],
        ssh_hosts: vec!["10.0.0.0/8".into()],
        allowed_roles: vec!["arn:aws:iam::1:role/im*".into()],
        temporary_instance_profiles: true,
        ..Policy::default()
    };
    assert_eq!(policy.check(&build), []);
}

#[test]
fn user_data_that_is_base64_already_is_not_encoded_again() {
    let config = |options: &str| ebs(&with_options(options).good().builds[0]).clone();
    let plain = config("  user_data = \"#!/bin/sh\"");
    assert_eq!((plain.user_data.as_deref(), plain.user_data_base64), (Some("#!/bin/sh"), None));
    let encoded = config("  user_data = base64encode(\"#!/bin/sh\")");
    assert_eq!((encoded.user_data, encoded.user_data_base64.as_deref()), (None, Some("IyEvYmluL3No")));
}

#[test]
fn what_is_given_is_not_passed_over() {
    let started = with_options("  fast_launch {\n    max_parallel_launches = 8\n  }").good();
    assert_eq!(ebs(&started.builds[0]).fast_launch.as_ref().unwrap().max_parallel_launches, Some(8));
    let bad = |options: &str| with_options(options).bad();
    assert!(bad("  fast_launch {\n    region_launch_templates {\n      region = \"us-east-1\"\n    }\n    region_launch_templates {\n      region = \"us-east-1\"\n    }\n  }").contains("names us-east-1 twice"));
    assert!(bad("  assume_role {\n    external_id = \"x\"\n  }").contains("assume_role needs role_arn"));
    assert!(bad("  ssh_bastion_port = 2222").contains("ssh_bastion_port needs ssh_bastion_host"));
}

#[test]
fn a_source_image_named_by_id_and_filter_must_fit_both() {
    let both =
        with_options("  source_ami_filter {\n    filters = { name = \"web-*\" }\n    owners = [\"self\"]\n  }").good();
    let SourceAmi::Filter(filter) = &ebs(&both.builds[0]).source else { panic!("a filter") };
    assert_eq!(
        (filter.filters["name"].as_slice(), filter.owners.as_slice()),
        (["web-*".to_owned()].as_slice(), ["self".to_owned()].as_slice())
    );
    assert_eq!(filter.filters["image-id"].len(), 1);
}

#[test]
fn values_must_be_of_an_option_s_type() {
    // What HCL2 converts is taken.
    let converted = "  ami_users = [1, true]\n  snapshot_users = null\n  tags = { a = 1, b = true }\n  ebs_optimized = \"true\"\n  ssh_port = \"22\"\n  \
                     ami_description = 5\n  encrypt_boot = \"0\"\n  security_group_ids = split(\",\", \"sg-1,sg-2\")";
    let config = with_options(converted).good();
    let config = ebs(&config.builds[0]);
    assert_eq!(
        (config.ami_users.as_slice(), config.tags["b"].0.as_str()),
        (["1".to_owned(), "true".to_owned()].as_slice(), "true")
    );
    assert_eq!((config.ebs_optimized, config.encrypt_boot, config.security_group_ids.len()), (true, Some(false), 2));
    // What it does not is a fault.
    insta::assert_snapshot!(with_options("  ami_regions = \"us-east-1\"\n  ami_users = \"\"\n  snapshot_users = \"a,b\"\n  security_group_ids = 5\n  ami_groups = [null]").bad(), @r#"
    t.pkr.hcl:7:17: ami_regions must be a list, this is a string: write ami_regions = [ … ]
    t.pkr.hcl:8:15: ami_users must be a list, this is a string: write ami_users = [ … ]
    t.pkr.hcl:9:20: snapshot_users must be a list, this is a string: write snapshot_users = [ … ]; split(",", …) makes one of a text with commas
    t.pkr.hcl:10:24: security_group_ids must be a list, this is a number: write security_group_ids = [ … ]
    t.pkr.hcl:11:17: an element of ami_groups is null: what is in a list or map can't be null: leave it out, as [for x in … : x if x != null] does
    "#);
    insta::assert_snapshot!(with_options("  tags = []\n  run_tags = { a = null, b = [] }\n  snapshot_tags = [{ a = 1 }]\n  run_volume_tags = \"\"").bad(), @r#"
    t.pkr.hcl:7:10: tags must be a map, this is a list: write tags = { Key = "value" }
    t.pkr.hcl:8:20: run_tags.a is null: what is in a list or map can't be null: leave it out, as [for x in … : x if x != null] does
    t.pkr.hcl:8:30: run_tags.b must be a string, this is a list
    t.pkr.hcl:9:19: snapshot_tags must be a map, this is a list: write snapshot_tags = { Key = "value" }
    t.pkr.hcl:10:21: run_volume_tags must be a map, this is a string: write run_volume_tags = { Key = "value" }
    "#);
    insta::assert_snapshot!(with_options("  ebs_optimized = 1\n  ena_support = \"\"\n  sriov_support = \"TRUE\"\n  ssh_port = \"\"\n  max_retries = true\n  ami_description = [\"a\"]").bad(), @"
    t.pkr.hcl:7:19: ebs_optimized must be true or false, this is a number: write true
    t.pkr.hcl:8:17: ena_support must be true or false
    t.pkr.hcl:9:19: sriov_support must be true or false
    t.pkr.hcl:10:14: ssh_port must be a whole number
    t.pkr.hcl:11:17: max_retries must be a whole number
    t.pkr.hcl:12:21: ami_description must be a string, this is a list
    ");
    let source = "  source_ami_filter {\n    filters = \"x\"\n    owners = \"self\"\n  }";
    insta::assert_snapshot!(with_options(source).bad(), @r#"
    t.pkr.hcl:8:15: filters must be a map, this is a string: write filters = { Key = "value" }
    t.pkr.hcl:9:14: owners must be a list, this is a string: write owners = [ … ]
    "#);
    let shell = |options: &str| {
        let text = String::from_utf8(with_options("").files[0].1.clone()).unwrap();
        let block = format!("  sources = [\"amazon-ebs.a\"]\n  provisioner \"shell\" {{\n{options}\n  }}\n");
        Given::hcl(&text.replace("  sources = [\"amazon-ebs.a\"]\n", &block))
    };
    insta::assert_snapshot!(shell("    inline = \"echo x\"").bad(), @"t.pkr.hcl:12:14: inline must be a list, this is a string: write inline = [ … ]");
    insta::assert_snapshot!(shell("    scripts = \"x\"\n    environment_vars = \"A=1\"\n    valid_exit_codes = 1\n    env = []").bad(), @r#"
    t.pkr.hcl:12:15: scripts must be a list, this is a string: write scripts = [ … ]
    t.pkr.hcl:13:24: environment_vars must be a list, this is a string: write environment_vars = [ … ]
    t.pkr.hcl:14:24: valid_exit_codes must be a list, this is a number: write valid_exit_codes = [ … ]
    t.pkr.hcl:15:11: env must be a map, this is a list: write env = { Key = "value" }
    "#);
    insta::assert_snapshot!(shell("    inline = [\"x\"]\n    only = \"amazon-ebs.a\"").bad(), @"t.pkr.hcl:13:12: only must be a list of strings, this is string");
    // Packer takes an override's values as it takes JSON's.
    let overridden = shell("    inline = [\"x\"]\n    override = { a = { inline = \"y,z\", skip_clean = 1 } }").good();
    let ProvisionerConfig::Shell(shell) = &overridden.builds[0].provisioners[0].config else { panic!("a shell") };
    assert_eq!((shell.inline.len(), shell.skip_clean), (2, true));
    // JSON's forms are looser, and those of .pkr.json are HCL2's.
    let builder = r#""ami_name": "abc", "region": "us-east-1", "instance_type": "t3.micro", "source_ami": "ami-1", "ssh_username": "u", "ami_users": "1,2", "ebs_optimized": 1, "ssh_port": """#;
    let json = format!("{{\"builders\": [{{\"type\": \"amazon-ebs\", {builder}}}]}}");
    assert_eq!(ebs(&Given::default().file("t.json", &json).good().builds[0]).ami_users, ["1", "2"]);
    let json = format!(
        "{{\"source\": {{\"amazon-ebs\": {{\"a\": {{{builder}}}}}}}, \"build\": {{\"sources\": [\"amazon-ebs.a\"]}}}}"
    );
    insta::assert_snapshot!(Given::default().file("t.pkr.json", &json).bad(), @r#"
    t.pkr.json:1:162: ami_users must be a list, this is a string: write ami_users = [ … ]; split(",", …) makes one of a text with commas
    t.pkr.json:1:186: ebs_optimized must be true or false, this is a number: write true
    t.pkr.json:1:201: ssh_port must be a whole number
    "#);
}

#[test]
fn session_manager() {
    let session = |rest: &str| with_options(&format!("  ssh_interface = \"session_manager\"\n{rest}"));
    let profile = "  iam_instance_profile = \"ssm\"\n";
    let given = session(&format!("{profile}  pause_before_ssm = \"15s\"\n  session_manager_port = 8001"));
    let evaluated = given.good();
    let ssh = &ebs(&evaluated.builds[0]).communicator;
    assert!(ssh.uses_session_manager());
    assert_eq!(ssh.pause_before_session.as_secs(), 15);
    insta::assert_snapshot!(lines(&evaluated.warnings), @"t.pkr.hcl:10:3: warning: session_manager_port has no use here: the server opens no port of its own for a session; ssh_port is the machine's. Leave it out");
    let document = "  temporary_iam_instance_profile_policy_document {\n    Statement {\n      Effect = \"Allow\"\n      Action = [\"ssm:*\"]\n      Resource = [\"*\"]\n    }\n  }";
    session(document).good();
    insta::assert_snapshot!(session("").bad(), @r#"t.pkr.hcl:7:19: ssh_interface "session_manager" needs an instance profile: the machine's agent needs a role with AmazonSSMManagedInstanceCore: give iam_instance_profile, or temporary_iam_instance_profile_policy_document"#);
    insta::assert_snapshot!(session(&format!("{profile}  ssh_bastion_host = \"b\"\n  ssh_bastion_password = \"p\"\n  ssh_host = \"h\"")).bad(), @r#"
    t.pkr.hcl:9:3: ssh_bastion_host excludes ssh_interface "session_manager": a session leads to the machine itself: leave ssh_bastion_host out, or name another ssh_interface
    t.pkr.hcl:11:3: ssh_host excludes ssh_interface "session_manager": a session leads to the machine that is launched: leave ssh_host out, or name another ssh_interface
    "#);
    let without = with_options("  pause_before_ssm = \"5s\"").good();
    insta::assert_snapshot!(lines(&without.warnings), @r#"t.pkr.hcl:7:3: warning: pause_before_ssm has no use without ssh_interface = "session_manager""#);
}

//! The builders of disks: an image of a volume beside the machine's own root, and volumes that stay with their snapshots.

use serde_json::json;

use crate::support::ec2::{Device, Ec2};
use crate::support::server::Server;
use crate::support::template::{debian, shell};
use crate::support::{sandbox, turn, unique};

const REGION: &str = "ap-southeast-5";

/// A surrogate of three volumes, of which one is not in the image.
fn surrogate(name: &str, options: &str) -> String {
    let device = |name: &str, size: u32, more: &str| {
        format!(
            "  launch_block_device_mappings {{\n    device_name = \"{name}\"\n    volume_size = {size}\n{more}  }}\n"
        )
    };
    let options = format!(
        "{options}  ami_virtualization_type = \"hvm\"\n  ena_support = true\n  tags = {{ Name = \"surrogate\" }}\n  \
         ami_root_device {{\n    source_device_name = \"/dev/xvdf\"\n    device_name = \"/dev/xvda\"\n    volume_size = 6\n  \
         }}\n{}{}{}",
        device("/dev/xvdf", 5, "    volume_type = \"gp3\"\n    delete_on_termination = true\n"),
        device("/dev/xvdg", 2, ""),
        device("/dev/xvdh", 3, "    omit_from_artifact = true\n"),
    );
    debian(REGION, name, &shell(&["echo filled"]))
        .with_options(&options)
        .text()
        .replace("amazon-ebs", "amazon-ebssurrogate")
}

#[tokio::test]
async fn an_image_is_registered_of_a_surrogates_snapshots() {
    let _turn = turn().await;
    let server = Server::start().await;
    let name = unique("surrogate");
    let run = server.build(&surrogate(&name, "  snapshot_description = \"of a surrogate\"\n")).await;
    let done = run.succeeded().await;
    let (ec2, ami) = (Ec2::new(REGION), run.ami(REGION).await);
    assert_eq!(done["builds"][0]["artifact_id"], format!("{REGION}:{ami}"));
    assert_eq!(done["builds"][0]["type"], "amazon-ebssurrogate");

    let image = ec2.image(&ami).await;
    assert_eq!((image.name.as_str(), image.state.as_str()), (name.as_str(), "available"));
    assert_eq!((image.root_device.as_str(), image.tags["Name"].as_str()), ("/dev/xvda", "surrogate"));
    assert!(!image.tags.contains_key("ingot:temporary"), "{:#?}", image.tags);
    let snapshots = ec2.snapshots_of(&run.builds[0]).await;
    assert_eq!(snapshots.len(), 2, "what is left out has none: {snapshots:#?}");
    let of = |device: &str| {
        let mut found = snapshots.iter().filter(|(.., tags)| tags["ingot:device"] == device);
        found.next().unwrap_or_else(|| panic!("a snapshot of {device}: {snapshots:#?}")).0.clone()
    };
    let device = |name: &str, of: String, size: &str, deleted_on_termination| Device {
        name: name.to_owned(),
        snapshot: of,
        size: size.to_owned(),
        deleted_on_termination,
    };
    let mut devices = image.devices.clone();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    let expected = [device("/dev/xvda", of("/dev/xvdf"), "6", true), device("/dev/xvdg", of("/dev/xvdg"), "2", false)];
    assert_eq!(devices, expected);
    for (id, _, description, tags) in &snapshots {
        assert_eq!((description.as_str(), tags["Name"].as_str()), ("of a surrogate", "surrogate"), "{id}");
        assert!(!tags.contains_key("ingot:temporary"), "{id}: {tags:#?}");
    }
    sandbox::only_artifacts_are_left(&run.builds).await;

    let machine = ec2.boot(&ami).await;
    ec2.terminate(&machine).await;
    ec2.remove_image(&image).await;
    // What the machine's second volume left, as its mapping says.
    for volume in ec2.volumes_from(&of("/dev/xvdg")).await {
        ec2.remove_volume(&volume).await;
    }
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn an_image_is_made_of_a_machine_whose_root_is_a_surrogate() {
    let _turn = turn().await;
    let server = Server::start().await;
    let run = server.build(&surrogate(&unique("swapped"), "  use_create_image = true\n")).await;
    run.succeeded().await;
    let ec2 = Ec2::new(REGION);
    let image = ec2.image(&run.ami(REGION).await).await;
    let mut devices: Vec<(&str, &str, bool)> = image
        .devices
        .iter()
        .map(|device| (device.name.as_str(), device.size.as_str(), device.deleted_on_termination))
        .collect();
    devices.sort_unstable();
    assert_eq!(devices, [("/dev/xvda", "6", true), ("/dev/xvdg", "2", false)]);
    sandbox::only_artifacts_are_left(&run.builds).await;
    ec2.remove_image(&image).await;
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn volumes_stay_with_their_snapshots_and_tags() {
    let _turn = turn().await;
    let server = Server::start().await;
    let options = "  run_volume_tags = { Launch = \"1\" }
  ebs_volumes {
    device_name          = \"/dev/xvdf\"
    volume_size          = 4
    tags                 = { Name = \"data\", From = \"{{ .SourceAMIName }}\" }
    snapshot_volume      = true
    snapshot_description = \"data\"
    snapshot_tags        = { Name = \"data-snapshot\" }
  }
  ebs_volumes {
    device_name           = \"/dev/xvdg\"
    volume_size           = 2
    delete_on_termination = true
  }
";
    let text = debian(REGION, "none", &format!("{}  post-processor \"manifest\" {{}}\n", shell(&["echo filled"])));
    let text = text.with_options(options).text().replace("  ami_name      = \"none\"\n", "");
    let run = server.build(&text.replace("amazon-ebs", "amazon-ebsvolume")).await;
    let done = run.succeeded().await;
    let ec2 = Ec2::new(REGION);
    sandbox::of_build_are_left(&run.builds, &["volumes ", "snapshots "]).await;
    let volumes = ec2.volumes_of(&run.builds[0]).await;
    let [volume] = volumes.as_slice() else { panic!("one volume stays: {volumes:#?}") };
    assert_eq!((volume.state.as_str(), volume.size.as_str()), ("available", "4"));
    assert_eq!(volume.tags["Name"], "data");
    assert!(volume.tags["From"].starts_with("debian-12-amd64-"), "{volume:#?}");
    assert_eq!(volume.tags["ingot:os"], "Debian GNU/Linux 12");
    for gone in ["Launch", "ingot:temporary"] {
        assert!(!volume.tags.contains_key(gone), "{volume:#?}");
    }
    let snapshots = ec2.snapshots_of(&run.builds[0]).await;
    let [(snapshot, of, description, tags)] = snapshots.as_slice() else { panic!("one snapshot: {snapshots:#?}") };
    assert_eq!((of, description.as_str(), tags["Name"].as_str()), (&volume.id, "data", "data-snapshot"));
    assert!(!tags.contains_key("ingot:temporary") && tags.contains_key("ingot:family"), "{tags:#?}");

    let build = &done["builds"][0];
    let id = format!("{REGION}:{snapshot},{REGION}:{}", volume.id);
    assert_eq!(build["artifact_id"], id);
    let artifact = |kind: &str, id: &str| json!({"kind": kind, "id": id, "account": "default", "region": REGION});
    assert_eq!(build["artifacts"], json!([artifact("snapshot", snapshot), artifact("volume", &volume.id)]));
    let log = run.log().await;
    assert!(log.contains("EBS Volumes were created:"), "{log}");

    ec2.remove_volume(&volume.id).await;
    ec2.remove_snapshot(snapshot).await;
    sandbox::nothing_is_left(&run.builds).await;
}

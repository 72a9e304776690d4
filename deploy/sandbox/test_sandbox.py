"""The sandbox tried as its users use it: AWS calls with boto3, SSH into real containers.

    python3 -m pytest test_sandbox.py          (as root, or where Docker and ports under 1024 may be used)

It starts a sandbox of its own beside any other, and asserts at the end that nothing of it is left.
"""

import json
import os
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from sandbox_server import session_manager

CANONICAL = "099720109477"
JAMMY = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
WAIT_SECONDS = 60


def until(probe, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {WAIT_SECONDS} seconds: {what}")


def newest(ec2, name=JAMMY, owner=CANONICAL):
    found = ec2.describe_images(Owners=[owner], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    return max(found, key=lambda image: image["CreationDate"])["ImageId"]


def import_key(sandbox, ec2):
    with open(sandbox.key + ".pub", "rb") as file:
        return ec2.import_key_pair(KeyName="test", PublicKeyMaterial=file.read())


def launch(ec2, image, **more):
    arguments = {"InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **more}
    return ec2.run_instances(ImageId=image, **arguments)["Instances"][0]["InstanceId"]


def instance(ec2, instance_id):
    return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def in_state(ec2, instance_id, state):
    return until(lambda: (found := instance(ec2, instance_id))["State"]["Name"] == state and found,
                 f"{instance_id} {state}")


def available(ec2, image_id):
    return until(lambda: (found := ec2.describe_images(ImageIds=[image_id])["Images"][0])["State"] == "available"
                 and found, f"{image_id} available")


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


def tags(*resource_types):
    return [{"ResourceType": kind, "Tags": [{"Key": "kind", "Value": kind}]} for kind in resource_types]


def kind_of(resource):
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}.get("kind")


# ---- machines -------------------------------------------------------------------------------------------------

def test_what_is_baked_comes_up(sandbox, ec2):
    """Install and enable a service, make an image, boot it: the service runs. Identity is new."""
    import_key(sandbox, ec2)
    first = launch(ec2, newest(ec2), KeyName="test", UserData="#!/bin/sh\nid -un > /var/tmp/user-data")
    address = in_state(ec2, first, "running")["PublicIpAddress"]
    assert address.startswith("127.77.")
    done = sandbox.ssh(address, ". /etc/os-release; echo $ID $VERSION_CODENAME; id -un; sudo -n id -un; "
                       "for i in 1 2 3 4 5; do cat /var/tmp/user-data && break; sleep 1; done")
    assert done.stdout.split() == ["ubuntu", "jammy", "ubuntu", "root", "root"], done
    done = sandbox.ssh(address, "set -e; sudo apt-get update; sudo DEBIAN_FRONTEND=noninteractive apt-get upgrade -y; "
                       "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y nginx; sudo systemctl enable nginx; "
                       "systemctl is-active nginx; echo Hello | sudo tee /var/www/html/index.html")
    assert done.returncode == 0, done
    identity = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
    old_identity = sandbox.ssh(address, identity + "; sudo truncate -s 0 /etc/machine-id").stdout
    ec2.stop_instances(InstanceIds=[first])
    in_state(ec2, first, "stopped")
    image = ec2.create_image(InstanceId=first, Name="baked", TagSpecifications=tags("image", "snapshot"))["ImageId"]
    refused("InvalidAMIID.Unavailable", ec2.run_instances, ImageId=image, MinCount=1, MaxCount=1)
    assert kind_of(available(ec2, image)) == "image"
    ec2.terminate_instances(InstanceIds=[first])

    second = launch(ec2, image, KeyName="test")
    address = in_state(ec2, second, "running")["PublicIpAddress"]
    new_identity = sandbox.ssh(address, identity).stdout
    assert not set(old_identity.split()[::3]) & set(new_identity.split()[::3])
    page = until(lambda: sandbox.ssh(address, "curl -s http://127.0.0.1/").stdout, "nginx")
    assert page == "Hello\n"
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        assert answer.read() == b"Hello\n"
    assert "Server listening" in ec2.get_console_output(InstanceId=second)["Output"]
    out = sandbox.control("POST", f"instances/{second}/exec", {"command": "systemctl is-enabled nginx; exit 3"})
    assert (out["exit_code"], out["stdout"]) == (3, "enabled\n")


def test_amazon_linux_and_debian(sandbox):
    tokyo = sandbox.client(region="ap-northeast-1")
    import_key(sandbox, tokyo)
    amazon = launch(tokyo, "ami-00000000", KeyName="test")
    debian = launch(tokyo, newest(tokyo, "debian-12-amd64-*", "136693071363"), KeyName="test")
    address = in_state(tokyo, amazon, "running")["PublicIpAddress"]
    done = sandbox.ssh(address, "set -e; . /etc/os-release; echo $ID $VERSION; "
                       "sudo amazon-linux-extras install -y nginx1 >/dev/null; sudo systemctl start nginx; "
                       "echo Tokyo | sudo tee /usr/share/nginx/html/index.html; curl -s http://127.0.0.1/; "
                       "ls -d /etc/nginx/conf.d; sudo yum clean all >/dev/null", "ec2-user")
    assert done.stdout.split() == ["amzn", "2", "Tokyo", "Tokyo", "/etc/nginx/conf.d"], done
    address = in_state(tokyo, debian, "running")["PublicIpAddress"]
    assert sandbox.ssh(address, "sudo -n id -un", "admin").stdout == "root\n"


def test_stop_start_reboot_and_power_off(sandbox, ec2):
    import_key(sandbox, ec2)
    one = launch(ec2, newest(ec2), KeyName="test")
    address = in_state(ec2, one, "running")["PublicIpAddress"]
    assert sandbox.ssh(address, "touch kept; sudo reboot").returncode in (0, 255)
    until(lambda: sandbox.control("GET", f"instances/{one}/console")["console"].count("Ingot sandbox: booting") == 2,
          "second boot")
    assert sandbox.ssh(address, "ls").stdout == "kept\n"
    ec2.reboot_instances(InstanceIds=[one])
    until(lambda: sandbox.control("GET", f"instances/{one}/console")["console"].count("Ingot sandbox: booting") == 3,
          "third boot")
    assert instance(ec2, one)["State"]["Name"] == "running"
    before = ec2.stop_instances(InstanceIds=[one])["StoppingInstances"][0]
    assert (before["PreviousState"]["Name"], before["CurrentState"]["Name"]) == ("running", "stopping")
    in_state(ec2, one, "stopped")
    ec2.start_instances(InstanceIds=[one])
    address = in_state(ec2, one, "running")["PublicIpAddress"]
    assert sandbox.ssh(address, "ls; sudo shutdown -h now").stdout == "kept\n"
    in_state(ec2, one, "stopped")
    gone = launch(ec2, newest(ec2), KeyName="test", InstanceInitiatedShutdownBehavior="terminate")
    sandbox.ssh(in_state(ec2, gone, "running")["PublicIpAddress"], "sudo poweroff")
    in_state(ec2, gone, "terminated")


def test_a_machine_that_dies_and_one_that_never_answers(sandbox, ec2):
    sandbox.control("POST", "faults", {"action": "SandboxBoot", "times": 1})
    mute = launch(ec2, newest(ec2))
    in_state(ec2, mute, "running")
    until(lambda: "no SSH" in ec2.get_console_output(InstanceId=mute)["Output"], "console output")
    sandbox.control("POST", f"instances/{mute}/kill")
    assert in_state(ec2, mute, "terminated")["StateReason"]["Code"] == "Server.InternalError"


# ---- instances ------------------------------------------------------------------------------------------------

def test_launch_is_idempotent_even_after_the_end(sandbox, ec2):
    image = newest(ec2)
    one = launch(ec2, image, ClientToken="token")
    assert launch(ec2, image, ClientToken="token") == one
    refused("IdempotentParameterMismatch", launch, ec2=ec2, image=image, ClientToken="token", InstanceType="t3.large")
    other_zone = launch(ec2, image, ClientToken="token", Placement={"AvailabilityZone": "us-east-1b"})
    ec2.terminate_instances(InstanceIds=[one, other_zone])
    in_state(ec2, one, "terminated")
    again = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, ClientToken="token")
    assert again["Instances"][0]["InstanceId"] == one
    assert again["Instances"][0]["State"]["Name"] == "terminated"
    assert one != other_zone


def test_all_tags_and_attributes_of_a_launch(sandbox, ec2):
    import_key(sandbox, ec2)
    group = ec2.create_security_group(GroupName="g", Description="d", TagSpecifications=tags("security-group"))["GroupId"]
    one = launch(ec2, newest(ec2), KeyName="test", SecurityGroupIds=[group], UserData="hello",
                 MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
                 BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3"}},
                                      {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5, "Encrypted": True}},
                                      {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"}],
                 TagSpecifications=tags("instance", "volume", "network-interface"))
    found = in_state(ec2, one, "running")
    assert kind_of(found) == "instance" and found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["SecurityGroups"][0]["GroupId"] == group
    volumes = ec2.describe_volumes(Filters=[{"Name": "tag:kind", "Values": ["volume"]}])["Volumes"]
    assert sorted((v["Size"], v["VolumeType"], v["Encrypted"]) for v in volumes) == [(5, "gp2", True), (20, "gp3", False)]
    interfaces = ec2.describe_network_interfaces(Filters=[{"Name": "tag:kind", "Values": ["network-interface"]}])
    assert len(interfaces["NetworkInterfaces"]) == 1
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert kind_of(shown) == "security-group"
    attribute = ec2.describe_instance_attribute(InstanceId=one, Attribute="userData")
    assert attribute["UserData"]["Value"] == "aGVsbG8="
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    ec2.terminate_instances(InstanceIds=[one])
    assert not in_state(ec2, one, "terminated").get("NetworkInterfaces")
    # Of the two, only the root volume goes with its instance unless a request says otherwise.
    left = ec2.describe_volumes()["Volumes"]
    assert [(v["Size"], v["State"]) for v in left] == [(5, "available")]
    ec2.delete_volume(VolumeId=left[0]["VolumeId"])
    ec2.delete_security_group(GroupId=group)
    ec2.delete_key_pair(KeyName="test")
    assert sandbox.control("GET", "leftovers")["total"] == 0


def test_instance_queries(sandbox, ec2):
    sandbox.control("POST", "timing", {"boot": 0})
    image = newest(ec2)
    ids = [launch(ec2, image) for _ in range(7)]
    unknown = "i-00000000000000001"
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [unknown, *ids[:2]]}])["Reservations"]
    assert [i["InstanceId"] for r in found for i in r["Instances"]] == ids[:2]
    refused("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=[unknown, ids[0]])
    refused("FilterLimitExceeded", ec2.describe_instances,
            Filters=[{"Name": "instance-id", "Values": [f"i-{n:017x}" for n in range(201)]}])
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(p["Reservations"]) for p in pages] == [5, 2]
    assert [r["Instances"][0]["InstanceId"] for p in pages for r in p["Reservations"]] == ids
    refused("InvalidAMIID.NotFound", launch, ec2=ec2, image="ami-0123456789abcdef0")
    refused("InvalidKeyPair.NotFound", launch, ec2=ec2, image=image, KeyName="none")


def test_states_take_their_time(sandbox, ec2):
    sandbox.control("POST", "timing", {"boot": 1.5, "stop": 1})
    started = time.monotonic()
    one = launch(ec2, newest(ec2))
    assert instance(ec2, one)["State"]["Name"] == "pending"
    refused("IncorrectInstanceState", ec2.stop_instances, InstanceIds=[one])
    refused("IncorrectInstanceState", ec2.create_image, InstanceId=one, Name="too early")
    in_state(ec2, one, "running")
    assert 1.4 < time.monotonic() - started < 4
    ec2.stop_instances(InstanceIds=[one])
    refused("IncorrectInstanceState", ec2.start_instances, InstanceIds=[one])
    in_state(ec2, one, "stopped")


def test_terminate_wins_over_a_boot_under_way(sandbox, ec2):
    ids = [launch(ec2, newest(ec2)) for _ in range(3)]
    ec2.terminate_instances(InstanceIds=ids)
    for one in ids:
        in_state(ec2, one, "terminated")
    until(lambda: sandbox.control("GET", "leftovers")["total"] == 0, "no container")


def test_fleet_instances_have_machines(sandbox, ec2):
    import_key(sandbox, ec2)
    ec2.create_launch_template(LaunchTemplateName="template", LaunchTemplateData={
        "ImageId": newest(ec2), "InstanceType": "t3.micro", "KeyName": "test"})
    ec2.create_fleet(Type="instant", LaunchTemplateConfigs=[{
        "LaunchTemplateSpecification": {"LaunchTemplateName": "template", "Version": "1"},
        "Overrides": [{"InstanceType": "t3.small"}]}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"})
    one = ec2.describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
    address = in_state(ec2, one, "running")["PublicIpAddress"]
    assert sandbox.ssh(address, "id -un").stdout == "ubuntu\n"


# ---- images ---------------------------------------------------------------------------------------------------

def test_base_images_and_their_owners(sandbox, ec2):
    everybody = ec2.describe_images(Filters=[{"Name": "name", "Values": [JAMMY]}])["Images"]
    theirs = ec2.describe_images(Owners=[CANONICAL], Filters=[
        {"Name": "name", "Values": [JAMMY]}, {"Name": "root-device-type", "Values": ["ebs"]},
        {"Name": "virtualization-type", "Values": ["hvm"]}])["Images"]
    stranger = max(everybody, key=lambda i: i["Name"])
    assert stranger["OwnerId"] not in {i["OwnerId"] for i in theirs} and len(theirs) == 1
    amazon = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["amzn2-ami-hvm-*-x86_64-gp?"]}])
    assert {i["OwnerId"] for i in amazon["Images"]} == {"137112412989"}
    assert ec2.describe_images(ImageIds=["ami-cd0f5cb6"])["Images"][0]["OwnerId"] == CANONICAL
    refused("InvalidAMIID.NotFound", sandbox.client(region="eu-west-1").describe_images, ImageIds=["ami-cd0f5cb6"])
    assert ec2.describe_images(Owners=["self"])["Images"] == []


def bake(ec2, name, **more):
    one = launch(ec2, newest(ec2))
    in_state(ec2, one, "running")
    image = ec2.create_image(InstanceId=one, Name=name, NoReboot=True, **more)["ImageId"]
    return one, available(ec2, image)


def test_images_from_beginning_to_end(sandbox, ec2):
    one, image = bake(ec2, "first", Description="d", TagSpecifications=tags("image", "snapshot"))
    refused("InvalidAMIName.Duplicate", ec2.create_image, InstanceId=one, Name="first")
    refused("InvalidAMIName.Malformed", ec2.create_image, InstanceId=one, Name="bad#name")
    snapshot, = ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag:kind", "Values": ["snapshot"]}])["Snapshots"]
    assert image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == snapshot["SnapshotId"]
    refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot["SnapshotId"])
    mine = ec2.describe_images(Owners=["self"], Filters=[{"Name": "tag:kind", "Values": ["im*"]}])["Images"]
    assert [i["ImageId"] for i in mine] == [image["ImageId"]]

    oregon = sandbox.client(region="us-west-2")
    copy = {"Name": "copied", "SourceRegion": "us-east-1", "SourceImageId": image["ImageId"], "Encrypted": True,
            "KmsKeyId": "alias/mine", "CopyImageTags": True, "ClientToken": "c",
            "TagSpecifications": tags("snapshot")}
    copied = oregon.copy_image(**copy)["ImageId"]
    assert oregon.copy_image(**copy)["ImageId"] == copied
    refused("IdempotentParameterMismatch", oregon.copy_image, **{**copy, "Name": "other"})
    ec2.deregister_image(ImageId=image["ImageId"])
    refused("InvalidAMIID.Unavailable", ec2.describe_images, ImageIds=[image["ImageId"]])
    ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    found = available(oregon, copied)
    assert kind_of(found) == "image" and found["SourceImageId"] == image["ImageId"]
    assert found["BlockDeviceMappings"][0]["Ebs"]["KmsKeyId"] == "alias/mine"
    shot = oregon.describe_snapshots(OwnerIds=["self"])["Snapshots"][0]
    assert shot["Encrypted"] and shot["KmsKeyId"] == "alias/mine" and kind_of(shot) == "snapshot"
    # The copy boots although the image it was made from is gone.
    in_state(oregon, launch(oregon, copied), "running")
    done = oregon.deregister_image(ImageId=copied, DeleteAssociatedSnapshots=True)
    assert done["DeleteSnapshotResults"][0]["SnapshotId"] == shot["SnapshotId"]


def test_an_image_is_registered_of_a_volumes_snapshot(sandbox, ec2):
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "VolumeType": "gp3", "Encrypted": True}}
    one = launch(ec2, newest(ec2), BlockDeviceMappings=[disk])
    found = in_state(ec2, one, "running")
    volume = next(d["Ebs"]["VolumeId"] for d in found["BlockDeviceMappings"] if d["DeviceName"] == "/dev/sdf")
    made = ec2.create_snapshot(VolumeId=volume, Description="d", TagSpecifications=tags("snapshot"))
    assert (made["State"], made["VolumeSize"], kind_of(made)) == ("pending", 3, "snapshot")
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": made["SnapshotId"], "DeleteOnTermination": True}}
    request = {"Name": "registered", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [root],
               "TagSpecifications": tags("image")}
    refused("InvalidParameterValue", ec2.register_image, **request)
    until(lambda: ec2.describe_snapshots(SnapshotIds=[made["SnapshotId"]])["Snapshots"][0]["State"] == "completed",
          "the snapshot is complete")
    ec2.terminate_instances(InstanceIds=[one])
    image = available(ec2, ec2.register_image(**request)["ImageId"])
    device, = image["BlockDeviceMappings"]
    assert (device["DeviceName"], device["Ebs"]["VolumeSize"], device["Ebs"]["Encrypted"]) == ("/dev/xvda", 3, True)
    assert kind_of(image) == "image" and image["RootDeviceName"] == "/dev/xvda"
    refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=made["SnapshotId"])
    in_state(ec2, launch(ec2, image["ImageId"]), "running")
    ec2.deregister_image(ImageId=image["ImageId"])
    ec2.delete_snapshot(SnapshotId=made["SnapshotId"])


def test_another_volume_becomes_the_root_of_a_stopped_instance(sandbox, ec2):
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3}}
    one = launch(ec2, newest(ec2), BlockDeviceMappings=[disk])
    in_state(ec2, one, "running")
    ec2.stop_instances(InstanceIds=[one])
    found = in_state(ec2, one, "stopped")
    volumes = {d["DeviceName"]: d["Ebs"]["VolumeId"] for d in found["BlockDeviceMappings"]}
    for volume in volumes.values():
        ec2.detach_volume(InstanceId=one, VolumeId=volume)
    ec2.attach_volume(InstanceId=one, VolumeId=volumes["/dev/sdf"], Device=found["RootDeviceName"])
    image = available(ec2, ec2.create_image(InstanceId=one, Name="swapped")["ImageId"])
    device, = image["BlockDeviceMappings"]
    assert (device["DeviceName"], device["Ebs"]["VolumeSize"]) == (found["RootDeviceName"], 3)
    ec2.terminate_instances(InstanceIds=[one])
    until(lambda: {v["State"] for v in ec2.describe_volumes(VolumeIds=list(volumes.values()))["Volumes"]} ==
          {"available"}, "the volumes stay")
    for volume in volumes.values():
        ec2.delete_volume(VolumeId=volume)


def test_a_running_instance_is_rebooted_for_its_image_and_an_image_may_go_before_its_instance(sandbox, ec2):
    one = launch(ec2, newest(ec2))
    in_state(ec2, one, "running")
    image = ec2.create_image(InstanceId=one, Name="with reboot")["ImageId"]
    available(ec2, image)
    until(lambda: sandbox.control("GET", f"instances/{one}/console")["console"].count("Ingot sandbox: booting") == 2,
          "second boot")
    assert instance(ec2, one)["State"]["Name"] == "running"
    two = launch(ec2, image)
    in_state(ec2, two, "running")
    ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    ec2.terminate_instances(InstanceIds=[one, two])
    until(lambda: sandbox.control("GET", "leftovers")["total"] == 0, "no image of a container left")


def test_image_attributes(sandbox, ec2):
    _, image = bake(ec2, "attributes")
    image_id = image["ImageId"]
    ec2.modify_image_attribute(ImageId=image_id, Description={"Value": "new"})
    ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})
    ec2.enable_image_deregistration_protection(ImageId=image_id)
    refused("OperationNotPermitted", ec2.deregister_image, ImageId=image_id)
    ec2.disable_image_deregistration_protection(ImageId=image_id)
    ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt="2020-01-01T00:00:00Z")
    found = ec2.describe_images(Owners=["self"])["Images"][0]
    assert (found["Description"], found["ImdsSupport"]) == ("new", "v2.0")
    assert found["DeprecationTime"].startswith("2020-01-01T00:00:00")
    ec2.disable_image(ImageId=image_id)
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    assert ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"][0]["State"] == "disabled"
    refused("InvalidAMIID.Unavailable", launch, ec2=ec2, image=image_id)
    ec2.enable_image(ImageId=image_id)
    ec2.enable_fast_launch(ImageId=image_id, ResourceType="snapshot", MaxParallelLaunches=6)
    assert ec2.describe_fast_launch_images(ImageIds=[image_id])["FastLaunchImages"][0]["State"] == "enabled"


def test_accounts_are_apart_and_can_share(sandbox, ec2):
    role = sandbox.client("sts").assume_role(RoleArn="arn:aws:iam::222233334444:role/build", RoleSessionName="session")
    given = role["Credentials"]
    credentials = {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"], "token": given["SessionToken"]}
    assert sandbox.client("sts", **credentials).get_caller_identity()["Account"] == "222233334444"
    other = sandbox.client(**credentials)
    _, image = bake(ec2, "shared", TagSpecifications=tags("image"))
    image_id = image["ImageId"]
    refused("InvalidAMIID.NotFound", other.describe_images, ImageIds=[image_id])
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"UserId": "222233334444"}]})
    permissions = ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")["LaunchPermissions"]
    assert permissions == [{"UserId": "222233334444"}]
    seen = other.describe_images(ExecutableUsers=["self"], Filters=[{"Name": "name", "Values": ["shared"]}])["Images"][0]
    assert seen["OwnerId"] == "123456789012" and not seen.get("Tags")
    in_state(other, launch(other, image_id), "running")
    refused("AuthFailure", other.deregister_image, ImageId=image_id)
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add",
                                  UserIds=["222233334444"])
    shown = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
    assert shown["CreateVolumePermissions"] == [{"UserId": "222233334444"}]


def test_key_pairs(sandbox, ec2):
    pair = import_key(sandbox, ec2)
    refused("InvalidKeyPair.Duplicate", import_key, sandbox=sandbox, ec2=ec2)
    found = ec2.describe_key_pairs(KeyPairIds=[pair["KeyPairId"]], IncludePublicKey=True)["KeyPairs"][0]
    assert found["KeyFingerprint"] == pair["KeyFingerprint"] and found["PublicKey"].startswith("ssh-ed25519")
    ec2.delete_key_pair(KeyPairId=pair["KeyPairId"])
    assert ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": ["te*"]}])["KeyPairs"] == []
    ec2.delete_key_pair(KeyName="test")


# ---- control --------------------------------------------------------------------------------------------------

def test_faults(sandbox, ec2):
    sandbox.control("POST", "faults", {"action": "RunInstances", "code": "InsufficientInstanceCapacity", "status": 500})
    image = newest(ec2)
    refused("InsufficientInstanceCapacity", launch, ec2=ec2, image=image)
    sandbox.control("POST", "faults", {"action": "RunInstances", "when": "after", "times": 1})
    with pytest.raises(Exception) as lost:
        launch(ec2, image, ClientToken="lost")
    assert not isinstance(lost.value, ClientError)
    assert len(ec2.describe_instances()["Reservations"]) == 1
    one = launch(ec2, image, ClientToken="lost")
    assert len(ec2.describe_instances()["Reservations"]) == 1
    sandbox.control("POST", "faults", {"action": "TerminateInstances", "when": "after", "code": "RequestLimitExceeded",
                                       "status": 503})
    refused("RequestLimitExceeded", ec2.terminate_instances, InstanceIds=[one])
    in_state(ec2, one, "terminated")
    sandbox.control("POST", "faults", {"action": "DescribeVpcs", "delay": 0.5, "region": "us-east-1"})
    started = time.monotonic()
    ec2.describe_vpcs()
    assert time.monotonic() - started > 0.5
    sandbox.control("DELETE", "faults")
    counted = sandbox.control("GET", "calls?action=RunInstances")
    assert counted["counts"]["RunInstances"] == 3 and counted["calls"][0]["fault"] == "InsufficientInstanceCapacity"
    with pytest.raises(urllib.error.HTTPError):
        sandbox.control("POST", "faults", {"code": "NoAction"})


def test_many_calls_at_once(sandbox):
    """40 builds make about 25 calls each; the API must not be what they wait for."""
    clients = [sandbox.client() for _ in range(8)]
    image = newest(clients[0])
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        def work(client):
            for _ in range(60):
                client.describe_images(ImageIds=[image])
                client.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
        list(pool.map(work, clients))
    # 960 calls; boto3 itself, in this process, takes most of the time.
    assert time.monotonic() - started < 20


def test_up_again_is_quick_and_a_killed_server_leaves_nothing_after_down(sandbox, ec2):
    started = time.monotonic()
    assert "runs already" in sandbox.script("up").stderr
    assert time.monotonic() - started < 5
    in_state(ec2, launch(ec2, newest(ec2)), "running")
    with open(os.path.join(sandbox.state, "server.pid"), encoding="utf-8") as file:
        os.kill(int(file.read()), 9)
    label = subprocess.run(["docker", "ps", "--format", '{{.Label "ingot.sandbox"}}'], capture_output=True, text=True)
    assert label.stdout.strip()
    sandbox.script("down")
    engine = subprocess.run(["docker", "ps", "-aq", "--filter", "name=ingot-sandbox-"], capture_output=True, text=True)
    sandbox.script("up")
    assert sandbox.control("GET", "leftovers")["total"] == 0
    assert engine.returncode != 0 or label.stdout.split()[0] not in engine.stdout


# ---- Session Manager --------------------------------------------------------------------------------------------

class Client:
    """The client's end of a data channel, with just what the test below says."""

    def __init__(self, opened):
        url = urllib.parse.urlsplit(opened["StreamUrl"])
        self.connection = socket.create_connection((url.hostname, url.port), timeout=30)
        self.connection.sendall((f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        assert b" 101 " in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
        self.send(1, json.dumps({"TokenValue": opened["TokenValue"], "MessageSchemaVersion": "1.0"}).encode())

    def read(self, count):
        found = b""
        while len(found) < count:
            more = self.connection.recv(count - len(found))
            assert more, "the sandbox hung up"
            found += more
        return found

    def send(self, kind, payload):
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack(">BH", 0xFE, len(payload))
        self.connection.sendall(bytes([0x80 | kind]) + length + b"\0\0\0\0" + payload)

    def say(self, number, payload_type, payload):
        self.send(2, session_manager.encode("input_stream_data", number, payload_type, payload))

    def hear(self, wanted):
        """The next message of a type; stream data is acknowledged."""
        while True:
            length = self.read(2)[1]
            message = self.read(struct.unpack(">H", self.read(2))[0] if length == 126 else length)
            kind, number, identifier, payload_type, payload = session_manager.decode(message)
            if kind == "output_stream_data":
                words = {"AcknowledgedMessageType": kind, "AcknowledgedMessageId": str(identifier),
                         "AcknowledgedMessageSequenceNumber": number, "IsSequentialMessage": True}
                self.send(2, session_manager.encode("acknowledge", 0, 0, json.dumps(words).encode()))
            if kind == wanted:
                return payload_type, payload


def test_a_session_leads_to_the_sshd_of_an_instance_with_a_role(sandbox, ec2):
    iam, ssm = sandbox.client("iam"), sandbox.client("ssm")
    iam.create_instance_profile(InstanceProfileName="ssm")
    start = {"DocumentName": "AWS-StartSSHSession", "Parameters": {"portNumber": ["22"]}}
    without = launch(ec2, newest(ec2))
    machine = launch(ec2, newest(ec2), IamInstanceProfile={"Name": "ssm"})
    refused("TargetNotConnected", ssm.start_session, Target=machine, **start)
    for instance_id in (without, machine):
        in_state(ec2, instance_id, "running")
    refused("TargetNotConnected", ssm.start_session, Target=without, **start)
    refused("TargetNotConnected", sandbox.client("ssm", region="eu-west-1").start_session, Target=machine, **start)
    refused("InvalidDocument", ssm.start_session, Target=machine, DocumentName="AWS-StartInteractiveCommand")

    opened = ssm.start_session(Target=machine, **start)
    client = Client(opened)
    kind, request = client.hear("output_stream_data")
    assert kind == 5 and json.loads(request)["RequestedClientActions"][0]["ActionParameters"]["SessionType"] == "Port"
    client.say(0, 6, json.dumps({"ClientVersion": "1.2.0.0", "Errors": [], "ProcessedClientActions": [
        {"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": None, "Error": ""}]}).encode())
    assert client.hear("output_stream_data")[0] == 7
    assert client.hear("output_stream_data")[1].startswith(b"SSH-2.0-OpenSSH")
    client.connection.close()
    # What it says while nobody hears is repeated on the next websocket.
    resumed = ssm.resume_session(SessionId=opened["SessionId"])
    assert resumed["TokenValue"] != opened["TokenValue"]
    client = Client(resumed)
    client.say(1, 1, b"nonsense\r\n")
    assert b"Invalid SSH identification" in client.hear("output_stream_data")[1]
    assert client.hear("channel_closed")
    client.connection.close()

    ended = ssm.start_session(Target=machine, **start)
    ssm.terminate_session(SessionId=ended["SessionId"])
    refused("DoesNotExistException", ssm.resume_session, SessionId=ended["SessionId"])
    ec2.terminate_instances(InstanceIds=[without, machine])

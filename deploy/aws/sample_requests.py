"""Requests as Ingot sends them, one for each thing that it asks of EC2, and requests that the build role must not get.

The account that they speak of is that of `values.example.json`. Its resources are named by what they are:

    own       made by this deployment, in a build that is not over
    done      made by this deployment and finished: without `ingot:temporary`
    other     made by another deployment in the same account
    foreign   without any tag of Ingot
"""

import json
from pathlib import Path

from ec2_requests import KIND_OF_ID, Account, Resource, authorizations
from policy_evaluator import Authorization

VALUES = json.loads((Path(__file__).resolve().parent / "values.example.json").read_text("utf-8"))
ACCOUNT_ID, DEPLOYMENT, REGION = VALUES["account_id"], VALUES["deployment_id"], VALUES["regions"][0]
OTHER_DEPLOYMENT = "11111111-2222-4333-8444-555555555555"
LISTED_ROLE, LISTED_KEY = VALUES["instance_profile_role_arns"][0], VALUES["kms_key_arns"][0]
UNLISTED_ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/admin"

FINISHED = {"ingot:deployment": DEPLOYMENT, "ingot:build-id": "b", "ingot:attempt": "1", "ingot:run-id": "r"}
TEMPORARY = {**FINISHED, "ingot:temporary": "true"}
STATES = {
    "own": TEMPORARY,
    "done": FINISHED,
    "other": {**TEMPORARY, "ingot:deployment": OTHER_DEPLOYMENT},
    "foreign": {"Name": "production"},
}
RESOURCES = {f"{prefix}-{state}": Resource(tags) for prefix in KIND_OF_ID for state, tags in STATES.items()}
RESOURCES["ami-strangers"] = Resource(owner="099720109477")
ROLES = {"image-builder": LISTED_ROLE, "admin": UNLISTED_ROLE}


def account(region=REGION):
    return Account(ACCOUNT_ID, region, RESOURCES, roles=ROLES)


def specification(**kinds):
    """Parameters that tag what a call makes: `specification(key_pair=TEMPORARY)`."""
    parameters = {}
    for number, (kind, tags) in enumerate(kinds.items(), 1):
        parameters[f"TagSpecification.{number}.ResourceType"] = kind.replace("_", "-")
        parameters.update(tagging(tags, f"TagSpecification.{number}.Tag"))
    return parameters


def tagging(tags, prefix="Tag"):
    """Parameters of CreateTags; a value of `None` names only the key, as DeleteTags does."""
    parameters = {}
    for number, (key, value) in enumerate(tags.items(), 1):
        parameters[f"{prefix}.{number}.Key"] = key
        if value is not None:
            parameters[f"{prefix}.{number}.Value"] = value
    return parameters


def launch(instance=TEMPORARY, volume=TEMPORARY, network_interface=TEMPORARY, **more):
    tags = {"instance": instance, "volume": volume, "network_interface": network_interface}
    return {
        "ImageId": "ami-strangers", "KeyName": "key-own", "MinCount": "1", "MaxCount": "1",
        "NetworkInterface.1.SubnetId": "subnet-foreign", "NetworkInterface.1.SecurityGroupId.1": "sg-own",
        **specification(**{kind: tags for kind, tags in tags.items() if tags}), **more,
    }


def share_snapshot(snapshot="snap-own", operation="add", **more):
    return {"SnapshotId": snapshot, "Attribute": "createVolumePermission", "OperationType": operation, **more}


def copy(image=TEMPORARY, snapshot=TEMPORARY, source="ami-own"):
    tags = {kind: tags for kind, tags in (("image", image), ("snapshot", snapshot)) if tags}
    return {"SourceImageId": source, "SourceRegion": "eu-west-1", "Name": "n", **specification(**tags)}


def image_of(instance="i-own", image=TEMPORARY, snapshot=TEMPORARY):
    tags = {kind: tags for kind, tags in (("image", image), ("snapshot", snapshot)) if tags}
    return {"InstanceId": instance, "Name": "n", **specification(**tags)}


def tags_of(identifier, tags):
    return {"ResourceId.1": identifier, **tagging(tags)}


def kms(action, key=LISTED_KEY, via="ec2.eu-central-1.amazonaws.com", **context):
    if via:
        context["kms:ViaService"] = via
    return [Authorization(f"kms:{action}", key, context)]


def pass_role(role=LISTED_ROLE, service="ec2.amazonaws.com"):
    return [Authorization("iam:PassRole", role, {"iam:PassedToService": service})]


SHARED_ACCOUNT = VALUES["share_account_ids"][0]
DISK = {"BlockDeviceMapping.1.DeviceName": "/dev/sdf", "BlockDeviceMapping.1.Ebs.SnapshotId": "snap-foreign"}

# Calls in the words of src/cloud/aws; the describing ones need nothing but their names.
SENT = [
    *((name, {}) for name in (
        "DescribeImages", "DescribeInstances", "DescribeInstanceTypes", "DescribeKeyPairs", "DescribeNetworkInterfaces",
        "DescribeRegions", "DescribeSecurityGroups", "DescribeSnapshots", "DescribeSubnets", "DescribeVolumes",
        "DescribeVpcs")),
    ("ImportKeyPair", {"KeyName": "ingot-b-1", **specification(key_pair=TEMPORARY)}),
    *(("CreateSecurityGroup", {"GroupName": "ingot-b-1", **vpc, **specification(security_group=TEMPORARY)})
      for vpc in ({"VpcId": "vpc-foreign"}, {})),
    ("AuthorizeSecurityGroupIngress", {"GroupId": "sg-own", "IpPermissions.1.IpProtocol": "tcp"}),
    ("RunInstances", launch()),
    ("RunInstances", launch(**{"IamInstanceProfile.Name": "image-builder", **DISK})),
    ("RunInstances", launch(**{"NetworkInterface.1.SecurityGroupId.1": "sg-foreign"})),
    ("GetConsoleOutput", {"InstanceId": "i-own", "Latest": "true"}),
    ("StopInstances", {"InstanceId.1": "i-own"}),
    ("ModifyInstanceAttribute", {"InstanceId": "i-own", "EnaSupport.Value": "true"}),
    ("CreateImage", image_of()),
    ("CopyImage", copy()),
    # wait_image adds what the cloud dropped.
    ("CreateTags", tags_of("ami-own", {"Release": "1", "ingot:sha": "8c5e27a"})),
    ("CreateTags", tags_of("snap-own", {"Release": "1", "ingot:deployment": DEPLOYMENT})),
    # The commit, and once more after a crash.
    ("DeleteTags", {"ResourceId.1": "ami-own", "ResourceId.2": "snap-own", **tagging({"ingot:temporary": None})}),
    ("DeleteTags", {"ResourceId.1": "ami-done", "ResourceId.2": "snap-own", **tagging({"ingot:temporary": None})}),
    # A volume that is to outlive its build.
    ("DeleteTags", {"ResourceId.1": "vol-own", **tagging({"ingot:temporary": None})}),
    # The stage reconciler.
    ("CreateTags", tags_of("ami-done", {"ingot:stage": "prod"})),
    ("DeleteTags", tags_of("ami-done", {"ingot:stage": None})),
    ("ModifyImageAttribute", {"ImageId": "ami-own", "LaunchPermission.Add.1.UserId": SHARED_ACCOUNT}),
    ("ModifyImageAttribute", {"ImageId": "ami-own", "ImdsSupport.Value": "v2.0"}),
    ("ModifySnapshotAttribute", share_snapshot(**{"UserId.1": SHARED_ACCOUNT})),
    ("TerminateInstances", {"InstanceId.1": "i-own"}),
    ("DeleteKeyPair", {"KeyPairId": "key-own"}),
    ("DeleteSecurityGroup", {"GroupId": "sg-own"}),
    ("DeleteVolume", {"VolumeId": "vol-own"}),
    ("DeleteNetworkInterface", {"NetworkInterfaceId": "eni-own"}),
    # A crash between taking ingot:temporary off and the commit: undo meets finished things.
    *((action, {name: f"{prefix}-{state}"}) for state in ("own", "done") for action, name, prefix in (
        ("DeregisterImage", "ImageId", "ami"), ("DeleteSnapshot", "SnapshotId", "snap"))),
]

# What EC2 asks KMS in the role's name while it makes encrypted volumes, images and copies.
ASKED_OF_KMS = [
    *(kms(action) for action in (
        "Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo")),
    kms("CreateGrant", **{"kms:GrantIsForAWSResource": "true"}),
]

NAMING = {  # action: parameter, prefix of the id, states in which it is refused
    "TerminateInstances": ("InstanceId.1", "i", ("done", "other", "foreign")),
    "StopInstances": ("InstanceId.1", "i", ("done", "other", "foreign")),
    "ModifyInstanceAttribute": ("InstanceId", "i", ("done", "other", "foreign")),
    "GetConsoleOutput": ("InstanceId", "i", ("done", "other", "foreign")),
    "AuthorizeSecurityGroupIngress": ("GroupId", "sg", ("done", "other", "foreign")),
    "DeleteSecurityGroup": ("GroupId", "sg", ("done", "other", "foreign")),
    "DeleteKeyPair": ("KeyPairId", "key", ("done", "other", "foreign")),
    "DeleteVolume": ("VolumeId", "vol", ("done", "other", "foreign")),
    "DeleteNetworkInterface": ("NetworkInterfaceId", "eni", ("done", "other", "foreign")),
    "DeregisterImage": ("ImageId", "ami", ("other", "foreign")),
    "DeleteSnapshot": ("SnapshotId", "snap", ("other", "foreign")),
    "ModifyImageAttribute": ("ImageId", "ami", ("other", "foreign")),
}

OTHERS_TAGS, NOT_TEMPORARY = STATES["other"], FINISHED
STAGE, SHA = {"ingot:stage": "prod"}, {"ingot:sha": "forged"}

REFUSED_CALLS = [
    *((action, {name: f"{prefix}-{state}"}) for action, (name, prefix, states) in NAMING.items() for state in states),
    # One own thing in the list does not open the door for the others.
    ("TerminateInstances", {"InstanceId.1": "i-own", "InstanceId.2": "i-foreign"}),
    *((action, {"KeyName": "k", "GroupName": "k", **specification(**{kind: tags} if tags else {})})
      for action, kind in (("ImportKeyPair", "key_pair"), ("CreateSecurityGroup", "security_group"))
      for tags in (None, {"Name": "k"}, OTHERS_TAGS, NOT_TEMPORARY)),
    *(("RunInstances", launch(**{kind: tags})) for kind in ("instance", "volume", "network_interface")
      for tags in (None, {"Name": "k"}, OTHERS_TAGS, NOT_TEMPORARY)),
    ("RunInstances", launch(KeyName="key-foreign")),
    ("RunInstances", launch(KeyName="key-other")),
    ("RunInstances", launch(**{"IamInstanceProfile.Name": "admin"})),
    *(("CreateImage", image_of(instance=f"i-{state}")) for state in ("other", "foreign")),
    *(("CreateImage", image_of(**{kind: tags})) for kind in ("image", "snapshot") for tags in (None, OTHERS_TAGS)),
    *(("CopyImage", copy(**{kind: tags})) for kind in ("image", "snapshot") for tags in (None, OTHERS_TAGS)),
    ("CopyImage", copy(source="ami-strangers")),
    *(("CreateTags", tags_of(f"{prefix}-{state}", tags)) for prefix in ("i", "ami", "snap", "vol", "sg")
      for state in ("other", "foreign") for tags in (STAGE, SHA, FINISHED, {"Owner": "me"})),
    *(("CreateTags", tags_of("ami-done", tags)) for tags in (
        SHA, {"Owner": "me"}, {**STAGE, **SHA}, {"ingot:temporary": "true"}, {"ingot:deployment": OTHER_DEPLOYMENT})),
    ("CreateTags", tags_of("snap-done", STAGE)),
    ("CreateTags", tags_of("i-own", {"Owner": "me"})),
    *(("CreateTags", tags_of(f"{prefix}-own", {"ingot:deployment": OTHER_DEPLOYMENT})) for prefix in ("ami", "snap")),
    *(("DeleteTags", tags_of(identifier, {key: None}))
      for identifier in ("ami-other", "ami-foreign", "snap-other", "vol-other", "vol-foreign")
      for key in ("ingot:temporary", "ingot:stage", "ingot:deployment")),
    *(("DeleteTags", tags_of(identifier, tags))
      for identifier in ("ami-done", "ami-own", "snap-own", "vol-own") for tags in (
        {"ingot:sha": None}, {"ingot:deployment": None}, {"ingot:temporary": None, "ingot:sha": None})),
    ("DeleteTags", tags_of("ami-done", {"ingot:stage": None, "ingot:sha": None})),
    ("DeleteTags", tags_of("snap-done", {"ingot:stage": None})),
    # Without keys, DeleteTags takes all of them.
    *(("DeleteTags", {"ResourceId.1": identifier}) for identifier in ("ami-own", "ami-done", "snap-own")),
    *(("ModifySnapshotAttribute", share_snapshot(f"snap-{state}", **{"UserId.1": SHARED_ACCOUNT}))
      for state in ("other", "foreign")),
    ("ModifySnapshotAttribute", share_snapshot(**{"UserId.1": "444444444444"})),
    ("ModifySnapshotAttribute", share_snapshot(**{"UserId.1": SHARED_ACCOUNT, "UserId.2": "444444444444"})),
    ("ModifySnapshotAttribute", share_snapshot(**{"UserGroup.1": "all"})),
    ("ModifySnapshotAttribute", share_snapshot(**{"UserId.1": SHARED_ACCOUNT, "UserGroup.1": "all"})),
    ("ModifySnapshotAttribute", share_snapshot(operation="remove", **{"UserId.1": SHARED_ACCOUNT})),
]

REFUSED_QUESTIONS = [
    pass_role(UNLISTED_ROLE),
    pass_role(service="lambda.amazonaws.com"),
    kms("Decrypt", via=None),
    kms("Decrypt", via="s3.eu-central-1.amazonaws.com"),
    kms("Decrypt", key=f"arn:aws:kms:eu-central-1:{ACCOUNT_ID}:key/00000000-0000-4000-8000-000000000000"),
    kms("CreateGrant"),
    kms("CreateGrant", **{"kms:GrantIsForAWSResource": "false"}),
    kms("CreateGrant", via="s3.eu-central-1.amazonaws.com", **{"kms:GrantIsForAWSResource": "true"}),
    kms("ScheduleKeyDeletion"),
    # Tags that another call's making would bring.
    [Authorization("ec2:CreateTags", f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:volume/*", {
        "aws:RequestedRegion": REGION, "ec2:CreateAction": "CreateVolume", "aws:TagKeys": list(TEMPORARY),
        **{f"aws:RequestTag/{key}": value for key, value in TEMPORARY.items()}})],
    *([Authorization(action, "*", {"aws:RequestedRegion": REGION})] for action in (
        "ec2:StartInstances", "ec2:CreateVolume", "ec2:RegisterImage", "ec2:GetPasswordData", "iam:CreateRole",
        "s3:GetObject")),
]


def named(calls):
    return [(f"{number:03d}-{action}", authorizations(action, parameters, account()))
            for number, (action, parameters) in enumerate(calls)]


EXPLANATION = [Authorization("sts:DecodeAuthorizationMessage", "*")]

ALLOWED = named(SENT) + [(f"kms-{number}", asked) for number, asked in enumerate(ASKED_OF_KMS)] + [
    ("explanation", EXPLANATION)]
REFUSED = named(REFUSED_CALLS) + [(f"question-{number}", asked) for number, asked in enumerate(REFUSED_QUESTIONS)] + [
    (f"elsewhere-{action}", authorizations(action, parameters, account("ap-south-1")))
    for action, parameters in SENT if action in ("DescribeImages", "RunInstances", "CopyImage")]

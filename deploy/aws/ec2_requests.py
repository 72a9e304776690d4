"""What EC2 asks IAM about one API call: which action on which resources, with which context keys.

Follows the service authorization reference of EC2 (an excerpt is in `testdata/service-authorization.json`, and
`test_policy.py` compares the two) and the EC2 User Guide, "Grant permission to tag Amazon EC2 resources during
creation": resources that a call makes are asked about as `…/*` with the tags of the request, those that exist with their
own tags; tags given at creation are one question more, `ec2:CreateTags` with `ec2:CreateAction`.

Requests are flat parameters as they go over the wire, and as the sandbox records them.
"""

import re
from collections import defaultdict

from policy_evaluator import Authorization

# Where the kinds of resources stand in ARNs; images and snapshots belong to no account there.
WITHOUT_ACCOUNT = ("image", "snapshot")
KIND_OF_ID = {
    "i": "instance", "ami": "image", "snap": "snapshot", "vol": "volume", "eni": "network-interface",
    "sg": "security-group", "key": "key-pair", "subnet": "subnet", "vpc": "vpc",
}


class Resource:
    """Something that exists: its own tags, and for images of other accounts their owner."""

    def __init__(self, tags=None, owner=None):
        self.tags = dict(tags or {})
        self.owner = owner


class Account:
    """Where a call happens, and what is there. Ids that `resources` does not know are things without tags."""

    def __init__(self, account_id, region, resources=None, partition="aws", roles=None):
        self.id = account_id
        self.region = region
        self.partition = partition
        self.resources = resources if resources is not None else {}
        # Instance profile (name or ARN) to the ARN of its role.
        self.roles = roles or {}

    def resource(self, identifier):
        return self.resources.get(identifier, Resource())

    def arn(self, kind, name, region=None):
        account = "" if kind in WITHOUT_ACCOUNT else self.id
        return f"arn:{self.partition}:ec2:{region or self.region}:{account}:{kind}/{name}"


def values(parameters, *names):
    """The values of `Name.1`, `Name.2`, … or of plain `Name`, for any of the names."""
    found = []
    for name in names:
        pattern = re.compile(re.escape(name) + r"(\.\d+)?")
        found += [value for key, value in parameters.items() if pattern.fullmatch(key)]
    return found


def tags(parameters, prefix):
    """`PREFIX.1.Key`, `PREFIX.1.Value`, … as a dict; a tag without value has the value `None`."""
    numbered = defaultdict(dict)
    for key, value in parameters.items():
        found = re.fullmatch(re.escape(prefix) + r"\.(\d+)\.(Key|Value)", key)
        if found:
            numbered[found[1]][found[2]] = value
    return {tag["Key"]: tag.get("Value") for tag in numbered.values()}


def specified_tags(parameters):
    """The tags of each kind of resource that the call makes."""
    found = {}
    for key, kind in parameters.items():
        number = re.fullmatch(r"TagSpecification\.(\d+)\.ResourceType", key)
        if number:
            found[kind] = tags(parameters, f"TagSpecification.{number[1]}.Tag")
    return found


def request_tags(wanted):
    if not wanted:
        return {}
    context = {f"aws:RequestTag/{key}": value for key, value in wanted.items() if value is not None}
    return {**context, "aws:TagKeys": list(wanted)}


def authorizations(action, parameters, account):
    """All questions of one call; it goes through when each is answered with yes."""
    call = Call(action, parameters, account)
    getattr(call, "ask_" + snake(action), call.ask_plainly)()
    return call.asked


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Call:
    def __init__(self, action, parameters, account):
        self.action, self.parameters, self.account = action, parameters, account
        self.asked = []

    def ask(self, resource, action=None, **context):
        context = {"aws:RequestedRegion": self.account.region, **context}
        self.asked.append(Authorization(action or f"ec2:{self.action}", resource, context))

    def ask_existing(self, identifier, kind=None, **context):
        kind = kind or KIND_OF_ID[identifier.split("-")[0]]
        own_tags = self.account.resource(identifier).tags
        context.update((f"aws:ResourceTag/{key}", value) for key, value in own_tags.items())
        self.ask(self.account.arn(kind, identifier), **context)

    def ask_new(self, kind, name="*"):
        wanted = specified_tags(self.parameters).get(kind, {})
        self.ask(self.account.arn(kind, name), **request_tags(wanted))
        if wanted:
            self.ask(self.account.arn(kind, name), "ec2:CreateTags", **request_tags(wanted),
                     **{"ec2:CreateAction": self.action})

    def each(self, *names, **context):
        identifiers = values(self.parameters, *names)
        assert identifiers, f"{self.action} without {names}: {self.parameters}"
        for identifier in identifiers:
            self.ask_existing(identifier, **context)

    # ---- calls without resources ----

    def ask_plainly(self):
        assert self.action.startswith("Describe"), f"{self.action} is not known here"
        self.ask("*")

    # ---- making ----

    def ask_import_key_pair(self):
        self.ask_new("key-pair", self.parameters["KeyName"])

    def ask_create_security_group(self):
        self.ask_new("security-group")
        for vpc in values(self.parameters, "VpcId") or ["vpc-default"]:
            self.ask_existing(vpc)

    def ask_run_instances(self):
        given = self.parameters
        for kind in ("instance", "network-interface", "volume"):
            self.ask_new(kind)
        self.ask_existing(given["ImageId"])
        interface = re.compile(r"NetworkInterface\.\d+\.(SubnetId|SecurityGroupId\.\d+)")
        inside = [value for key, value in given.items() if interface.fullmatch(key)]
        outside = values(given, "SubnetId", "SecurityGroupId")
        for identifier in inside + outside:
            self.ask_existing(identifier)
        # EC2 puts an instance into the default ones when the call names none.
        if not any(identifier.startswith("subnet-") for identifier in inside + outside):
            self.ask_existing("subnet-default")
        if not any(identifier.startswith("sg-") for identifier in inside + outside):
            self.ask_existing("sg-default")
        for name in values(given, "KeyName"):
            self.ask_existing(name, "key-pair")
        for key, snapshot in given.items():
            if re.fullmatch(r"BlockDeviceMapping\.\d+\.Ebs\.SnapshotId", key):
                self.ask_existing(snapshot)
        for profile in values(given, "IamInstanceProfile.Name", "IamInstanceProfile.Arn"):
            self.ask(self.account.roles[profile], "iam:PassRole", **{"iam:PassedToService": "ec2.amazonaws.com"})

    def ask_create_image(self):
        self.ask_new("image")
        self.ask_new("snapshot")
        self.each("InstanceId")

    def ask_copy_image(self):
        self.ask_new("image")
        self.ask_new("snapshot")
        # Asked about by its owner; its tags are no part of the question.
        source = self.parameters["SourceImageId"]
        owner = self.account.resource(source).owner or self.account.id
        self.ask(self.account.arn("image", source, self.parameters["SourceRegion"]), **{"ec2:Owner": owner})

    # ---- tags of what exists ----

    def ask_create_tags(self):
        self.each("ResourceId", **request_tags(tags(self.parameters, "Tag")))

    ask_delete_tags = ask_create_tags

    # ---- using and changing ----

    def ask_authorize_security_group_ingress(self):
        # Rules are asked about only when the call tags them, which Ingot does not.
        self.each("GroupId")

    def ask_get_console_output(self):
        self.each("InstanceId")

    ask_modify_instance_attribute = ask_stop_instances = ask_terminate_instances = ask_get_console_output

    def ask_modify_image_attribute(self):
        self.each("ImageId")

    def ask_modify_snapshot_attribute(self):
        context = {}
        if self.parameters["OperationType"] == "add":
            for key, name in (("ec2:Add/userId", "UserId"), ("ec2:Add/group", "UserGroup")):
                if found := values(self.parameters, name):
                    context[key] = found
        self.each("SnapshotId", **context)

    # ---- removing ----

    def ask_delete_key_pair(self):
        self.each("KeyPairId", "KeyName", kind="key-pair")

    def ask_delete_security_group(self):
        self.each("GroupId")

    def ask_delete_volume(self):
        self.each("VolumeId")

    def ask_delete_network_interface(self):
        self.each("NetworkInterfaceId")

    def ask_deregister_image(self):
        self.each("ImageId")

    def ask_delete_snapshot(self):
        self.each("SnapshotId")

"""AMIs: the object that moto keeps, with what moto leaves out, and who may see which."""

from datetime import datetime, timezone

from moto.ec2.models.amis import Ami

from . import catalogue

MAPPING_DEFAULTS = {"VolumeSize": 8, "VolumeType": "gp2", "DeleteOnTermination": True, "Encrypted": False}


def now_text():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class SandboxImage(Ami):
    """An AMI. A subclass of moto's, so that moto's own code (tags, filters, permissions) works on it; moto's
    initializer is not called, because it invents a volume and a snapshot for every image."""

    def __init__(self, backend, image_id, name, **values):
        self.ec2_backend = backend
        self.id = image_id
        self.name = name
        self.description = values.get("description") or ""
        self.state = values.get("state", "available")
        self.owner_id = values.get("owner_id") or backend.account_id
        self.owner_alias = values.get("owner_alias")
        self.public = values.get("public", False)
        self.creation_date = values.get("creation_date") or now_text()
        self.architecture = values.get("architecture", "x86_64")
        self.root_device_name = values.get("root_device_name", "/dev/sda1")
        self.mappings = values.get("mappings") or []
        self.source_instance = values.get("source_instance")
        self.source_image = values.get("source_image")
        self.source_region = values.get("source_region")
        self.imds_support = values.get("imds_support")
        self.boot_mode = values.get("boot_mode")
        self.tpm_support = values.get("tpm_support")
        # Which base it descends from decides the user name; which disk is behind it, what boots.
        self.family = values.get("family", "ubuntu")
        self.disk = values.get("disk")
        self.deprecation_time = None
        self.protection = "disabled"
        self.state_message = None
        # When it stopped being pending, in seconds since 1970; for those who measure how soon it is noticed.
        self.settled_at = None
        self.launch_permissions = [{"Group": "all"}] if self.public else []
        # What moto's own code reads.
        self.virtualization_type, self.root_device_type, self.hypervisor = "hvm", "ebs", "xen"
        self.image_type, self.platform, self.kernel_id, self.sriov = "machine", None, None, "simple"
        self.product_codes, self.instance_id = set(), self.source_instance
        self.image_location = f"{self.owner_alias or self.owner_id}/{name}"

    @property
    def block_device_mappings(self):
        return self.mappings

    def snapshot_ids(self):
        return [m["Ebs"]["SnapshotId"] for m in self.mappings if m.get("Ebs", {}).get("SnapshotId")]

    def tag_map(self):
        return dict(self.ec2_backend.tags.get(self.id, {}))

    def visible_to(self, account):
        return self.owner_id == account or self.is_public or {"UserId": account} in self.launch_permissions

    def shown_to(self, account):
        """The answer of DescribeImages. Tags belong to the account that made them: who an image is shared with
        cannot see them."""
        tags = self.tag_map() if self.ec2_backend.account_id == account else {}
        shown = {
            "ImageId": self.id, "Name": self.name, "Description": self.description, "State": self.state,
            "OwnerId": self.owner_id, "ImageOwnerAlias": self.owner_alias, "Public": self.is_public,
            "CreationDate": self.creation_date, "Architecture": self.architecture, "ImageType": "machine",
            "ImageLocation": self.image_location, "RootDeviceName": self.root_device_name,
            "RootDeviceType": "ebs", "VirtualizationType": "hvm", "Hypervisor": "xen", "EnaSupport": True,
            "SriovNetSupport": "simple", "PlatformDetails": "Linux/UNIX", "UsageOperation": "RunInstances",
            "BlockDeviceMappings": self.mappings,
            "Tags": [{"Key": k, "Value": v} for k, v in tags.items()],
            "ImdsSupport": self.imds_support, "BootMode": self.boot_mode, "TpmSupport": self.tpm_support,
            "DeprecationTime": self.deprecation_time, "SourceInstanceId": self.source_instance,
            "SourceImageId": self.source_image, "SourceImageRegion": self.source_region,
            "DeregistrationProtection": self.protection if self.owner_id == account else None,
        }
        if self.state_message:
            shown["StateReason"] = {"Code": "Client.InternalError", "Message": self.state_message}
        return {key: value for key, value in shown.items() if value not in (None, [])}


def load_base_images(backend):
    """Replaces moto's loader: the same catalogue for every account, ids by region."""
    for image_id, owner, alias, family, device, name, created, snapshot in catalogue.images_of(backend.region_name):
        mapping = {"DeviceName": device, "Ebs": {**MAPPING_DEFAULTS, "SnapshotId": snapshot}}
        image = SandboxImage(backend, image_id, name, owner_id=owner, owner_alias=alias, public=True,
                             creation_date=created, root_device_name=device, mappings=[mapping],
                             family=family, description=f"{family} base image of the sandbox")
        backend.amis[image_id] = image


def visible_images(world, backend):
    """All images that the backend's account can see in its region: its own, the public ones, those shared."""
    found = dict(backend.amis)
    for (region, image_id), image in world.images.items():
        if region == backend.region_name and image_id not in found and image.visible_to(backend.account_id):
            found[image_id] = image
    return found


def disk_of(world, image):
    return image.disk or world.base_disks[image.family]

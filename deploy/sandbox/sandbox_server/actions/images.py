"""AMIs: CreateImage commits the machine, CopyImage shares what was committed, DeregisterImage forgets it."""

import re
import time

from moto.core.responses import ActionResult
from moto.ec2.utils import random_ami_id, random_snapshot_id
from moto.ec2.models.elastic_block_store import Snapshot

from .. import images, matching, quick_xml
from .common import fail, filters_of, page, remember, remembered, tags_of
from .launch import find_image, merged_mappings

_NAME = re.compile(r"[A-Za-z0-9()\[\]./\-'@_ ]{3,128}")


class _Volume:
    """What a snapshot needs to know of the volume it was made from, which may be gone by then."""

    def __init__(self, identifier, size):
        self.id, self.size = identifier, size


class ImageActions:
    def _check_name(self, name):
        if not name or not _NAME.fullmatch(name):
            fail("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain "
                 "letters, numbers, '(', ')', '.', '-', '/' and '_'")
        for image in self._own_images():
            if image.name == name and image.state != "failed":
                fail("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")

    def _own_images(self):
        return [image for (region, _), image in self.world.images.items()
                if region == self.region and image.owner_id == self.current_account]

    def _own_image(self, image_id=None):
        image_id = image_id or self._get_param("ImageId")
        image = self.world.images.get((self.region, image_id))
        if image is None or image.owner_id != self.current_account:
            if image_id in self.ec2_backend.amis or image is not None:
                fail("AuthFailure", f"Not authorized for image:{image_id}")
            # Raises what EC2 says about unknown and deregistered ones.
            find_image(self.world, self.ec2_backend, image_id)
        return image

    def _snapshot(self, image_id, ebs, volume_id, description, tags):
        backend = self.ec2_backend
        snapshot = Snapshot(backend, random_snapshot_id(), _Volume(volume_id, int(ebs["VolumeSize"])), description,
                            encrypted=bool(ebs.get("Encrypted") or ebs.get("KmsKeyId")),
                            kms_key_id=ebs.get("KmsKeyId"), from_ami=image_id)
        snapshot.status = "pending"
        backend.snapshots[snapshot.id] = snapshot
        snapshot.add_tags(tags)
        return snapshot

    def _register(self, image, tags):
        self.ec2_backend.amis[image.id] = image
        self.world.images[(self.region, image.id)] = image
        image.add_tags(tags)

    def create_image(self):
        world, backend = self.world, self.ec2_backend
        name = self._get_param("Name")
        self._check_name(name)
        instance = backend.get_instance(self._get_param("InstanceId"))
        if instance.state not in ("running", "stopped"):
            fail("IncorrectInstanceState", f"Instance is not in state 'running' or 'stopped': '{instance.id}' is "
                 f"'{instance.state}'")
        self.error_on_dryrun()
        source = images.visible_images(world, backend).get(instance.image_id)
        image_id = random_ami_id()
        volumes = {device: backend.volumes[block.volume_id]
                   for device, block in instance.block_device_mapping.items()}
        current = [{"DeviceName": device, "Ebs": {
            "VolumeSize": volume.size, "VolumeType": volume.volume_type, "Encrypted": volume.encrypted,
            **({"KmsKeyId": volume.kms_key_id} if volume.encrypted and volume.kms_key_id else {}),
            **({"Iops": volume.iops} if volume.volume_type in ("gp3", "io1", "io2") else {}),
            **({"Throughput": volume.throughput} if volume.volume_type == "gp3" else {}),
            "DeleteOnTermination": instance.block_device_mapping[device].delete_on_termination}}
            for device, volume in volumes.items()]
        mappings = merged_mappings(current, self._get_param("BlockDeviceMappings", []))
        snapshot_tags = tags_of(self, "snapshot")
        for mapping in mappings:
            volume = volumes.get(mapping["DeviceName"])
            mapping["Ebs"]["SnapshotId"] = self._snapshot(
                image_id, mapping["Ebs"], volume.id if volume else "vol-ffffffff",
                f"Created by CreateImage({instance.id}) for {image_id}", snapshot_tags).id
        image = images.SandboxImage(
            backend, image_id, name, description=self._get_param("Description"), state="pending",
            root_device_name=instance.root_device_name, mappings=mappings, source_instance=instance.id,
            source_image=instance.image_id, source_region=self.region, architecture=instance.architecture,
            family=source.family if source else "ubuntu")
        machine = world.machines[instance.id]
        self._register(image, tags_of(self, "image"))
        if instance.state == "running" and not self._get_bool_param("NoReboot", False):
            machine.reboot_after_capture = True
        deadline = time.monotonic() + world.timing["image"]
        world.timeline.after(0, _capture, world, machine, image, deadline)
        return ActionResult({"ImageId": image_id})

    def copy_image(self):
        from moto.ec2 import ec2_backends

        world, backend = self.world, self.ec2_backend
        key, earlier = remembered(self, self.region)
        if earlier is not None:
            return ActionResult(earlier)
        name, source_region = self._get_param("Name"), self._get_param("SourceRegion")
        self._check_name(name)
        source = find_image(world, ec2_backends[self.current_account][source_region],
                            self._get_param("SourceImageId"))
        kms_key = self._get_param("KmsKeyId")
        encrypt = self._get_bool_param("Encrypted", False)
        if kms_key and not encrypt:
            fail("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
        self.error_on_dryrun()
        image_id = random_ami_id()
        tags = source.tag_map() if self._get_bool_param("CopyImageTags", False) \
            and source.owner_id == self.current_account else {}
        tags.update(tags_of(self, "image"))
        mappings = []
        for mapping in source.mappings:
            ebs = dict(mapping["Ebs"])
            # A copy without a key of its own is encrypted with the account's default key of the new region.
            ebs.pop("KmsKeyId", None)
            if encrypt:
                ebs["Encrypted"] = True
            if ebs.get("Encrypted"):
                ebs["KmsKeyId"] = kms_key or f"arn:aws:kms:{self.region}:{self.current_account}:alias/aws/ebs"
            ebs["SnapshotId"] = self._snapshot(
                image_id, ebs, "vol-ffffffff", f"Copied for DestinationAmi {image_id} from SourceAmi {source.id} "
                f"for SourceSnapshot {mapping['Ebs'].get('SnapshotId')}.", tags_of(self, "snapshot")).id
            mappings.append({"DeviceName": mapping["DeviceName"], "Ebs": ebs})
        image = images.SandboxImage(
            backend, image_id, name, description=self._get_param("Description") or source.description,
            state="pending", root_device_name=source.root_device_name, mappings=mappings, family=source.family,
            source_image=source.id, source_region=source_region, architecture=source.architecture,
            imds_support=source.imds_support, boot_mode=source.boot_mode)
        self._register(image, tags)
        result = {"ImageId": image_id}
        remember(self, key, result)
        world.timeline.after(0, _share, world, images.disk_of(world, source), image,
                             time.monotonic() + world.timing["copy"])
        return ActionResult(result)

    def register_image(self):
        """From a snapshot: the new image boots what the snapshot's image boots, or the machine of the snapshot's volume."""
        world, backend = self.world, self.ec2_backend
        name = self._get_param("Name")
        self._check_name(name)
        requested = self._get_param("BlockDeviceMappings", [])
        given = {m["DeviceName"]: m.get("Ebs") or {} for m in requested if "DeviceName" in m}
        mappings = merged_mappings([], requested)
        root = self._get_param("RootDeviceName") or (mappings[0]["DeviceName"] if mappings else "/dev/sda1")
        disk, family = None, "ubuntu"
        for mapping in mappings:
            snapshot_id = mapping["Ebs"].get("SnapshotId")
            snapshot = backend.get_snapshot(snapshot_id) if snapshot_id else None
            origin = None
            if snapshot:
                if snapshot.status != "completed":
                    fail("InvalidParameterValue", f"The snapshot {snapshot_id} is not completed")
                ebs = mapping["Ebs"]
                if snapshot.kms_key_id:
                    ebs.setdefault("KmsKeyId", snapshot.kms_key_id)
                ebs["Encrypted"] = bool(ebs.get("Encrypted")) or snapshot.encrypted
                if given[mapping["DeviceName"]].get("VolumeSize") is None:
                    ebs["VolumeSize"] = snapshot.volume.size
                made_of = snapshot.from_ami or getattr(snapshot, "source_image", None)
                origin = images.visible_images(world, backend).get(made_of)
            if mapping["DeviceName"] == root and origin is not None:
                disk, family = images.disk_of(world, origin), origin.family
        self.error_on_dryrun()
        image = images.SandboxImage(
            backend, random_ami_id(), name, description=self._get_param("Description"), mappings=mappings,
            root_device_name=root, architecture=self._get_param("Architecture") or "x86_64", family=family,
            imds_support=self._get_param("ImdsSupport"), boot_mode=self._get_param("BootMode"),
            tpm_support=self._get_param("TpmSupport"), state="pending")
        self._register(image, tags_of(self, "image"))
        world.timeline.after(0, _share, world, disk or images.disk_of(world, image), image,
                             time.monotonic() + world.timing["image"])
        return ActionResult({"ImageId": image.id})

    def deregister_image(self):
        image = self._own_image()
        if image.protection.startswith("enabled"):
            fail("OperationNotPermitted", f"The image '{image.id}' is protected from deregistration")
        self.error_on_dryrun()
        self.ec2_backend.amis.pop(image.id, None)
        self.world.images.pop((self.region, image.id))
        self.world.gone_images.add(image.id)
        self.world.timeline.after(0, self.world.machines_kind.forget, image.id)
        result = {"Return": True}
        if self._get_bool_param("DeleteAssociatedSnapshots", False):
            result["DeleteSnapshotResults"] = []
            for snapshot_id in image.snapshot_ids():
                self.ec2_backend.snapshots.pop(snapshot_id, None)
                result["DeleteSnapshotResults"].append({"SnapshotId": snapshot_id, "ReturnCode": "success"})
        return ActionResult(result)

    def describe_images(self):
        self.error_on_dryrun()
        account = self.current_account
        filters = filters_of(self)
        identifiers = self._get_param("ImageIds", [])
        owners = [account if owner == "self" else owner for owner in self._get_param("Owners", [])]
        users = [account if user == "self" else user for user in self._get_param("ExecutableUsers", [])]
        visible = images.visible_images(self.world, self.ec2_backend)
        for image_id in identifiers:
            if not image_id.startswith("ami-"):
                fail("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
            if image_id not in visible:
                if image_id in self.world.gone_images:
                    fail("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available")
                fail("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        chosen = [visible[i] for i in dict.fromkeys(identifiers)] if identifiers else list(visible.values())
        found = [image for image in chosen
                 if (not owners or image.owner_id in owners or image.owner_alias in owners)
                 and (not users or _executable_by(image, users))
                 and (identifiers or self._listed(image, account))
                 and matching.matches(filters, lambda name, image=image: _values(image, name, account))]
        shown, token = page(self, found, lambda image: image.id)
        return quick_xml.reply("DescribeImages", {
            "Images": [image.shown_to(account) for image in shown], "NextToken": token})

    def _listed(self, image, account):
        if image.state == "disabled" and not self._get_bool_param("IncludeDisabled", False):
            return False
        # Owners always see their deprecated images, others only when they ask.
        deprecated = image.deprecation_time is not None and image.deprecation_time <= images.now_text()
        return not deprecated or image.owner_id == account or self._get_bool_param("IncludeDeprecated", False)


def _executable_by(image, users):
    if image.is_public:
        return "all" in users or any(user.isdigit() for user in users)
    return any({"UserId": user} in image.launch_permissions for user in users)


def _values(image, name, account):
    tags = image.tag_map() if image.ec2_backend.account_id == account else {}
    tagged = matching.tag_values(name, tags)
    if tagged is not None:
        return tagged
    ebs = [mapping["Ebs"] for mapping in image.mappings]
    simple = {
        "image-id": image.id, "name": image.name, "state": image.state, "owner-id": image.owner_id,
        "owner-alias": image.owner_alias, "architecture": image.architecture, "description": image.description,
        "is-public": str(image.is_public).lower(), "root-device-type": "ebs", "virtualization-type": "hvm",
        "root-device-name": image.root_device_name, "image-type": "machine", "hypervisor": "xen",
        "ena-support": "true", "creation-date": image.creation_date, "manifest-location": image.image_location,
        "source-instance-id": image.source_instance, "source-image-id": image.source_image,
        "source-image-region": image.source_region, "platform": None, "product-code": None, "kernel-id": None,
        "sriov-net-support": "simple", "boot-mode": image.boot_mode, "image-allowed": "true",
    }
    if name in simple:
        return [] if simple[name] is None else [simple[name]]
    members = {"block-device-mapping.snapshot-id": "SnapshotId", "block-device-mapping.volume-size": "VolumeSize",
               "block-device-mapping.volume-type": "VolumeType", "block-device-mapping.encrypted": "Encrypted",
               "block-device-mapping.delete-on-termination": "DeleteOnTermination"}
    if name in members:
        values = [e.get(members[name]) for e in ebs]
        return [str(v).lower() if isinstance(v, bool) else str(v) for v in values if v is not None]
    if name == "block-device-mapping.device-name":
        return [mapping["DeviceName"] for mapping in image.mappings]
    fail("InvalidParameterValue", f"The filter '{name}' is invalid")


def _capture(world, machine, image, deadline):
    with machine.lock:
        try:
            image.disk = world.machines_kind.capture(machine, image.id)
            if getattr(machine, "reboot_after_capture", False):
                # CreateImage of a running instance reboots it, unless told not to.
                machine.reboot_after_capture = False
                world.machines_kind.power_off(machine)
                world.machines_kind.power_on(machine)
        except Exception as error:  # noqa: BLE001 - the image fails, as EC2's do
            image.state_message = str(error)
    world.timeline.after(deadline - time.monotonic(), _finish, world, image)


def _share(world, disk, image, deadline):
    try:
        image.disk = world.machines_kind.share(disk, image.id)
    except Exception as error:  # noqa: BLE001
        image.state_message = str(error)
    world.timeline.after(deadline - time.monotonic(), _finish, world, image)


def _finish(world, image):
    with world.lock:
        region = image.ec2_backend.region_name
        if world.images.get((region, image.id)) is not image:
            # Deregistered while it was made: its disk has nobody else to remove it.
            world.timeline.after(0, world.machines_kind.forget, image.id)
        else:
            image.state = "failed" if image.state_message else "available"
            image.settled_at = time.time()
        for snapshot_id in image.snapshot_ids():
            snapshot = image.ec2_backend.snapshots.get(snapshot_id)
            if snapshot is not None and snapshot.from_ami == image.id:
                snapshot.status = "error" if image.state_message else "completed"

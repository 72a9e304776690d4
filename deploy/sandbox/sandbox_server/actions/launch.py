"""RunInstances below the API: moto makes the record, this gives it volumes like its image's, tags and a machine."""

import base64
import functools

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

from .. import images, lifecycle
from ..addresses import AddressesExhausted


def find_image(world, backend, image_id):
    """The image that an account may launch from, or EC2's error."""
    image = images.visible_images(world, backend).get(image_id)
    if image is None:
        if image_id in world.gone_images:
            raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available")
        if not str(image_id).startswith("ami-"):
            raise EC2ClientError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
        raise EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    if image.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable",
                             f"The image ID '{image_id}' is not available: its state is '{image.state}'")
    return image


def merged_mappings(base, requested):
    """The image's block devices, changed and extended by the request's (the rule of RunInstances and CreateImage)."""
    merged = {m["DeviceName"]: {"DeviceName": m["DeviceName"], "Ebs": dict(m["Ebs"])} for m in base if "Ebs" in m}
    for mapping in requested or []:
        device = mapping.get("DeviceName")
        if mapping.get("NoDevice") is not None:
            merged.pop(device, None)
            continue
        if mapping.get("VirtualName"):
            continue  # instance stores hold nothing that an image would keep
        new = {k: v for k, v in (mapping.get("Ebs") or {}).items() if v is not None}
        if device in merged:
            merged[device]["Ebs"].update(new)
        else:
            defaults = {**images.MAPPING_DEFAULTS, "DeleteOnTermination": False}
            merged[device] = {"DeviceName": device, "Ebs": {**defaults, **new}}
    return list(merged.values())


@functools.cache
def _offered(region):
    return {offering["InstanceType"] for offering in INSTANCE_TYPE_OFFERINGS["region"].get(region, [])}


def run(world, backend, run_instances, image_id, count, user_data, group_names, arguments):
    template = {}
    if arguments.get("launch_template"):
        template = backend._get_template_from_args(arguments["launch_template"]).data
    image_id = image_id or template.get("ImageId")
    image = find_image(world, backend, image_id)
    key_name = arguments.get("key_name") or template.get("KeyName")
    if key_name and key_name not in backend.key_pairs:
        raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{key_name}' does not exist")
    mappings = merged_mappings(image.mappings,
                               arguments.get("block_device_mappings") or template.get("BlockDeviceMappings"))
    # moto knows only snapshots of its own, and refuses types whose IOPS it does not pass on: both are filled in
    # afterwards, from `mappings`.
    arguments["block_device_mappings"] = [
        {"DeviceName": m["DeviceName"], "Ebs": {
            "VolumeSize": int(m["Ebs"]["VolumeSize"]), "DeleteOnTermination": m["Ebs"].get("DeleteOnTermination", False),
            "Encrypted": bool(m["Ebs"].get("Encrypted") or m["Ebs"].get("KmsKeyId")),
            "KmsKeyId": m["Ebs"].get("KmsKeyId")}} for m in mappings]
    arguments["key_name"] = key_name
    if arguments.get("client_token") == "ABCDE":  # what moto puts where there is none
        arguments["client_token"] = None
    if not template:
        # moto compares the type with each of 1,100 offerings; its answer to an unknown one is a launch.
        kind = arguments.get("instance_type")
        if not arguments.get("is_instance_type_default") and kind not in _offered(backend.region_name):
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
        arguments["is_instance_type_default"] = True
    tags = arguments.get("tags") or {}
    reservation = run_instances(backend, image_id, count, user_data, group_names, **arguments)
    for instance in reservation.instances:
        instance.root_device_name, instance.platform = image.root_device_name, None
        instance.virtualization_type, instance.architecture = "hvm", image.architecture
        instance.hypervisor, instance.ena_support, instance.root_device_type = "xen", True, "ebs"
        if template.get("MetadataOptions") and not arguments.get("metadata_options"):
            instance.metadata_options = type(instance.metadata_options)(template["MetadataOptions"])
        _complete_volumes(backend, instance, mappings)
        _complete_interfaces(instance, arguments.get("nics") or [], tags.get("network-interface", {}))
        key = backend.key_pairs[key_name].public_key if key_name else None
        try:
            lifecycle.adopt(world, backend, instance, image, key, _decoded(instance.user_data))
        except AddressesExhausted as error:
            del backend.reservations[reservation.id]
            raise EC2ClientError("InsufficientInstanceCapacity", str(error)) from error
    return reservation


def _complete_volumes(backend, instance, mappings):
    for mapping in mappings:
        volume = backend.volumes[instance.block_device_mapping[mapping["DeviceName"]].volume_id]
        ebs = mapping["Ebs"]
        volume.snapshot_id = ebs.get("SnapshotId")
        volume.volume_type = ebs.get("VolumeType") or "gp2"
        volume.iops = ebs.get("Iops") or (3000 if volume.volume_type == "gp3" else volume.size * 3)
        volume.throughput = ebs.get("Throughput") or (125 if volume.volume_type == "gp3" else None)
        if ebs.get("DeleteOnTermination") is not None:
            instance.block_device_mapping[mapping["DeviceName"]].delete_on_termination = ebs["DeleteOnTermination"]


def _complete_interfaces(instance, requested, tags):
    kept = {int(r.get("DeviceIndex", 0)) for r in requested
            if r.get("DeleteOnTermination") is False or r.get("NetworkInterfaceId")}
    for index, interface in instance.nics.items():
        if index not in kept:
            interface.delete_on_termination = True
        interface.add_tags(tags)


def _decoded(user_data):
    if user_data is None:
        return None
    encoded = user_data if isinstance(user_data, str) else user_data.as_bytes().decode()
    try:
        return base64.b64decode(encoded)
    except ValueError:
        return encoded.encode()

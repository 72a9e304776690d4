"""Instances: launch with tokens, states that take time, filters and pages."""

from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.responses import EC2Response

from .. import lifecycle, matching, quick_xml, shown
from . import launch
from .common import fail, filters_of, page, remember, remembered


class InstanceActions:
    def run_instances(self):
        # The token is zonal: the same one in another zone is another request.
        key, earlier = remembered(self, (self.region, self._zone()))
        if earlier is not None:
            return quick_xml.reply("RunInstances", shown.reservation(earlier))
        launch_template = self._get_param("LaunchTemplate", {})
        if self._get_param("ImageId") or not launch_template:
            launch.find_image(self.world, self.ec2_backend, self._get_param("ImageId"))
        reservation = EC2Response.run_instances(self).result
        remember(self, key, reservation)
        return quick_xml.reply("RunInstances", shown.reservation(reservation))

    def _zone(self):
        subnet_id = self._get_param("SubnetId") or next(
            (n["SubnetId"] for n in self._get_param("NetworkInterfaces", []) if "SubnetId" in n), None)
        if subnet_id:
            return self.ec2_backend.get_subnet(subnet_id).availability_zone
        return self._get_param("Placement.AvailabilityZone", "")

    def _parse_block_device_mapping(self):
        # As they are; `launch` merges them with the image's. moto wants a size or a snapshot in each.
        return [dict(mapping) for mapping in self._get_param("BlockDeviceMappings", [])]

    def _instances(self, allowed, verb):
        """The instances this call names, all of them in a state that allows it."""
        self.error_on_dryrun()
        instances = self.ec2_backend.get_multi_instances_by_id(self._get_param("InstanceIds", []))
        for instance in instances:
            if instance.state not in allowed:
                fail("IncorrectInstanceState",
                     f"The instance '{instance.id}' is not in a state from which it can be {verb}.")
        return instances

    def _change(self, key, instances, act):
        changes = []
        for instance in instances:
            before = {"Code": instance.state_code, "Name": instance.state}
            act(instance)
            changes.append({"InstanceId": instance.id, "PreviousState": before,
                            "CurrentState": {"Code": instance.state_code, "Name": instance.state}})
        return ActionResult({key: changes})

    def stop_instances(self):
        force = self._get_bool_param("Force", False)

        def act(instance):
            if instance.disable_api_stop is True:
                fail("OperationNotPermitted", f"The instance '{instance.id}' may not be stopped.")
            if instance.state == "running":
                lifecycle.stop(self.world, self.world.machines[instance.id], self.world.timing["stop"], force=force)
        return self._change("StoppingInstances",
                            self._instances(("running", "stopping", "stopped"), "stopped"), act)

    def start_instances(self):
        def act(instance):
            if instance.state == "stopped":
                lifecycle.set_state(instance, "pending")
                lifecycle.begin(self.world, self.world.machines[instance.id], prepare=False)
        return self._change("StartingInstances",
                            self._instances(("running", "pending", "stopped"), "started"), act)

    def terminate_instances(self):
        instances = self._instances(lifecycle.CODES, "terminated")
        for instance in instances:
            if str(instance.disable_api_termination).lower() == "true":
                fail("OperationNotPermitted", f"The instance '{instance.id}' may not be terminated. Modify its "
                     "'disableApiTermination' instance attribute and try again.")

        def act(instance):
            if instance.state not in ("shutting-down", "terminated"):
                lifecycle.end(self.world, self.world.machines[instance.id], self.world.timing["terminate"])
        return self._change("TerminatingInstances", instances, act)

    def reboot_instances(self):
        for instance in self._instances(("running",), "rebooted"):
            lifecycle.reboot(self.world, self.world.machines[instance.id])
        return EmptyResult()

    def describe_instances(self):
        self.error_on_dryrun()
        filters = filters_of(self)
        identifiers = self._get_param("InstanceIds", [])
        if identifiers and self._get_param("MaxResults") is not None:
            fail("InvalidParameterCombination",
                 "The parameter instancesSet cannot be used with the parameter maxResults")
        wanted = set(identifiers)
        found = []
        for reservation in list(self.ec2_backend.reservations.values()):
            instances = [i for i in reservation.instances
                         if (not wanted or i.id in wanted) and _passes(i, filters)]
            if instances:
                found.append((reservation, instances))
        missing = wanted - {i.id for r in self.ec2_backend.reservations.values() for i in r.instances}
        if missing:
            text = f"The instance ID '{sorted(missing)[0]}' does not exist" if len(missing) == 1 else \
                f"The instance IDs '{', '.join(sorted(missing))}' do not exist"
            fail("InvalidInstanceID.NotFound", text)
        chosen, token = page(self, found, lambda pair: pair[0].id, smallest=5)
        return quick_xml.reply("DescribeInstances", {
            "Reservations": [shown.reservation(*pair) for pair in chosen], "NextToken": token})

    def get_console_output(self):
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        machine = self.world.machines.get(instance.id)
        text = self.console_of(machine) if machine else ""
        # EC2 keeps the last 64 KiB.
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(),
                             "Output": Base64EncodedString.from_raw_string(text[-65536:])})

    def console_of(self, machine):
        """The engine is asked without the lock of the world, which the call would otherwise hold for long."""
        self.world.lock.release()
        try:
            return self.world.machines_kind.console(machine)
        finally:
            self.world.lock.acquire()

    def modify_instance_attribute(self):
        value = self._get_param("InstanceInitiatedShutdownBehavior.Value")
        if value:
            self.ec2_backend.get_instance(self._get_param("InstanceId")).instance_initiated_shutdown_behavior = value
            return EmptyResult()
        # Whether the guest has the drivers is its own affair; the flags are accepted and shown.
        for name, attribute in (("EnaSupport.Value", "ena_support"), ("SriovNetSupport.Value", "sriov_net_support")):
            value = self._get_param(name)
            if value is not None:
                setattr(self.ec2_backend.get_instance(self._get_param("InstanceId")), attribute, value)
                return EmptyResult()
        return EC2Response.modify_instance_attribute(self)


_ATTRIBUTES = {
    "instance-id": lambda i: [i.id],
    "instance-state-name": lambda i: [i.state],
    "instance-state-code": lambda i: [str(i.state_code)],
    "image-id": lambda i: [i.image_id],
    "instance-type": lambda i: [i.instance_type],
    "key-name": lambda i: [i.key_name],
    "client-token": lambda i: [i.client_token],
    "vpc-id": lambda i: [i.vpc_id],
    "subnet-id": lambda i: [i.subnet_id],
    "private-ip-address": lambda i: [i.private_ip],
    "ip-address": lambda i: [i.public_ip],
    "architecture": lambda i: [i.architecture],
    "availability-zone": lambda i: [i._placement.zone],
    "owner-id": lambda i: [i.owner_id],
    "root-device-type": lambda i: ["ebs"],
    "virtualization-type": lambda i: ["hvm"],
    "instance.group-id": lambda i: [g.id for g in i.security_groups],
    "instance.group-name": lambda i: [g.name for g in i.security_groups],
    "network-interface.group-id": lambda i: [g.id for n in i.nics.values() for g in n.group_set],
    "block-device-mapping.volume-id": lambda i: [b.volume_id for b in i.block_device_mapping.values()],
}


def _passes(instance, filters):
    def values_of(name):
        tagged = matching.tag_values(name, instance.ec2_backend.tags.get(instance.id, {}))
        if tagged is not None:
            return tagged
        if name not in _ATTRIBUTES:
            fail("InvalidParameterValue", f"The filter '{name}' is invalid")
        return [value for value in _ATTRIBUTES[name](instance) if value is not None]
    return matching.matches(filters, values_of)

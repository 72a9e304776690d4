"""Security groups: one in use cannot be deleted."""

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response

from .common import fail


class GroupActions:
    def delete_security_group(self):
        backend = self.ec2_backend
        group = backend.get_security_group_from_id(self._get_param("GroupId")) if self._get_param("GroupId") \
            else backend.get_security_group_from_name(self._get_param("GroupName"))
        if group is not None:
            used = any(group in instance.security_groups or any(group in nic.group_set for nic in instance.nics.values())
                       for reservation in backend.reservations.values() for instance in reservation.instances
                       if instance.state != "terminated")
            if used or any(group in interface.group_set for interface in backend.enis.values()):
                fail("DependencyViolation", f"resource {group.id} has a dependent object")
            if group.name == "default":
                fail("CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user')
        EC2Response.delete_security_group(self)
        return ActionResult({"Return": True, "GroupId": group.id if group else None})

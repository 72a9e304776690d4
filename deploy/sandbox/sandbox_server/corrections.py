"""Where moto 5.2.1's own classes are changed in place, because its internals call each other.

Everything that can be an override of an API action is one (see `actions/`); these few cannot.
"""

import functools

from moto.core import responses
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import AmiBackend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import Instance

from . import images
from .actions import launch


def _tags(resource):
    """moto matches a regular expression against every tag of the region to find one resource's."""
    own = resource.ec2_backend.tags.get(resource.id, {})
    return [{"key": key, "value": value, "resource_id": resource.id} for key, value in own.items()]


def _of_first_interface(attribute):
    """A terminated instance has no interface any more; moto expects one for ever."""
    return property(lambda instance: getattr(instance.nics[0], attribute) if 0 in instance.nics else None)


def apply(world):
    # moto lists the methods of its 40 response classes anew for every call, a third of what a call costs.
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)
    TaggedEC2Resource.get_tags = _tags
    AmiBackend._load_amis = images.load_base_images
    for name, attribute in (("private_ip", "private_ip_address"), ("private_ip_address", "private_ip_address"),
                            ("public_ip", "public_ip"), ("public_ip_address", "public_ip")):
        setattr(Instance, name, _of_first_interface(attribute))
    private_dns_name = Instance.private_dns_name.fget
    Instance.private_dns_name = property(lambda self: private_dns_name(self) if 0 in self.nics else None)

    # Below the API actions, so that CreateFleet and spot requests make machines, too.
    run_instances = EC2Backend.run_instances

    def run_with_machines(backend, image_id, count, user_data, security_group_names, **arguments):
        return launch.run(world, backend, run_instances, image_id, count, user_data, security_group_names, arguments)

    EC2Backend.run_instances = run_with_machines

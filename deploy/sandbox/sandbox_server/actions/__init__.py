"""API actions that answer differently from moto: one mixin a part of EC2, put together in `SandboxEC2`.

A method is named after its action in snake case, reads its parameters with `_get_param` and returns an
`ActionResult`; moto serializes that by the service model, so nothing here writes XML.
"""


def response_class(world):
    """The class that answers EC2 calls, bound to one world."""
    from moto.ec2.responses import EC2Response

    from .groups import GroupActions
    from .image_attributes import ImageAttributeActions
    from .images import ImageActions
    from .instances import InstanceActions
    from .keys import KeyActions
    from .volumes import VolumeActions

    class SandboxEC2(InstanceActions, ImageActions, ImageAttributeActions, KeyActions, GroupActions,
                     VolumeActions, EC2Response):
        # moto shows every new instance as pending and formats creation dates itself; here both are right already.
        RESPONSE_KEY_PATH_TO_TRANSFORMER = {
            key: value for key, value in EC2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER.items()
            if key not in ("RunInstances.Reservation.Instances.Instance.State", "Image.CreationDate")
        }

    SandboxEC2.world = world
    return SandboxEC2

"""Plain data to EC2's XML, fast.

moto's serializer tries up to a dozen names for each field of each object: 140 ms for the states of forty
instances, which is what a watcher asks for every second. This one takes dictionaries whose keys are the service
model's own names and needs a hundredth of that. Serializers are compiled once for each shape of the model.
"""

import functools
import uuid
from datetime import datetime
from xml.sax.saxutils import escape

import botocore.session


@functools.cache
def _model():
    return botocore.session.get_session().get_service_model("ec2")


def _scalar(kind):
    if kind == "boolean":
        return lambda value: "true" if value in (True, "true") else "false"
    if kind == "timestamp":
        return lambda value: value.strftime("%Y-%m-%dT%H:%M:%S.000Z") if isinstance(value, datetime) else str(value)
    return lambda value: escape(str(value))


@functools.cache
def _compiled(name):
    return _compile(_model().shape_for(name))


def _compile(shape):
    if shape.type_name == "structure":
        fields = {key: (member.serialization.get("name", key), member) for key, member in shape.members.items()}
        resolved = {}

        def structure(value):
            parts = []
            for key, content in value.items():
                if content is None:
                    continue
                known = resolved.get(key)
                if known is None:
                    tag, member = fields[key]
                    known = resolved[key] = (tag, _serializer(member))
                parts.append(f"<{known[0]}>{known[1](content)}</{known[0]}>")
            return "".join(parts)
        return structure
    if shape.type_name == "list":
        tag = shape.member.serialization.get("name", "item")
        item = _serializer(shape.member)
        return lambda values: "".join(f"<{tag}>{item(value)}</{tag}>" for value in values)
    return _scalar(shape.type_name)


def _serializer(shape):
    return _compiled(shape.name) if shape.type_name in ("structure", "list") else _scalar(shape.type_name)


def reply(action, result):
    """The whole document that answers `action`. Fields that are None are left out."""
    shape = _model().operation_model(action).output_shape
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            f"<requestId>{uuid.uuid4()}</requestId>{_compiled(shape.name)(result)}</{action}Response>")

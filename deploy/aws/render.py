#!/usr/bin/env python3
"""Fills one of the JSON templates beside this file with an installation's values.

    ./render.py build-role-policy.json values.json > build-role-policy.filled.json

A template is JSON already. `${name}` inside a text stands for one value; an element `"${name}"` of a list stands for all
values of a list. Statements about a list that is empty are left out, as are those that `drop_statements` names, if they
are optional. IAM would read a placeholder that was forgotten as a policy variable of its own that never matches, so a
value that is missing, misspelt or of the wrong form is an error here.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Statements that an account can do without. README.md says what is lost with each.
OPTIONAL = ("ExplainRefusals", "CopyTagged", "CopyFromOwnAccount", "ModifyOwnImage", "ShareOwnSnapshot", "PassListedRole",
            "UseListedKey", "GrantListedKeyToVolume")

ACCOUNT = r"\d{12}"
ROLE = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+"
TEXTS = {
    "partition": r"aws|aws-cn|aws-us-gov",
    "dns_suffix": r"[a-z0-9.-]+",
    "account_id": ACCOUNT,
    "deployment_id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    # What STS takes as an external id.
    "external_id": r"[\w+=,.@:/-]{2,1224}",
    "server_role_arn": ROLE,
    "server_account_id": ACCOUNT,
    "oidc_issuer": r"[a-z0-9.-]+(/[\w.-]+)*",
    "kubernetes_namespace": r"[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    "kubernetes_service_account": r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
}
LISTS = {
    "regions": r"[a-z]{2}(-[a-z]+)+-\d",
    "instance_profile_role_arns": ROLE,
    "kms_key_arns": r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+",
    "share_account_ids": ACCOUNT,
    "build_role_arns": ROLE,
}
DEFAULTS = {"partition": "aws", "dns_suffix": "amazonaws.com", "instance_profile_role_arns": [], "kms_key_arns": [],
            "share_account_ids": [], "drop_statements": []}

PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")


class Wrong(Exception):
    """A value or template that can't be used; the text is for a person."""


def checked(values):
    """The values with defaults, each of the form that its place needs."""
    values = {**DEFAULTS, **values}
    for name, value in values.items():
        if name in TEXTS:
            if not isinstance(value, str) or not re.fullmatch(TEXTS[name], value, re.ASCII):
                raise Wrong(f"{name} can't be {value!r}")
        elif name in LISTS:
            if not isinstance(value, list):
                raise Wrong(f"{name} must be a list")
            for element in value:
                if not isinstance(element, str) or not re.fullmatch(LISTS[name], element, re.ASCII):
                    raise Wrong(f"{name} can't hold {element!r}")
        elif name == "drop_statements":
            if not isinstance(value, list) or any(sid not in OPTIONAL for sid in value):
                raise Wrong(f"drop_statements may name {', '.join(OPTIONAL)}")
        else:
            raise Wrong(f"no template has a place for {name!r}")
    return values


def placeholders(node):
    """The names of all placeholders below a node, keys of objects included."""
    return set(PLACEHOLDER.findall(json.dumps(node)))


def fill(node, values):
    if isinstance(node, str):
        return PLACEHOLDER.sub(lambda found: need(values, found[1]), node)
    if isinstance(node, dict):
        return {fill(key, values): fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        filled = []
        for element in node:
            whole = PLACEHOLDER.fullmatch(element) if isinstance(element, str) else None
            if whole and whole[1] in LISTS:
                filled.extend(need(values, whole[1]))
            else:
                filled.append(fill(element, values))
        return filled
    return node


def need(values, name):
    if name not in values:
        raise Wrong(f"{name} is missing")
    return values[name]


def render(template, values):
    """A policy document from a template's document and the values of [`DEFAULTS`] and beyond."""
    values = checked(values)
    statements = []
    for statement in template["Statement"]:
        empty = [name for name in placeholders(statement) if values.get(name) == []]
        if statement["Sid"] in OPTIONAL:
            if empty or statement["Sid"] in values["drop_statements"]:
                continue
        elif empty:
            raise Wrong(f"{empty[0]} is empty")
        statements.append(fill(statement, values))
    return {**template, "Statement": statements}


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    name, values = arguments
    path = Path(name) if Path(name).exists() else HERE / name
    try:
        document = render(json.loads(path.read_text("utf-8")), json.loads(Path(values).read_text("utf-8")))
    except (OSError, json.JSONDecodeError, Wrong) as error:
        sys.exit(f"render.py: {error}")
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])

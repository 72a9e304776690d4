"""A small IAM: says whether policies allow one action on one resource, for the elements that the policies here use.

What it does not know it refuses with [`Unsupported`]: an operator that was silently ignored would make a policy look
stricter or laxer than it is. The rules are those of the IAM User Guide, "Policy evaluation logic", "Condition operators"
and "Single-valued vs. multivalued context keys":

* an explicit deny wins, then any allow; nothing is denied by default but what no statement allows;
* conditions of a statement are joined with AND, values of one key with OR (with NOR for the negated operators);
* a key that is missing fails a positive operator and fulfils a negated one, `…IfExists` and `ForAllValues:`;
* names of actions and keys don't care about case, values do.

Principals are compared by their ARN; NotAction, NotResource and NotPrincipal are not known.
"""

import re
from dataclasses import dataclass, field


class Unsupported(Exception):
    """The policy uses something that this evaluator does not know."""


@dataclass(frozen=True)
class Authorization:
    """One question to IAM. A call of EC2 asks several: one for each resource it touches."""

    action: str
    resource: str
    # Values are texts, or lists for the keys that may hold several.
    context: dict = field(default_factory=dict, hash=False)
    principal: str = ""


def listed(value):
    return value if isinstance(value, list) else [value]


def like(pattern, text, ignore_case=False):
    """`*` and `?` as wildcards."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def resource_matches(pattern, resource):
    """ARNs are compared part by part: a wildcard does not reach across a colon, except in the last part."""
    if pattern == "*" or resource == "*":
        return pattern == "*"
    patterns, parts = pattern.split(":", 5), resource.split(":", 5)
    if len(patterns) != 6 or len(parts) != 6:
        raise Unsupported(f"not an ARN: {pattern} or {resource}")
    return all(like(p, part) for p, part in zip(patterns, parts))


def string_equals(wanted, found):
    return wanted == found


def boolean(wanted, found):
    return wanted.lower() == found.lower()


POSITIVE = {"StringEquals": string_equals, "StringLike": like, "Bool": boolean}
NEGATED = {"StringNotEquals": string_equals, "StringNotLike": like}


def operator_holds(operator, wanted, found):
    """One line of a condition. `found` is the key's value in the request, `None` when it has none."""
    if operator == "Null":
        return all((found is None or found == []) == (value == "true") for value in wanted)
    quantifier, name = operator.split(":", 1) if ":" in operator else ("", operator)
    if name.endswith("IfExists"):
        name = name[: -len("IfExists")]
        if found is None:
            return True
    negated = name in NEGATED
    compare = NEGATED.get(name) or POSITIVE.get(name)
    if compare is None:
        raise Unsupported(f"condition operator {operator}")

    def one(value):
        hit = any(compare(pattern, value) for pattern in wanted)
        return not hit if negated else hit

    if quantifier == "ForAllValues":
        return all(one(value) for value in listed(found)) if found is not None else True
    if quantifier == "ForAnyValue":
        return any(one(value) for value in listed(found)) if found is not None else False
    if quantifier:
        raise Unsupported(f"set operator {quantifier}")
    if found is None:
        return negated
    if isinstance(found, list):
        raise Unsupported(f"{operator} on a key with several values needs ForAllValues or ForAnyValue")
    return one(found)


def condition_holds(condition, context):
    keys = {key.lower(): value for key, value in context.items()}
    return all(
        operator_holds(operator, listed(wanted), keys.get(key.lower()))
        for operator, lines in condition.items()
        for key, wanted in lines.items()
    )


def principal_matches(principal, asked):
    return any(asked in listed(value) for value in principal.values())


def statement_matches(statement, asked):
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
    if unknown:
        raise Unsupported(f"statement element {', '.join(sorted(unknown))}")
    if not any(like(action, asked.action, ignore_case=True) for action in listed(statement["Action"])):
        return False
    if "Principal" in statement and not principal_matches(statement["Principal"], asked.principal):
        return False
    if "Resource" in statement and not any(
        resource_matches(pattern, asked.resource) for pattern in listed(statement["Resource"])
    ):
        return False
    return condition_holds(statement.get("Condition", {}), asked.context)


def decide(policies, asked):
    """`allow`, `deny` (a statement says so) or `nothing` (no statement allows it)."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in policy["Statement"]
        if statement_matches(statement, asked)
    }
    if "Deny" in effects:
        return "deny"
    return "allow" if "Allow" in effects else "nothing"


def refusals(policies, authorizations):
    """Those of a call's questions that are not answered with `allow`. A call goes through only when there are none."""
    return [(asked, answer) for asked in authorizations if (answer := decide(policies, asked)) != "allow"]

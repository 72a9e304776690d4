"""The small IAM that the policies are tried with must itself be right.

    python3 -m pytest deploy/aws/test_policy_evaluator.py
"""

import pytest

from policy_evaluator import Authorization, Unsupported, decide, operator_holds, resource_matches

ANYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.mark.parametrize(("operator", "wanted", "found", "holds"), [
    ("StringEquals", ["a"], "a", True), ("StringEquals", ["a"], "A", False), ("StringEquals", ["a"], None, False),
    ("StringEquals", ["a*"], "ab", False), ("StringLike", ["a*"], "ab", True), ("StringLike", ["a?"], "abc", False),
    ("StringNotEquals", ["a", "b"], "b", False), ("StringNotEquals", ["a", "b"], "c", True),
    ("StringNotEquals", ["a"], None, True), ("StringEqualsIfExists", ["a"], None, True),
    ("StringEqualsIfExists", ["a"], "b", False), ("Null", ["true"], None, True), ("Null", ["false"], None, False),
    ("Null", ["false"], "a", True), ("Bool", ["true"], "true", True), ("Bool", ["true"], "false", False),
    ("ForAllValues:StringEquals", ["a", "b"], ["a"], True), ("ForAllValues:StringEquals", ["a"], ["a", "b"], False),
    ("ForAllValues:StringEquals", ["a"], None, True), ("ForAnyValue:StringLike", ["a:*"], ["b", "a:c"], True),
    ("ForAnyValue:StringLike", ["a:*"], ["b"], False), ("ForAnyValue:StringLike", ["a:*"], None, False),
])
def test_condition_operators(operator, wanted, found, holds):
    assert operator_holds(operator, wanted, found) is holds


def test_what_the_evaluator_does_not_know_is_an_error():
    for operator, found in (("ArnEquals", "a"), ("StringEquals", ["a", "b"]), ("ForNone:StringEquals", ["a"])):
        with pytest.raises(Unsupported):
            operator_holds(operator, ["a"], found)
    with pytest.raises(Unsupported):
        decide([{"Statement": [{"Effect": "Allow", "NotAction": "a:B", "Action": "*"}]}], Authorization("a:B", "*"))


def test_wildcards_in_arns_stay_in_their_part():
    assert resource_matches("arn:aws:ec2:*::image/*", "arn:aws:ec2:eu-west-1::image/ami-1")
    assert not resource_matches("arn:aws:ec2:*::image/*", "arn:aws:ec2:eu-west-1:1:image/ami-1")
    assert not resource_matches("arn:*:ec2:::image/*", "arn:aws:ec2:eu-west-1::image/ami-1")
    assert not resource_matches("arn:aws:ec2:*::image/ami-*", "arn:aws:ec2:eu-west-1::image/*")
    assert resource_matches("*", "*") and not resource_matches("arn:aws:ec2:*::image/*", "*")


def test_a_deny_wins_over_any_allow():
    deny = {"Statement": [{"Effect": "Deny", "Action": "a:*", "Resource": "*"}]}
    asked = Authorization("a:B", "arn:aws:a:r:1:t/x")
    assert decide([ANYTHING], asked) == "allow"
    assert decide([ANYTHING, deny], asked) == "deny"
    assert decide([], asked) == "nothing"

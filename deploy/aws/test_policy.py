"""Do the policies allow what Ingot does, and nothing else?

    python3 -m pytest deploy/aws/test_policy.py

Nothing but pytest and the standard library is needed. The answers come from a small IAM (`policy_evaluator.py`) and
from what EC2 is documented to ask it about each call (`ec2_requests.py`); no AWS account has its say here.

`testdata/calls.json` was recorded from the sandbox (`GET /_sandbox/calls`) while a real server built, copied, shared,
failed and was killed. INGOT_CALL_LOG=FILE replays another recording. A recording holds no ids of what its calls made,
so the replay takes whatever is changed or removed by id to be tagged as the recording's making calls tag. To check
that as well, the sandbox would have to record the tags that each named resource has at the time of the call (a field
`resource_tags`: id to tags).
"""

import copy
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

import ec2_requests
import sample_requests
from ec2_requests import Account, Resource
from policy_evaluator import Authorization, decide, refusals
from render import OPTIONAL, Wrong, placeholders, render

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "src/cloud/aws"
TEMPLATES = ("build-role-policy", "build-role-trust", "server-role-policy", "server-role-trust-irsa")
VALUES = sample_requests.VALUES


def read(name):
    return json.loads((HERE / name).read_text("utf-8"))


def filled(name, **values):
    return render(read(f"{name}.json"), {**VALUES, **values})


POLICY = filled("build-role-policy")
REFERENCE = read("testdata/service-authorization.json")
LOG = json.loads(Path(os.environ.get("INGOT_CALL_LOG", HERE / "testdata/calls.json")).read_text("utf-8"))


def listed(value):
    return value if isinstance(value, list) else [value]


def allowed_actions(policy, service):
    return {
        action.removeprefix(service + ":")
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        if action.startswith(service + ":")
    }


# ---- the actions, from the server's source --------------------------------------------------------------------------


def source_without_tests():
    texts = [path.read_text("utf-8").split("#[cfg(test)]")[0] for path in sorted(SOURCES.glob("*.rs"))]
    assert texts, f"no sources in {SOURCES}"
    return "\n".join(texts)


# What the names of AWS's actions begin with.
VERBS = (
    "Add Assume Attach Authorize Copy Create Decode Delete Deregister Describe Detach Disable Enable Get Import List "
    "Modify Put Register Remove Resume Run Start Stop Terminate"
).split()
ACTION = re.compile(rf"(?:{'|'.join(VERBS)})[A-Z]\w+")


def called_methods():
    """`client.method()`, `self.client(region).method()` and the like, in CamelCase."""
    client = r"\b(?:client|self)\s*(?:\.(?:client|iam|ssm|secrets)\(region\)|\(region\))?"
    methods = re.findall(client + r"\s*\.\s*([a-z_0-9]+)\(\)", source_without_tests())
    names = {"".join(word.capitalize() for word in method.split("_")) for method in methods}
    return {name for name in names if ACTION.fullmatch(name)}


def further_actions(service=None):
    """What the policy does not have, because only builds with some options need it."""
    actions = {action for actions in read("further-actions.json").values() for action in actions}
    return {action.split(":")[1] for action in actions if service in (None, action.split(":")[0])}


def test_each_call_of_the_server_is_allowed_and_no_other_action():
    assert further_actions("ec2") & allowed_actions(POLICY, "ec2") == set()
    # No call: the request of a session's websocket is signed for it.
    assert "ssmmessages" in source_without_tests()
    signed_for = {"OpenDataChannel"}
    assert called_methods() == allowed_actions(POLICY, "ec2") | further_actions() - signed_for


def test_the_handbook_tells_of_further_actions():
    handbook = (HERE.parent.parent / "docs/operations.md").read_text("utf-8")
    missing = {action for action in further_actions() if action not in handbook}
    assert missing == set()


def test_no_call_escapes_the_search():
    """Each call also gives its name to metrics and errors."""
    names = {name for name in re.findall(r'"(\w+)"', source_without_tests()) if ACTION.fullmatch(name)}
    of_sts = {"GetCallerIdentity", "DecodeAuthorizationMessage"}
    error_codes = {"DeleteConflict"}
    assert names - of_sts - error_codes == called_methods()
    # Everybody may ask who he is.
    assert allowed_actions(POLICY, "sts") == of_sts - {"GetCallerIdentity"}


# ---- the requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "asked"), sample_requests.ALLOWED, ids=[name for name, _ in sample_requests.ALLOWED])
def test_what_ingot_sends_is_allowed(name, asked):
    assert refusals([POLICY], asked) == []


@pytest.mark.parametrize(("name", "asked"), sample_requests.REFUSED, ids=[name for name, _ in sample_requests.REFUSED])
def test_what_is_not_ingots_is_refused(name, asked):
    assert refusals([POLICY], asked) != []
    # Denials are a second line: but for regions, the Allows are narrow enough by themselves.
    if not name.startswith("elsewhere"):
        assert refusals([without_denials(POLICY)], asked) != []


def test_there_is_a_sample_of_each_action():
    assert {action for action, _ in sample_requests.SENT} == allowed_actions(POLICY, "ec2")


ADMINISTRATOR = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def without_denials(policy):
    return {"Statement": [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]}


def let_through(policy):
    """The questions of refused calls that its Allows answer with yes."""
    policy = without_denials(policy)
    questions = [question for _, asked in sample_requests.REFUSED for question in asked]
    return {number for number, question in enumerate(questions) if decide([policy], question) == "allow"}


def refuses_an_allowed_one(policies, allowed):
    return any(refusals(policies, asked) != [] for asked in allowed)


@pytest.mark.parametrize("statement", POLICY["Statement"], ids=lambda statement: statement["Sid"])
def test_each_part_of_each_statement_counts(statement):
    """Without any one action or resource something is missing; without any one condition something gets through."""
    index = POLICY["Statement"].index(statement)
    sent = [asked for _, asked in sample_requests.ALLOWED]

    def changed(change):
        policy = copy.deepcopy(POLICY)
        change(policy["Statement"][index])
        return policy

    if statement["Effect"] == "Allow":
        for name in ("Action", "Resource"):
            for value in listed(statement[name]):
                less = changed(lambda it: it.update({name: [each for each in listed(it[name]) if each != value]}))
                assert refuses_an_allowed_one([less], sent), f"{value} is not needed"
    for operator, lines in statement.get("Condition", {}).items():
        for key in lines:
            laxer = changed(lambda it: it["Condition"][operator].pop(key))
            if statement["Effect"] == "Allow":
                assert let_through(laxer) > let_through(POLICY), f"{operator} {key} keeps nothing out"
            else:
                # A Deny with a condition less hits what may be: Ingot's own calls, or what further policies allow.
                harmless = sent + [tagging("CreateTags", "i-foreign", {"Name": "n"})]
                assert refuses_an_allowed_one([laxer, ADMINISTRATOR], harmless), f"{operator} {key} spares nothing"


def tagging(action, identifier, tags):
    parameters = sample_requests.tags_of(identifier, tags)
    return ec2_requests.authorizations(action, parameters, sample_requests.account())


@pytest.mark.parametrize("identifier", ["ami-other", "ami-foreign", "snap-other", "i-foreign", "vol-other"])
@pytest.mark.parametrize("action", ["CreateTags", "DeleteTags"])
def test_no_further_policy_lets_the_role_mark_foreign_things(action, identifier):
    marks = tagging(action, identifier, {"Name": "n", "ingot:stage": "prod"})
    assert [answer for _, answer in refusals([POLICY, ADMINISTRATOR], marks)] == ["deny"]
    assert refusals([POLICY, ADMINISTRATOR], tagging(action, identifier, {"Name": "n"})) == []


def test_no_further_policy_leads_into_another_region():
    for action, parameters in sample_requests.SENT:
        asked = ec2_requests.authorizations(action, parameters, sample_requests.account("ap-south-1"))
        assert "deny" in [answer for _, answer in refusals([POLICY, ADMINISTRATOR], asked)]


# ---- the recording --------------------------------------------------------------------------------------------------


class Replay:
    """The policy for the recording's account and deployment, and what the recording tells of its resources."""

    def __init__(self, log):
        self.calls = [call for call in log["calls"] if call["service"] == "ec2"]
        tags = [tags for call in self.calls for tags in ec2_requests.specified_tags(call["parameters"]).values()]
        deployments = {each.get("ingot:deployment") for each in tags}
        assert len(deployments) == 1 and None not in deployments, "a recording of one deployment's calls is needed"
        self.deployment = deployments.pop()
        self.accounts = {call["account"] for call in self.calls}
        assert len(self.accounts) == 1, "a recording of one account's calls is needed"
        self.account_id = self.accounts.pop()
        self.regions = sorted({call["region"] for call in self.calls})
        self.role = f"arn:aws:iam::{self.account_id}:role/profile"
        self.policy = filled("build-role-policy", account_id=self.account_id, deployment_id=self.deployment,
                             regions=self.regions, instance_profile_role_arns=[self.role])
        self.resources = {}

    def made_by_it(self, action, parameters):
        """Ids that a call changes or removes, or builds upon: things of its own, by the log's own word."""
        if action.startswith("Describe") or action in ("CreateSecurityGroup", "ImportKeyPair"):
            return []
        own = re.compile(r"(i|ami|snap|vol|eni|sg|key)-\w+")
        given = {k: v for k, v in parameters.items() if not (action == "RunInstances" and k == "ImageId")}
        return [value for key, value in given.items() if own.fullmatch(value) and not key.endswith((".Key", ".Value"))]

    def questions(self):
        """Each call with what EC2 asks about it, tags as they are by then."""
        own = {"ingot:deployment": self.deployment, "ingot:temporary": "true"}
        for call in self.calls:
            action, parameters = call["action"], call["parameters"]
            for identifier in self.made_by_it(action, parameters):
                self.resources.setdefault(identifier, Resource(own))
            profiles = ec2_requests.values(parameters, "IamInstanceProfile.Name", "IamInstanceProfile.Arn")
            account = Account(self.account_id, call["region"], self.resources, roles=dict.fromkeys(profiles, self.role))
            yield call, ec2_requests.authorizations(action, parameters, account)
            self.follow(action, parameters)

    def follow(self, action, parameters):
        if action == "ImportKeyPair":
            self.resources[parameters["KeyName"]] = Resource(ec2_requests.specified_tags(parameters).get("key-pair"))
        for identifier in ec2_requests.values(parameters, "ResourceId"):
            for key, value in ec2_requests.tags(parameters, "Tag").items():
                if action == "CreateTags":
                    self.resources[identifier].tags[key] = value
                else:
                    self.resources[identifier].tags.pop(key, None)


def test_each_recorded_call_is_allowed():
    replay = Replay(LOG)
    refused = [(call["action"], call["region"], answer) for call, asked in replay.questions()
               for answer in refusals([replay.policy], asked)]
    assert refused == []
    assert len(replay.calls) > 50 or "INGOT_CALL_LOG" in os.environ


def test_the_recording_removes_no_more_than_it_makes():
    """What makes it likely that the ids are indeed those of the recording's own things."""
    made = Counter(call["action"] for call in LOG["calls"] if call["status"] < 300)
    removed = Counter()
    names = {"TerminateInstances": "InstanceId", "DeleteSecurityGroup": "GroupId", "DeleteKeyPair": "KeyPairId"}
    for action, name in names.items():
        calls = (call["parameters"] for call in LOG["calls"] if call["action"] == action)
        removed[action] = len({value for parameters in calls for value in ec2_requests.values(parameters, name)})
    assert 0 < removed["TerminateInstances"] <= made["RunInstances"]
    assert 0 < removed["DeleteSecurityGroup"] <= made["CreateSecurityGroup"]
    assert 0 < removed["DeleteKeyPair"] <= made["ImportKeyPair"]


def test_recorded_calls_are_refused_to_another_deployments_role():
    replay = Replay(LOG)
    policy = filled("build-role-policy", account_id=replay.account_id, regions=replay.regions,
                    deployment_id=sample_requests.OTHER_DEPLOYMENT, instance_profile_role_arns=[replay.role])
    for call, asked in replay.questions():
        if not call["action"].startswith("Describe"):
            assert refusals([policy], asked) != [], call["action"]


# ---- the roles' trust -----------------------------------------------------------------------------------------------


def assume(parameters, principal, actions=("sts:AssumeRole", "sts:TagSession")):
    """What STS asks about AssumeRole with session tags: two actions, of the caller's policy and of the role's trust."""
    tags = ec2_requests.tags(parameters, "Tags.member")
    context = {"sts:RoleSessionName": parameters["RoleSessionName"], **ec2_requests.request_tags(tags)}
    if "ExternalId" in parameters:
        context["sts:ExternalId"] = parameters["ExternalId"]
    return [Authorization(action, parameters["RoleArn"], context, principal)
            for action in actions if tags or action != "sts:TagSession"]


def recorded_assume_role():
    found = [call["parameters"] for call in LOG["calls"] if call["action"] == "AssumeRole"]
    if not found:
        pytest.skip("nobody assumed a role in this recording")
    return found[0]


def test_the_recorded_session_is_trusted_and_no_other():
    sent = recorded_assume_role()
    deployment = sent["Tags.member.1.Value"]
    server = VALUES["server_role_arn"]
    trust = filled("build-role-trust", deployment_id=deployment, external_id=sent["ExternalId"])
    assert refusals([trust], assume(sent, server)) == []

    changes = {
        "another external id": {"ExternalId": "guess"}, "no external id": {"ExternalId": None},
        "another session name": {"RoleSessionName": "somebody"},
        "another deployment": {"Tags.member.1.Value": sample_requests.OTHER_DEPLOYMENT},
        "no tags": {"Tags.member.1.Key": None, "Tags.member.1.Value": None},
        "a tag more": {"Tags.member.2.Key": "Team", "Tags.member.2.Value": "admin"},
    }

    def passing(policy):
        others = {name: {key: value for key, value in {**sent, **change}.items() if value is not None}
                  for name, change in changes.items()}
        passed = {name for name, parameters in others.items() if refusals([policy], assume(parameters, server)) == []}
        if refusals([policy], assume(sent, "arn:aws:iam::123456789012:role/other")) == []:
            passed.add("another principal")
        return passed

    assert passing(trust) == set()
    # Each condition keeps somebody out: in both statements at once where both look at the same thing.
    for key in ("sts:ExternalId", "sts:RoleSessionName", "aws:RequestTag/ingot:deployment", "aws:TagKeys"):
        laxer = copy.deepcopy(trust)
        for statement in laxer["Statement"]:
            for lines in statement["Condition"].values():
                lines.pop(key, None)
        assert passing(laxer), f"{key} keeps nobody out"


def test_the_server_may_assume_the_listed_roles_only():
    policy = filled("server-role-policy")
    sent = recorded_assume_role()
    assert refusals([policy], assume({**sent, "RoleArn": VALUES["build_role_arns"][0]}, "")) == []
    assert refusals([policy], assume({**sent, "RoleArn": "arn:aws:iam::210987654321:role/admin"}, "")) != []
    assert decide([policy], Authorization("sts:AssumeRoleWithWebIdentity", VALUES["build_role_arns"][0])) == "nothing"


def test_only_the_servers_pod_may_assume_the_server_role():
    trust = filled("server-role-trust-irsa")
    issuer = VALUES["oidc_issuer"]
    federated = f"arn:aws:iam::{VALUES['server_account_id']}:oidc-provider/{issuer}"

    def answer(subject="system:serviceaccount:ingot:ingot", audience="sts.amazonaws.com", principal=federated):
        context = {f"{issuer}:sub": subject, f"{issuer}:aud": audience}
        return decide([trust], Authorization("sts:AssumeRoleWithWebIdentity", "*", context, principal))

    assert answer() == "allow"
    assert answer(subject="system:serviceaccount:ingot:default") == "nothing"
    assert answer(subject="system:serviceaccount:other:ingot") == "nothing"
    assert answer(audience="somebody") == "nothing"
    assert answer(principal=federated + "x") == "nothing"


# ---- the reference --------------------------------------------------------------------------------------------------

# Of every request, whatever the service.
GLOBAL_KEYS = {"aws:RequestedRegion"}


def known_keys(action, kind):
    kinds = REFERENCE["actions"][action]
    return {key.lower() for key in kinds.get(kind, {"keys": []})["keys"] + kinds.get("", {"keys": []})["keys"]}


def generic(key):
    return re.sub(r"^(aws:(?:Request|Resource)Tag)/.*", r"\1/${TagKey}", key)


def kind_of(resource):
    """`image` of `arn:aws:ec2:*::image/*`; the empty kind of `*`."""
    return "" if resource == "*" else resource.split(":", 5)[5].split("/")[0]


@pytest.mark.parametrize("statement", POLICY["Statement"], ids=lambda statement: statement["Sid"])
def test_conditions_are_known_for_each_action_and_resource(statement):
    # A key that an action does not have is missing in each request: an Allow would never apply. In a Deny, `Null`
    # may ask for just that.
    keys = {generic(key) for operator, lines in statement.get("Condition", {}).items() for key, value in lines.items()
            if not (operator == "Null" and value == "true")} - GLOBAL_KEYS
    for action in listed(statement["Action"]):
        if action.endswith("*"):
            assert keys == set()
            continue
        reference = REFERENCE["actions"][action]
        kinds = {kind_of(resource) for resource in listed(statement["Resource"])}
        fitting = kinds & set(reference)
        if kinds == {""} and statement["Effect"] == "Deny":
            fitting = set(reference) - {""}
        assert fitting, f"{action} knows none of {kinds}"
        for kind in fitting:
            missing = {key for key in keys if key.lower() not in known_keys(action, kind)}
            assert not missing, f"{action} on {kind} has no {missing}"


@pytest.mark.parametrize("statement", POLICY["Statement"], ids=lambda statement: statement["Sid"])
def test_arns_have_the_references_form(statement):
    for resource in listed(statement["Resource"]):
        kind = kind_of(resource)
        if kind in ("", "key"):
            continue
        form = re.sub(r"\\\$\\\{\w+\\\}", "([^:]*)", re.escape(REFERENCE["arns"][kind]))
        assert re.fullmatch(form, resource), resource
        assert any(kind in REFERENCE["actions"][action] for action in listed(statement["Action"])), resource


def test_questions_are_those_of_the_reference():
    """`ec2_requests.py` asks about each kind that the reference requires, about no unknown one, with known keys only."""
    for action, parameters in sample_requests.SENT:
        asked = ec2_requests.authorizations(action, parameters, sample_requests.account())
        for question in asked:
            kind = kind_of(question.resource)
            assert kind in REFERENCE["actions"][question.action], question
            unknown = {generic(key) for key in question.context} - GLOBAL_KEYS
            assert not {key for key in unknown if key.lower() not in known_keys(question.action, kind)}, question
        kinds = {kind_of(question.resource) for question in asked if question.action == f"ec2:{action}"}
        required = {kind for kind, about in REFERENCE["actions"][f"ec2:{action}"].items() if about["required"]}
        assert required <= kinds, action


# ---- filling the templates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_left_to_fill_in_and_iam_has_room(name):
    document = filled(name)
    assert "$" not in json.dumps(document)
    # IAM's quotas, without white space: all inline policies of a role, and a trust policy.
    room = 10_240 if "policy" in name else 2_048
    assert len(re.sub(r"\s", "", json.dumps(document))) < room
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids) and all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)


def test_policies_fit_with_long_lists():
    regions = [f"ap-northeast-{number}" for number in range(1, 10)] * 2
    roles = [f"arn:aws:iam::210987654321:role/image-builder-{number:02d}" for number in range(10)]
    document = filled("build-role-policy", regions=regions, instance_profile_role_arns=roles)
    assert len(re.sub(r"\s", "", json.dumps(document))) < 10_240


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_value_that_is_missing_or_wrong_is_refused(name):
    template = read(f"{name}.json")
    for value in placeholders(template) - {"partition", "dns_suffix"}:
        without = {key: it for key, it in VALUES.items() if key != value}
        if value in ("instance_profile_role_arns", "kms_key_arns", "share_account_ids"):
            continue
        with pytest.raises(Wrong, match=value):
            render(template, without)
        for wrong in ("", "*", "${aws:username}", 'a", "b', []):
            with pytest.raises(Wrong, match=value):
                a_list = isinstance(VALUES[value], list) and wrong != []
                render(template, {**VALUES, value: [wrong] if a_list else wrong})
    with pytest.raises(Wrong, match="acount_id"):
        render(template, {**VALUES, "acount_id": "210987654321"})


def sids(policy):
    return {statement["Sid"] for statement in policy["Statement"]}


@pytest.mark.parametrize(("list_name", "gone"), [
    ("instance_profile_role_arns", {"PassListedRole"}),
    ("kms_key_arns", {"UseListedKey", "GrantListedKeyToVolume"}),
    ("share_account_ids", {"ShareOwnSnapshot"}),
])
def test_a_list_that_is_empty_takes_its_statements_along(list_name, gone):
    assert sids(POLICY) - sids(filled("build-role-policy", **{list_name: []})) == gone


def test_optional_statements_can_be_dropped_and_others_not():
    assert sids(POLICY) - sids(filled("build-role-policy", drop_statements=list(OPTIONAL))) == set(OPTIONAL)
    with pytest.raises(Wrong):
        filled("build-role-policy", drop_statements=["StayInRegions"])


def test_the_handbook_explains_each_statement():
    text = (HERE / "README.md").read_text("utf-8")
    section = text.split("## The statements")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    explained = [sid for cell in cells for sid in re.findall(r"`(\w+)`", cell)]
    assert sorted(explained) == sorted(sid for name in TEMPLATES for sid in sids(read(f"{name}.json")))

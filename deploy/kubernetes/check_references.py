"""What a schema can't see in the manifests: names that refer to each other, selectors, ports, settings.

usage: check_references.py FOLDER RENDERED

FOLDER has kustomization.yaml and secret.example.yaml; RENDERED is what kustomize made of it. config/ingot.toml of this
repository says which settings there are. Prints each mistake and exits 1 when there is one. Run by `check`.
"""

import re
import sys
import tomllib
from pathlib import Path

import yaml

CONFIGURATION = Path(__file__).resolve().parents[2] / "config/ingot.toml"
# src/lifecycle.rs, GRACE, and a few seconds to close the database.
DRAIN_SECONDS = 30
CLOSING_SECONDS = 5
# Which roles there are is Ingot's; that a Deployment's component is its role is how these manifests are written.
ROLES = {"api", "worker"}
# Variables of the command line, as opposed to settings (INGOT__…).
OTHER_VARIABLES = {"INGOT_CONFIG"}
PROBES = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
# Where pods may go, by component: TCP ports, and no other.
EGRESS = {"api": {53, 5432}, "migrate": {53, 5432}, "worker": {22, 53, 80, 443, 5432}}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
# The schemas take any text here; the server does not.
CHOICES = {
    "medium": {"Memory"},
    "nodeTaintsPolicy": {"Honor", "Ignore"},
    "preemptionPolicy": {"Never", "PreemptLowerPriority"},
    "protocol": {"TCP", "UDP"},
    "restartPolicy": {"Always", "Never"},
    "unhealthyPodEvictionPolicy": {"AlwaysAllow", "IfHealthyBudget"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
}


class Strict(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys without a word."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: twice: {', '.join(map(str, twice))}")
        return super().construct_mapping(node, deep)


def read(path):
    with open(path) as file:
        return [document for document in yaml.load_all(file, Loader=Strict) if document]


class Manifests:
    def __init__(self, folder, rendered):
        self.folder = Path(folder)
        self.objects = read(rendered)
        self.secret = read(self.folder / "secret.example.yaml")[0]
        self.settings = tomllib.loads((self.folder / "ingot.toml").read_text())
        self.mistakes = []

    def wrong(self, item, text):
        self.mistakes.append(f"{item['kind']} {item['metadata']['name']}: {text}")

    def all(self, *kinds):
        return [item for item in self.objects if item["kind"] in kinds]

    def named(self, kind, name):
        return next((item for item in self.all(kind) if item["metadata"]["name"] == name), None)

    def workloads(self):
        return self.all("Deployment", "Job")

    def selected(self, selector):
        """The workloads whose pods a label selector takes; an empty one takes all."""
        assert not selector.get("matchExpressions"), "not used here, so not evaluated here"
        wanted = selector.get("matchLabels", {})
        return [item for item in self.workloads() if wanted.items() <= labels(item).items()]


def pod(workload):
    return workload["spec"]["template"]["spec"]


def labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def component(workload):
    return labels(workload).get("app.kubernetes.io/component")


def containers(workload):
    return pod(workload).get("initContainers", []) + pod(workload)["containers"]


def names(items):
    return [item["metadata"]["name"] for item in items]


def port_names(workload):
    ports = [port for container in containers(workload) for port in container.get("ports", [])]
    return {port["name"]: port["containerPort"] for port in ports}


def check_objects(manifests):
    namespaces = names(manifests.all("Namespace"))
    seen = set()
    for item in [*manifests.objects, manifests.secret]:
        if (item["kind"], item["metadata"]["name"]) in seen:
            manifests.wrong(item, "there are two")
        seen.add((item["kind"], item["metadata"]["name"]))
        if item["kind"] not in CLUSTER_WIDE and [item["metadata"].get("namespace")] != namespaces:
            manifests.wrong(item, f"is not in the namespace {namespaces}")
    listed = set(read(manifests.folder / "kustomization.yaml")[0]["resources"])
    there = {path.name for path in manifests.folder.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    if there != listed:
        manifests.mistakes.append(f"kustomization.yaml: resources and files differ: {sorted(there ^ listed)}")
    images = {container["image"] for workload in manifests.workloads() for container in containers(workload)}
    if len(images) != 1:
        manifests.mistakes.append(f"containers have different images: {sorted(images)}")
    if {component(item) for item in manifests.all("Deployment")} != ROLES:
        manifests.mistakes.append(f"the Deployments' components are not {sorted(ROLES)}")


def check_choices(manifests, item, value):
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(below, dict | list):
            check_choices(manifests, item, below)
        elif key in CHOICES and below not in CHOICES[key]:
            manifests.wrong(item, f"{key} is {below}, and not one of {sorted(CHOICES[key])}")


def check_pod(manifests, workload):
    spec = pod(workload)
    account = manifests.named("ServiceAccount", spec.get("serviceAccountName"))
    if account is None:
        manifests.wrong(workload, f"no ServiceAccount {spec.get('serviceAccountName')}")
    if spec.get("automountServiceAccountToken") is not False:
        manifests.wrong(workload, "mounts a token for Kubernetes's API")
    if manifests.named("PriorityClass", spec.get("priorityClassName")) is None:
        manifests.wrong(workload, f"no PriorityClass {spec.get('priorityClassName')}")
    for constraint in spec.get("topologySpreadConstraints", []):
        if manifests.selected(constraint["labelSelector"]) != [workload]:
            manifests.wrong(workload, f"spreads over {constraint['topologyKey']} with other pods than its own")

    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    mounted = {mount["name"] for container in containers(workload) for mount in container.get("volumeMounts", [])}
    if mounted != set(volumes):
        manifests.wrong(workload, f"volumes and mounts differ: {sorted(mounted ^ set(volumes))}")
    for volume in volumes.values():
        if "configMap" in volume:
            source = manifests.named("ConfigMap", volume["configMap"]["name"])
            check_keys(manifests, workload, source, volume["configMap"])
        if "secret" in volume:
            check_keys(manifests, workload, secret(manifests, volume["secret"]["secretName"]), volume["secret"])
    for container in containers(workload):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                check_keys(manifests, workload, secret(manifests, reference["name"]), {"items": [reference]})


def secret(manifests, name):
    return manifests.secret if manifests.secret["metadata"]["name"] == name else None


def check_keys(manifests, workload, source, reference):
    if source is None:
        manifests.wrong(workload, f"refers to a ConfigMap or Secret that is not there: {reference}")
        return
    keys = {**source.get("data", {}), **source.get("stringData", {})}
    for item in reference.get("items", []):
        if item["key"] not in keys:
            manifests.wrong(workload, f"{source['kind']} {source['metadata']['name']} has no key {item['key']}")


def check_restricted(manifests, workload):
    """The restricted Pod Security Standard, and more: a read-only root, a memory limit, no fsGroup."""
    context = pod(workload).get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != 65532:
        manifests.wrong(workload, "does not run as uid 65532")
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        manifests.wrong(workload, "has no seccomp profile")
    if "fsGroup" in context:
        manifests.wrong(workload, "has an fsGroup, which opens the files of volumes to the group")
    for container in containers(workload):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("readOnlyRootFilesystem") is not True:
            manifests.wrong(workload, f"container {container['name']} may escalate, or write to its root")
        if own.get("capabilities") != {"drop": ["ALL"]} or "runAsUser" in own:
            manifests.wrong(workload, f"container {container['name']} keeps capabilities, or has a user of its own")
        resources = container.get("resources", {})
        if not resources.get("requests", {}).keys() >= {"cpu", "memory"} or "memory" not in resources.get("limits", {}):
            manifests.wrong(workload, f"container {container['name']} lacks requests or a memory limit")


def check_server(manifests, deployment):
    [server] = pod(deployment)["containers"]
    own = deployment["spec"]["selector"]
    if manifests.selected(own) != [deployment]:
        manifests.wrong(deployment, f"its selector takes the pods of {names(manifests.selected(own))}")
    if server.get("args") != ["serve", "--role", component(deployment)]:
        manifests.wrong(deployment, f"component {component(deployment)} has the arguments {server.get('args')}")
    budgets = [manifests.selected(item["spec"]["selector"]) for item in manifests.all("PodDisruptionBudget")]
    if budgets.count([deployment]) != 1:
        manifests.wrong(deployment, f"has {budgets.count([deployment])} PodDisruptionBudgets")
    sleep = server.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pod(deployment).get("terminationGracePeriodSeconds", 30) < sleep + DRAIN_SECONDS + CLOSING_SECONDS:
        manifests.wrong(deployment, "terminationGracePeriodSeconds is too short for preStop and drain")
    for probe, path in PROBES.items():
        request = server.get(probe, {}).get("httpGet", {})
        if request.get("path") != path or request.get("port") not in port_names(deployment):
            manifests.wrong(deployment, f"{probe} asks {request}")

    # The settings and the places that they name.
    listen = manifests.settings["server"]["listen"]
    if [listen] != [f"0.0.0.0:{port}" for port in port_names(deployment).values()]:
        manifests.wrong(deployment, f"server.listen is {listen}, the container's ports are {port_names(deployment)}")
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    key_file = Path(manifests.settings["secrets"]["key_file"])
    if pod(deployment)["initContainers"][0]["command"][-1] != str(key_file) or str(key_file.parent) not in mounts:
        manifests.wrong(deployment, f"nothing puts the key at secrets.key_file, {key_file}")
    if mounts.get(manifests.settings["data_dir"], {"readOnly": True}).get("readOnly"):
        manifests.wrong(deployment, "data_dir is not a volume that can be written")
    file = Path(next((item["value"] for item in server["env"] if item["name"] == "INGOT_CONFIG"), "/"))
    config_maps = {item["name"]: item["configMap"]["name"] for item in pod(deployment)["volumes"] if "configMap" in item}
    source = config_maps.get(mounts.get(str(file.parent), {}).get("name"))
    if file.name not in (manifests.named("ConfigMap", source) or {}).get("data", {}):
        manifests.wrong(deployment, f"INGOT_CONFIG names {file}, which no ConfigMap provides")


def check_network(manifests):
    for service in manifests.all("Service"):
        taken = manifests.selected({"matchLabels": service["spec"]["selector"]})
        if [component(item) for item in taken] != ["api"]:
            manifests.wrong(service, f"sends to the pods of {names(taken)}, not to the API's alone")
        for port in service["spec"]["ports"]:
            if any(port["targetPort"] not in port_names(item) for item in taken):
                manifests.wrong(service, f"no pod has a port {port['targetPort']}")
    for budget in manifests.all("PodDisruptionBudget"):
        if len(manifests.selected(budget["spec"]["selector"])) != 1:
            manifests.wrong(budget, f"takes the pods of {names(manifests.selected(budget['spec']['selector']))}")

    policies = manifests.all("NetworkPolicy")
    if not any(item["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for item in policies):
        manifests.mistakes.append("no NetworkPolicy denies everything first")
    egress = {component(item): set() for item in manifests.workloads()}
    for policy in policies:
        taken = manifests.selected(policy["spec"]["podSelector"])
        if not taken:
            manifests.wrong(policy, "takes no pods")
        for direction in ("ingress", "egress"):
            if direction in policy["spec"] and direction.title() not in policy["spec"]["policyTypes"]:
                manifests.wrong(policy, f"has rules for {direction} and not the type")
        for rule in policy["spec"].get("ingress", []):
            for port in rule["ports"]:
                if any(port["port"] not in port_names(item) for item in taken):
                    manifests.wrong(policy, f"lets in to port {port['port']}, which a pod does not have")
        for rule in policy["spec"].get("egress", []):
            ports = {port["port"] for port in rule["ports"] if port["protocol"] == "TCP"}
            for workload in taken:
                egress[component(workload)] |= ports
    if egress != EGRESS:
        manifests.mistakes.append(f"NetworkPolicies let out to {egress}, and not to {EGRESS}")


def known_settings():
    """`section.key` of config/ingot.toml, where most lines are commented out; account names become `*`."""
    section, known = "", set()
    for line in CONFIGURATION.read_text().splitlines():
        if heading := re.fullmatch(r"(?:# ?)?\[([a-z_.]+)\]", line):
            section = re.sub(r"^accounts\.[a-z]+", "accounts.*", heading[1]) + "."
        elif setting := re.match(r"(?:# ?)?([a-z_]+) = ", line):
            known.add(section + setting[1])
    return known


def leaves(table, above=()):
    for key, value in table.items():
        path = (*above, "*" if above == ("accounts",) else key)
        if isinstance(value, dict):
            yield from leaves(value, path)
        else:
            yield ".".join(path)


def check_settings(manifests):
    known = known_settings()
    for setting in leaves(manifests.settings):
        if setting not in known:
            manifests.mistakes.append(f"ingot.toml: config/ingot.toml has no {setting}")
    for workload in manifests.workloads():
        for variable in (item["name"] for container in containers(workload) for item in container.get("env", [])):
            setting = ".".join(variable.removeprefix("INGOT__").lower().split("__"))
            if variable not in OTHER_VARIABLES and not (variable.startswith("INGOT__") and setting in known):
                manifests.wrong(workload, f"no setting belongs to the variable {variable}")


def main():
    manifests = Manifests(*sys.argv[1:])
    check_objects(manifests)
    check_settings(manifests)
    check_network(manifests)
    for item in manifests.objects:
        check_choices(manifests, item, item)
    for workload in manifests.workloads():
        check_pod(manifests, workload)
        check_restricted(manifests, workload)
    for deployment in manifests.all("Deployment"):
        check_server(manifests, deployment)
    for mistake in manifests.mistakes:
        print(f"  {mistake}", file=sys.stderr)
    if manifests.mistakes:
        sys.exit(1)
    print(f"  {len(manifests.objects)} objects refer to each other as they should")


if __name__ == "__main__":
    main()

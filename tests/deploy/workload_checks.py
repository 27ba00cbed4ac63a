"""Faults of the pods that we run, which no schema sees. Each check returns the faults in words."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pipeline.cli.main import COMMANDS
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings, env_name
from pipeline.config.units import parse_duration
from pipeline.errors import SettingsError
from pipeline.rules import loader
from tests.deploy.manifests import (
    NAMESPACE,
    Manifest,
    Objects,
    containers,
    environment,
    named,
    of_kind,
    pod_spec,
    title,
    workloads,
)

PORTS = {"crisp-shipper": "ship_port", "crisp-worker": "worker_port"}
GRACES = {"crisp-shipper": "ship_grace_seconds", "crisp-worker": "worker_grace_seconds"}
CALL_KUBERNETES = ("crisp-shipper", "crisp-fleet-page")
# Secrets that operators make, or that the README has people make.
FROM_ELSEWHERE = re.compile(
    r"crisp-elasticsearch(-setup|-audit)?|crisp-ca|crisp-kafka|logs-cluster-ca-cert|logs-(es|kb)-http-certs-public"
)


def selectors(objects: Objects) -> Iterator[str]:
    """A selector that finds not its own pods, or nobody's."""
    labels = [entry["spec"]["template"]["metadata"]["labels"] for entry in workloads(objects)]
    for entry in of_kind(objects, "DaemonSet", "Deployment"):
        own = entry["spec"]["template"]["metadata"]["labels"]
        if not entry["spec"]["selector"]["matchLabels"].items() <= own.items():
            yield f"{title(entry)}: its selector does not match its own pods"
        for spread in pod_spec(entry).get("topologySpreadConstraints", ()):
            if not spread["labelSelector"]["matchLabels"].items() <= own.items():
                yield f"{title(entry)}: is spread by labels that its pods do not have"
    for entry in of_kind(objects, "PodDisruptionBudget"):
        wanted = entry["spec"]["selector"]["matchLabels"].items()
        if not any(wanted <= have.items() for have in labels):
            yield f"{title(entry)}: selects no pods"


def references(objects: Objects) -> Iterator[str]:
    """A reference to something that nobody makes."""
    users = {entry["metadata"]["name"] for entry in of_kind(objects, "KafkaUser")}
    have = {(entry["kind"], entry["metadata"]["name"]) for entry in objects}
    for entry in workloads(objects):
        for kind, name in _referred(entry):
            there = (kind, name) in have or (kind == "Secret" and (name in users or FROM_ELSEWHERE.fullmatch(name)))
            if not there:
                yield f"{title(entry)}: there is no {kind} {name}"
    for entry in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        wanted = [(entry["roleRef"]["kind"], entry["roleRef"]["name"])]
        wanted += [(subject["kind"], subject["name"]) for subject in entry["subjects"] if subject["kind"] != "Group"]
        yield from (f"{title(entry)}: there is no {kind} {name}" for kind, name in wanted if (kind, name) not in have)
        yield from (
            f"{title(entry)}: names a subject in another namespace"
            for subject in entry["subjects"]
            if subject["kind"] == "ServiceAccount"
            and named(objects, "ServiceAccount", subject["name"])["metadata"]["namespace"] != subject["namespace"]
        )


def _referred(workload: Manifest) -> Iterator[tuple[str, str]]:
    spec = pod_spec(workload)
    yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for container in containers(workload):
        for source in container.get("envFrom", ()):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in source:
                    yield kind, source[key]["name"]


def ports(objects: Objects) -> Iterator[str]:
    """A probe at a port that is not there, or a port that the process does not listen on."""
    for entry in workloads(objects):
        effective = environment(objects, entry)
        for container in containers(entry):
            names = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container and container[probe]["httpGet"]["port"] not in names:
                    yield f"{title(entry)}: {probe} asks a port that has no such name"
            wanted = PORTS.get(entry["metadata"]["name"])
            if wanted and effective.get(env_name(wanted)) != str(names.get("status")):
                yield f"{title(entry)}: {env_name(wanted)} is not the port named status"


def probes(objects: Objects) -> Iterator[str]:
    """A liveness probe that looks at neighbours, or none."""
    for entry in of_kind(objects, "DaemonSet", "Deployment"):
        container = pod_spec(entry)["containers"][0]
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                yield f"{title(entry)}: {probe} must ask {path}"


def variables(objects: Objects) -> Iterator[str]:
    """A variable that is no setting, a value that is refused, a command that does not exist, a grace too short."""
    for entry in workloads(objects):
        try:
            loaded = effective_settings(objects, entry)
        except SettingsError as fault:
            yield f"{title(entry)}: {fault}"
            continue
        container = pod_spec(entry)["containers"][0]
        if container["args"][0] not in COMMANDS:
            yield f"{title(entry)}: there is no command {container['args'][0]}"
        grace = GRACES.get(entry["metadata"]["name"])
        if grace and pod_spec(entry)["terminationGracePeriodSeconds"] < getattr(loaded, grace) + 20:
            yield f"{title(entry)}: is killed before {env_name(grace)} is over"
        yield from (f"{title(entry)}: {fault}" for fault in _unmounted(environment(objects, entry), container))


def _unmounted(effective: dict[str, str], container: Manifest) -> Iterator[str]:
    mounts = [PurePosixPath(mount["mountPath"]) for mount in container.get("volumeMounts", ())]
    for name, value in effective.items():
        if not (
            name.startswith("CRISP_")
            and name.endswith(("_FILE", "_DIR"))
            and value
            and _concerns(name, container["args"])
        ):
            continue
        if not any(PurePosixPath(value).is_relative_to(mount) for mount in mounts):
            yield f"{name}: {value} is not mounted"


def _concerns(name: str, command: list[str]) -> bool:
    """The one ConfigMap tells each part of servers at whose certificates it never looks."""
    if command == ["setup", "--kibana-only"]:
        return name.startswith("CRISP_KIBANA_")
    return not (command == ["ship"] and name.startswith("CRISP_ES_"))


def rules(objects: Objects) -> Iterator[str]:
    """Rules that a running worker would never see change, or that it would refuse."""
    for entry in of_kind(objects, "Deployment"):
        if entry["metadata"]["name"] == "crisp-fleet-page":
            continue
        spec = pod_spec(entry)
        path = PurePosixPath(environment(objects, entry)["CRISP_RULES_FILE"])
        (mount,) = [row for row in spec["containers"][0]["volumeMounts"] if path.is_relative_to(row["mountPath"])]
        (volume,) = [row for row in spec["volumes"] if row["name"] == mount["name"]]
        if "subPath" in mount or volume["configMap"]["name"] != "crisp-rules":
            yield f"{title(entry)}: its rules would change with a restart only"
        data = named(objects, "ConfigMap", volume["configMap"]["name"])["data"]
        read = loader.parse(data.get(path.name, "").encode(), effective_settings(objects, entry))
        yield from (f"{title(entry)}: {fault}" for fault in read.problems)


def effective_settings(objects: Objects, workload: Manifest) -> Settings:
    """The settings as a workload finds them. Raises SettingsError."""
    found = environment(objects, workload)
    return load_settings({key: value for key, value in found.items() if key.startswith("CRISP_")})


def secrets(objects: Objects) -> Iterator[str]:
    """A secret in a ConfigMap or in a manifest."""
    secret = {env_name(row.name) for row in dataclasses.fields(Settings) if row.metadata["secret"]}
    for entry in of_kind(objects, "ConfigMap"):
        yield from (f"{title(entry)}: holds {name}" for name in sorted(secret & set(entry.get("data", ()))))
    for entry in workloads(objects):
        for container in containers(entry):
            rows = container.get("env", ())
            yield from (
                f"{title(entry)}: {row['name']} stands in the manifest"
                for row in rows
                if row["name"] in secret and "value" in row
            )


def images(objects: Objects) -> Iterator[str]:
    """An image without a version of its own, or one that no `images` of an overlay has given a registry."""
    for entry in workloads(objects):
        for container in containers(entry):
            if "/" not in container["image"]:
                yield f"{title(entry)}: image {container['image']} has no registry: `images` must name it so"
            if not re.fullmatch(r"[\w./:-]+(:\d+\.\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})", container["image"]):
                yield f"{title(entry)}: image {container['image']} is not pinned"


def jobs(objects: Objects) -> Iterator[str]:
    """A setup that fails while a server is not there yet, or that is ended while it waits for one."""
    for entry in of_kind(objects, "Job"):
        args = pod_spec(entry)["containers"][0]["args"]
        if entry["metadata"]["name"] != "crisp-setup":
            continue
        if "--wait" not in args:
            yield f"{title(entry)}: does not wait for Kafka and Elasticsearch"
        elif parse_duration(args[args.index("--wait") + 1]) >= entry["spec"]["activeDeadlineSeconds"]:
            yield f"{title(entry)}: is ended before its --wait is over"


def confinement(objects: Objects) -> Iterator[str]:
    """A container that may do more than it needs."""
    for entry in workloads(objects):
        spec = pod_spec(entry)
        shipper = entry["metadata"]["name"] == "crisp-shipper"
        if spec["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{title(entry)}: no seccomp profile"
        if not shipper and not (spec["securityContext"].get("runAsNonRoot") and spec["securityContext"]["runAsUser"]):
            yield f"{title(entry)}: may run as root"
        if spec.get("automountServiceAccountToken") is not (entry["metadata"]["name"] in CALL_KUBERNETES):
            yield f"{title(entry)}: only the shipper and the fleet's page speak to the Kubernetes API"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{title(entry)}: shares the node's namespaces"
        if spec.get("enableServiceLinks") is not False:
            yield f"{title(entry)}: a Service named crisp-… would come as a variable that is no setting"
        for container in containers(entry):
            yield from (f"{title(entry)}: {fault}" for fault in _container_faults(container))


def _container_faults(container: Manifest) -> Iterator[str]:
    context = container.get("securityContext", {})
    expected: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    yield from (f"{key} must be {value}" for key, value in expected.items() if context.get(key) != value)
    if context.get("privileged"):
        yield "is privileged"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or not {"cpu", "memory"} <= set(resources.get("requests", {})):
        yield "asks for no resources, or has no limit of memory"
    if "cpu" in resources.get("limits", {}):
        yield "has a limit of CPU: a throttled shipper loses what the kubelet rotates away"


def node(objects: Objects) -> Iterator[str]:
    """What the shipper needs to be on every node, once, and to keep its place."""
    entry = named(objects, "DaemonSet", "crisp-shipper")
    spec = pod_spec(entry)
    if spec.get("tolerations") != [{"operator": "Exists"}]:
        yield f"{title(entry)}: stays away from tainted nodes"
    if spec.get("priorityClassName") != "system-node-critical":
        yield f"{title(entry)}: may be evicted before what it reads"
    if entry["spec"]["updateStrategy"]["rollingUpdate"].get("maxSurge") in {None, 0}:
        yield f"{title(entry)}: between two of one node, logs may be deleted that neither opened"
    for quota in of_kind(objects, "ResourceQuota"):
        if quota["metadata"]["namespace"] != entry["metadata"]["namespace"]:
            yield f"{title(quota)}: lets nothing of another namespace have its priority"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    if "hostPath" not in volumes[mounts[Settings().state_dir]["name"]]:
        yield f"{title(entry)}: the checkpoint would be gone with the pod"
    for mount in mounts.values():
        path = volumes[mount["name"]].get("hostPath")
        if path and "type" not in path:
            yield f"{title(entry)}: a wrong path {path['path']} would be an empty directory"
        if path and mount["mountPath"] != Settings().state_dir and not mount.get("readOnly"):
            yield f"{title(entry)}: may write to the node's {path['path']}"


def replicas(objects: Objects) -> Iterator[str]:
    """The number of workers said twice; a budget that holds a drain for ever."""
    deployment = named(objects, "Deployment", "crisp-worker")
    if "replicas" in deployment["spec"] and of_kind(objects, "ScaledObject"):
        yield f"{title(deployment)}: replicas beside KEDA's"
    for entry in of_kind(objects, "PodDisruptionBudget"):
        if "maxUnavailable" not in entry["spec"]:
            yield f"{title(entry)}: with one worker a drain would never end"


STATUS_READER = {("", "pods", "list"), ("", "pods/proxy", "get")}
STATUS_READER |= {("apps", resource, "list") for resource in ("daemonsets", "deployments")}


def rights(objects: Objects) -> Iterator[str]:
    """More than reading pods, for anybody; more than lists and the pod proxy for those who may read the status."""
    for entry in of_kind(objects, "ClusterRole", "Role"):
        if entry["metadata"]["name"] == "crisp-status-reader":
            more = _granted(entry) - STATUS_READER
            yield from (f"{title(entry)}: may {verb} {resource}" for _, resource, verb in sorted(more))
            continue
        for rule in entry["rules"]:
            pods = rule["apiGroups"] == [""] and rule["resources"] == ["pods"]
            scc = rule["apiGroups"] == ["security.openshift.io"] and rule["verbs"] == ["use"]
            if not (scc and rule.get("resourceNames")) and not (
                pods and set(rule["verbs"]) <= {"get", "list", "watch"}
            ):
                yield f"{title(entry)}: may {rule['verbs']} {rule['resources']}"
    for entry in of_kind(objects, "ClusterRoleBinding"):
        if entry["roleRef"]["name"] == "crisp-status-reader":
            yield f"{title(entry)}: allows the proxy to all pods of the cluster"


def _granted(role: Manifest) -> set[tuple[str, str, str]]:
    """Group, resource and verb of everything that a role allows."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def namespaces(objects: Objects) -> Iterator[str]:
    """An object of ours outside our namespace."""
    for entry in objects:
        where = entry["metadata"].get("namespace")
        if where is not None and where not in {NAMESPACE, "logging-agents"}:
            yield f"{title(entry)}: is in {where}"


CHECKS = (
    selectors,
    references,
    ports,
    probes,
    variables,
    rules,
    secrets,
    images,
    jobs,
    confinement,
    node,
    replicas,
    rights,
    namespaces,
)

"""Each check of the pods finds one place broken in a sound manifest."""

import pytest

from tests.deploy import workload_checks as workload
from tests.deploy.breaking import (
    CONTAINER,
    POD_LABELS,
    Break,
    Case,
    Check,
    at,
    faults,
    in_config,
    in_shipper,
    in_worker,
    without,
)
from tests.deploy.manifests import Objects, named, needs_kubectl, pod_spec
from tests.deploy.unsaid import unsaid

pytestmark = needs_kubectl


def unmounted(objects: Objects) -> None:
    mounts = pod_spec(named(objects, "Deployment", "crisp-worker"))["containers"][0]["volumeMounts"]
    mounts[:] = [mount for mount in mounts if mount["name"] != "kafka-user"]


def on_emptydir(objects: Objects) -> None:
    for volume in pod_spec(named(objects, "DaemonSet", "crisp-shipper"))["volumes"]:
        if volume["name"] == "state":
            del volume["hostPath"]
            volume["emptyDir"] = {}


def untyped_path(objects: Objects) -> None:
    for volume in pod_spec(named(objects, "DaemonSet", "crisp-shipper"))["volumes"]:
        if volume["name"] == "varlog":
            del volume["hostPath"]["type"]


def writable_logs(objects: Objects) -> None:
    for mount in pod_spec(named(objects, "DaemonSet", "crisp-shipper"))["containers"][0]["volumeMounts"]:
        if mount["name"] == "varlog":
            del mount["readOnly"]


def quota_elsewhere(objects: Objects) -> None:
    objects.append({"kind": "ResourceQuota", "metadata": {"name": "critical-pods", "namespace": "kube-system"}})


def status_for_everybody(objects: Objects) -> None:
    objects.append(
        {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "crisp-status-reader"},
            "roleRef": {"kind": "ClusterRole", "name": "crisp-status-reader"},
            "subjects": [],
        }
    )


def status_and_secrets(objects: Objects) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
    objects.append({"kind": "ClusterRole", "metadata": {"name": "crisp-status-reader"}, "rules": rules})


def rules_by_subpath(objects: Objects) -> None:
    for mount in pod_spec(named(objects, "Deployment", "crisp-worker"))["containers"][0]["volumeMounts"]:
        if mount["name"] == "rules":
            mount |= {"mountPath": "/etc/crisp/rules/rules.yaml", "subPath": "rules.yaml"}


BROKEN: list[Case] = [
    ("a label of the pods changed", workload.selectors, at("Deployment", "crisp-worker", *POD_LABELS, to={"app": "x"})),
    (
        "a budget for nobody",
        workload.selectors,
        at("PodDisruptionBudget", "crisp-worker", "spec", "selector", to={"matchLabels": {"app": "x"}}),
    ),
    (
        "a config map renamed",
        workload.references,
        in_worker(*CONTAINER, "envFrom", 0, to={"configMapRef": {"name": "crips"}}),
    ),
    (
        "a secret renamed",
        workload.references,
        in_worker(*CONTAINER, "envFrom", 1, to={"secretRef": {"name": "elastic"}}),
    ),
    ("a user of Kafka left out", workload.references, without("KafkaUser", "crisp-worker")),
    ("a service account left out", workload.references, without("ServiceAccount", "crisp-setup")),
    ("a role left out", workload.references, without("ClusterRole", "crisp-shipper")),
    (
        "an account of another namespace",
        workload.references,
        at("ClusterRoleBinding", "crisp-shipper", "subjects", 0, "namespace", to="default"),
    ),
    ("a probe at no port", workload.ports, in_worker(*CONTAINER, "livenessProbe", "httpGet", "port", to="http")),
    ("a port that nobody listens on", workload.ports, in_shipper(*CONTAINER, "ports", 0, "containerPort", to=9999)),
    (
        "liveness that looks at Kafka",
        workload.probes,
        in_shipper(*CONTAINER, "livenessProbe", "httpGet", "path", to="/readyz"),
    ),
    ("a setting misspelt", workload.variables, in_config(CRISP_KAFKA_BROKER="x:1")),
    ("a value out of range", workload.variables, in_config(CRISP_TOPIC_PARTITIONS="0")),
    ("a command that is none", workload.variables, in_worker(*CONTAINER, "args", to=["work"])),
    ("killed while draining", workload.variables, in_worker("terminationGracePeriodSeconds", to=30)),
    ("a certificate not mounted", workload.variables, unmounted),
    ("rules as a single file", workload.rules, rules_by_subpath),
    (
        "rules that are refused",
        workload.rules,
        at("ConfigMap", "crisp-rules", "data", "rules.yaml", to="rules: [{nam: x}]"),
    ),
    ("rules under another name", workload.rules, at("ConfigMap", "crisp-rules", "data", to={"rule.yaml": "rules: []"})),
    ("a password in a config map", workload.secrets, in_config(CRISP_KAFKA_PASSWORD="x")),  # noqa: S106 - no real one
    (
        "a password in the manifest",
        workload.secrets,
        in_worker(*CONTAINER, "env", to=[{"name": "ES_PASSWORD", "value": "x"}]),
    ),
    ("latest", workload.images, in_worker(*CONTAINER, "image", to="example.invalid/crisp-worker:latest")),
    ("no registry", workload.images, in_worker(*CONTAINER, "image", to="crisp-worker:0.1.0")),
    ("no wait", workload.jobs, at("Job", "crisp-setup", "spec", "template", "spec", *CONTAINER, "args", to=["setup"])),
    ("a deadline before the wait", workload.jobs, at("Job", "crisp-setup", "spec", "activeDeadlineSeconds", to=3000)),
    ("no tag", workload.images, in_worker(*CONTAINER, "image", to="example.invalid/crisp-worker")),
    ("a worker as root", workload.confinement, in_worker("securityContext", "runAsNonRoot", to=False)),
    ("no seccomp profile", workload.confinement, in_shipper("securityContext", to={})),
    (
        "a capability",
        workload.confinement,
        in_shipper(*CONTAINER, "securityContext", "capabilities", to={"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}),
    ),
    (
        "a writable root",
        workload.confinement,
        in_worker(*CONTAINER, "securityContext", "readOnlyRootFilesystem", to=False),
    ),
    ("privileged", workload.confinement, in_shipper(*CONTAINER, "securityContext", "privileged", to=True)),
    ("a limit of CPU", workload.confinement, in_shipper(*CONTAINER, "resources", "limits", "cpu", to="1")),
    ("no limit of memory", workload.confinement, in_worker(*CONTAINER, "resources", "limits", to={})),
    ("a token for the worker", workload.confinement, in_worker("automountServiceAccountToken", to=True)),
    ("links to services", workload.confinement, in_worker("enableServiceLinks", to=True)),
    ("the node's network", workload.confinement, in_shipper("hostNetwork", to=True)),
    ("not on tainted nodes", workload.node, in_shipper("tolerations", to=[])),
    ("a quota elsewhere", workload.node, quota_elsewhere),
    ("no priority", workload.node, in_shipper("priorityClassName", to="")),
    (
        "a node without a shipper in a rollout",
        workload.node,
        at("DaemonSet", "crisp-shipper", "spec", "updateStrategy", "rollingUpdate", "maxSurge", to=0),
    ),
    ("a checkpoint that goes with the pod", workload.node, on_emptydir),
    ("a host path without a type", workload.node, untyped_path),
    ("logs that may be written to", workload.node, writable_logs),
    ("replicas beside KEDA", workload.replicas, at("Deployment", "crisp-worker", "spec", "replicas", to=2)),
    (
        "a budget that holds a drain",
        workload.replicas,
        at("PodDisruptionBudget", "crisp-worker", "spec", to={"minAvailable": 1}),
    ),
    (
        "secrets to be read",
        workload.rights,
        at("ClusterRole", "crisp-shipper", "rules", 0, "resources", to=["pods", "secrets"]),
    ),
    (
        "the kubelet's proxy",
        workload.rights,
        at("ClusterRole", "crisp-shipper", "rules", 0, "resources", to=["nodes/proxy"]),
    ),
    (
        "pods to be deleted",
        workload.rights,
        at("ClusterRole", "crisp-shipper", "rules", 0, "verbs", to=["get", "delete"]),
    ),
    ("the pod proxy of the whole cluster", workload.rights, status_for_everybody),
    ("secrets for those who read the status", workload.rights, status_and_secrets),
    ("another namespace", workload.namespaces, at("Kafka", "logs", "metadata", "namespace", to="kafka")),
]


@pytest.mark.parametrize(("check", "break_it"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_broken_objects_are_reported(check: Check, break_it: Break) -> None:
    assert faults(check, break_it)


def test_every_message_of_the_checks_is_provoked() -> None:
    assert {check for _, check, _ in BROKEN} == set(workload.CHECKS)
    assert unsaid(workload, {fault for _, check, break_it in BROKEN for fault in faults(check, break_it)}) == []

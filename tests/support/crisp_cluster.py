"""Shippers and workers at a small API server, with what the pod proxy responds."""

import dataclasses
from typing import Any

import orjson

from pipeline.kubernetes.client import ApiClient
from pipeline.kubernetes.kubeconfig import Kubeconfig
from tests.support.fake_kubernetes_api import KubernetesApi, Object
from tests.support.statuses import SHIPPER, WORKER

PORTS = {"shipper": 9102, "worker": 9103}


class CrispCluster:
    """Two shippers in `agents`, a worker in `logging`, all running; change `api.pods` and `api.statuses` from there."""

    def __init__(self, api: KubernetesApi) -> None:
        self.api = api
        self.client = ApiClient(Kubeconfig(str(api.kubeconfig())))
        for number in (1, 2):
            self.add("shipper", f"crisp-shipper-{number}", "agents", f"node-{number}")
        self.add("worker", "crisp-worker-1", "logging", "node-1")
        self.want("shipper", 2)
        self.want("worker", 1)

    def add(self, kind: str, name: str, namespace: str, node: str, **changes: Any) -> Object:
        """Add a running and ready pod whose status is well; `changes` are of its `status`."""
        pod = {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "labels": {"app.kubernetes.io/name": f"crisp-{kind}"},
            },
            "spec": {
                "nodeName": node,
                "containers": [{"name": kind, "ports": [{"name": "status", "containerPort": PORTS[kind]}]}],
            },
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": kind, "state": {"running": {"startedAt": "2026-11-30T00:00:00Z"}}}],
                **changes,
            },
        }
        self.api.put(pod)
        status = dataclasses.replace(SHIPPER if kind == "shipper" else WORKER, version="0.1.0", name=name)
        self.api.statuses[f"{namespace}/{name}:{PORTS[kind]}"] = orjson.loads(orjson.dumps(status))
        return pod

    def want(self, kind: str, number: int) -> None:
        """Set how many pods the controller wants."""
        template = {"metadata": {"labels": {"app.kubernetes.io/name": f"crisp-{kind}"}}}
        metadata = {"name": f"crisp-{kind}", "namespace": {"shipper": "agents", "worker": "logging"}[kind]}
        entry = {"metadata": metadata, "spec": {"template": template, "replicas": number}}
        entry["status"] = {"desiredNumberScheduled": number}
        other = {"metadata": {"name": "other", "namespace": "logging"}, "spec": {"template": {"metadata": {}}}}
        self.api.apps[{"shipper": "daemonsets", "worker": "deployments"}[kind]] = [entry, other]

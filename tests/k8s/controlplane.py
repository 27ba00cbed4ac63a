"""The API server with controllers, scheduler and kwok, which plays every kubelet: pods are placed and ready.

What kwok does not do is run them: no image is pulled, no probe asked, no network policy enforced.
"""

import json
import subprocess
from typing import Any

from pipeline.local.process import ServerProcess
from tests.k8s.apiserver import ApiServer
from tests.k8s.binaries import binary, source

CONTROLLERS = "daemonset,deployment,replicaset,disruption,job,node-lifecycle-controller"


class ControlPlane(ApiServer):
    """A cluster without kubelets; `kubectl` speaks to it as an administrator."""

    def start(self) -> None:
        """Start everything and wait until pods can be made."""
        super().start()
        common = [f"--kubeconfig={self.kubeconfig()}", "--leader-elect=false", "--secure-port=0"]
        key = f"--service-account-private-key-file={self.directory / 'sa.key'}"
        controllers = [str(binary("kube-controller-manager")), *common, f"--controllers={CONTROLLERS}", key]
        scheduler = [str(binary("kube-scheduler")), *common]
        self._parts = [
            ServerProcess("kube-controller-manager", controllers, self.directory),
            ServerProcess("kube-scheduler", scheduler, self.directory),
            ServerProcess("kwok", self._kwok(), self.directory),
        ]

    def _kwok(self) -> list[str]:
        stages = source("kwok") / "kustomize" / "stage" / "fast"
        built = ["kubectl", "kustomize", str(stages), "--load-restrictor=LoadRestrictionsNone"]
        path = self.directory / "stages.yaml"
        path.write_bytes(subprocess.run(built, capture_output=True, check=True).stdout)
        command = [str(binary("kwok")), f"--kubeconfig={self.kubeconfig()}", "--manage-all-nodes=true"]
        return [*command, f"--config={path}", "--cidr=10.244.0.0/16", "--node-ip=127.0.0.1", "--server-address="]

    def stop(self) -> None:
        """End all parts."""
        for part in self._parts:
            part.kill()
        super().stop()

    def pods(self, name: str) -> list[dict[str, Any]]:
        """The pods of a part of ours that run somewhere and are ready."""
        found = self.ask("GET", f"/api/v1/namespaces/logging/pods?labelSelector=app.kubernetes.io/name={name}")["items"]
        return [pod for pod in found if _ready(pod) and "deletionTimestamp" not in pod["metadata"]]

    def add_node(self, name: str, *taints: dict[str, str], labels: dict[str, str] | None = None) -> None:
        """A node that kwok keeps."""
        resources = {"cpu": "4", "memory": "16Gi", "pods": "110"}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **(labels or {})}
        body = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(taints)}}
        self.ask("POST", "/api/v1/nodes", body)
        status = json.dumps({"status": {"allocatable": resources, "capacity": resources}})
        self.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)

    def remove_node(self, name: str) -> None:
        """Take a node away with the pods on it: without it no kubelet would end them, and a cluster waits for that."""
        self.ask("DELETE", f"/api/v1/nodes/{name}")
        for pod in self.ask("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={name}")["items"]:
            about = pod["metadata"]
            place = f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}"
            self.ask("DELETE", f"{place}?gracePeriodSeconds=0")


def _ready(pod: dict[str, Any]) -> bool:
    return any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions", ()))

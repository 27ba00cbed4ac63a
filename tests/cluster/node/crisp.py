"""crisp on a node, as users apply it: the base and fixed-replicas, with this node's addresses and images."""

import shutil
import tempfile
from pathlib import Path

from tests.cluster.node import images
from tests.cluster.node.layout import ADDRESS, CGROUP, ELASTICSEARCH_PORT, KAFKA_PORT
from tests.cluster.node.node import Node
from tests.deploy.manifests import ROOT

_OVERLAY = f"""apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../base]
components: [../../components/fixed-replicas]
configMapGenerator:
- name: crisp
  namespace: logging
  behavior: merge
  literals:
  - CRISP_KAFKA_BROKERS={ADDRESS}:{KAFKA_PORT}
  - CRISP_TOPIC_REPLICATION=1
  - CRISP_ES_URLS=http://{ADDRESS}:{ELASTICSEARCH_PORT}
images:
- {{name: crisp-shipper, newName: localhost/crisp-shipper, newTag: 0.1.0}}
- {{name: crisp-worker, newName: localhost/crisp-worker, newTag: 0.1.0}}
# In trees before 0.1.0 the base named a registry itself; `images` that match nothing change nothing.
- {{name: example.invalid/crisp-shipper, newName: localhost/crisp-shipper}}
- {{name: example.invalid/crisp-worker, newName: localhost/crisp-worker}}
"""


def install(node: Node, root: Path = ROOT) -> None:
    """Import the images, apply the manifests, and return when all is rolled out. Raises StackError."""
    for archive in (images.pause(), *images.crisp(root)):
        node.import_image(archive)
    node.wait_servers()
    node.kubectl("create", "namespace", "logging")
    for name in ("crisp-elasticsearch", "crisp-elasticsearch-setup"):
        secret = ("--from-literal=ES_USER=crisp", "--from-literal=ES_PASSWORD=unused")
        node.kubectl("-n", "logging", "create", "secret", "generic", name, *secret)
    apply(node, root)
    node.kubectl("-n", "logging", "wait", "--for=condition=complete", "job/crisp-setup", "--timeout=180s")
    wait_rolled_out(node)


def apply(node: Node, root: Path = ROOT) -> None:
    """Apply the manifests of a working tree."""
    with tempfile.TemporaryDirectory(prefix="crisp-manifests-") as temporary:
        shutil.copytree(root / "deploy", Path(temporary, "deploy"))
        overlay = Path(temporary, "deploy", "overlays", "node")
        overlay.mkdir()
        (overlay / "kustomization.yaml").write_text(_OVERLAY)
        node.kubectl("apply", "--server-side", "-k", str(overlay))


def wait_rolled_out(node: Node) -> None:
    """Return when shipper and workers are rolled out. Raises StackError."""
    for workload in ("daemonset/crisp-shipper", "deployment/crisp-worker"):
        node.kubectl("-n", "logging", "rollout", "status", workload, "--timeout=180s")


def peak_memory(node: Node) -> dict[str, int]:
    """Return the peak of memory of the shipper's and of the workers' containers, in bytes, by their cgroups."""
    peaks: dict[str, int] = {}
    for pod in node.get("-n", "logging", "pods")["items"]:
        for status in pod["status"].get("containerStatuses", ()):
            identity = status.get("containerID", "").rpartition("/")[2]
            for path in Path("/sys/fs/cgroup/memory", CGROUP).rglob(identity) if identity else ():
                peak = int((path / "memory.max_usage_in_bytes").read_text())
                peaks[status["name"]] = max(peaks.get(status["name"], 0), peak)
    return peaks


def command(node: Node, *arguments: str) -> str:
    """Run a command of crisp in a worker's pod."""
    worker = node.get("-n", "logging", "pods", "-l", "app.kubernetes.io/name=crisp-worker")["items"][0]
    return node.kubectl("-n", "logging", "exec", worker["metadata"]["name"], "--", "crisp", *arguments)

"""Where a node's files are, and its addresses: known outside of its namespaces and inside."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

ADDRESS = "172.31.77.1"
"""Of the node, in a network of its own: the kubelet's, the API server's, CoreDNS's, Kafka's and Elasticsearch's."""
NAME = "node-1"
CGROUP = "crisp-node"
ADMIN_TOKEN, KUBELET_TOKEN = "admin-token", "kubelet-token"
KAFKA_PORT, ELASTICSEARCH_PORT = 9092, 9200
PAUSE_IMAGE = "localhost/pause:1"


@dataclass(frozen=True)
class Layout:
    """The directories of one node.

    `cni`: the directory of the CNI plugins; `settings`: of the kubelet, in addition.
    """

    top: str
    binaries: str
    cni: str
    runc: str
    settings: dict[str, object] = field(default_factory=dict)

    @classmethod
    def decode(cls, encoded: str) -> "Layout":
        """Decode what `encode` made."""
        return cls(**json.loads(encoded))

    def encode(self) -> str:
        """Encode as JSON."""
        return json.dumps(asdict(self))

    def path(self, *names: str) -> Path:
        """Return a path beneath the node's own directory."""
        return Path(self.top, *names)

    def binary(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(Path(self.binaries, name))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.path("admin.conf")

    @property
    def pod_logs(self) -> Path:
        """The node's /var/log/pods, as seen from outside."""
        return self.path("log", "pods")

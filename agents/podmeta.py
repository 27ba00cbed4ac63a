"""What is known of a container's pod: the metadata that travels with every slice.

The JSON has: namespace, pod, uid, container, restart, node; and where the Kubernetes API told it: image,
container_id, labels, annotations, owner ({kind, name}). `source` says where it came from: "path" or "api".
"""

import orjson

from agents.discovery import Instance


def from_path(instance: Instance, node: str) -> bytes:
    """What the log's path tells, as JSON."""
    fields = {**instance._asdict(), "node": node, "source": "path"}
    return orjson.dumps(fields)

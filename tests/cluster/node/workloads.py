"""Pods that write numbered lines, `@RUN:NUMBER:BYTES@` and padding, with the Python of the worker's image."""

from typing import Any

from tests.cluster.node.images import WORKER

NAMESPACE = "load"
_WRITER = """
import os, signal, sys, time
run, count, size, rate, *options = sys.argv[1:]
run = f"{run}-{time.time_ns() // 1000000}"
out = sys.stderr if "stderr" in options else sys.stdout
sizes = [int(each) for each in size.split(",")]
ended = []
if "last-words" in options:
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
began = time.monotonic()
def write(number, newline=True):
    wanted = sizes[number % len(sizes)]
    line = f"@{run}:{number}:{wanted}@ "
    out.write(line + "x" * (wanted - len(line) - 1) + "e" + ("\\n" if newline else ""))
    out.flush()
number = 0
while number < int(count) and not ended:
    write(number)
    number += 1
    if float(rate):
        time.sleep(max(0.0, began + number / float(rate) - time.monotonic()))
while "stay" in options and not ended:
    time.sleep(0.2)
for _ in range(50 if ended else 0):
    write(number)
    number += 1
if "unended" in options or ended:
    write(number, newline=False)
os._exit(next((int(each[5:]) for each in options if each.startswith("exit=")), 0))
"""


def namespace(name: str = NAMESPACE) -> dict[str, Any]:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def container(name: str, run: str, count: int, size: str, rate: float, *options: str) -> dict[str, Any]:
    """A container that writes `count` lines of `size` bytes, or of several sizes in turn, at `rate` a second.

    Options: stderr, stay (until it is ended), last-words (at SIGTERM), unended (no newline at the end), exit=CODE.
    """
    return {
        "name": name,
        "image": WORKER,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", _WRITER, run, str(count), size, str(rate), *options],
    }


def pod_template(
    labels: dict[str, str], *containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **spec: Any
) -> dict[str, Any]:
    """Metadata and spec of a pod."""
    return {
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": list(containers),
            **({"initContainers": list(init)} if init else {}),
            **spec,
        },
    }


def pod(name: str, template: dict[str, Any]) -> dict[str, Any]:
    """A pod without an owner."""
    metadata = {**template["metadata"], "name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def deployment(name: str, replicas: int, template: dict[str, Any]) -> dict[str, Any]:
    """A Deployment whose pods have the label `app` of its name."""
    template = {**template, "metadata": {"labels": {**template["metadata"]["labels"], "app": name}}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def job(name: str, template: dict[str, Any]) -> dict[str, Any]:
    """A Job that is deleted as soon as it has ended."""
    template["spec"]["restartPolicy"] = "Never"
    spec = {"ttlSecondsAfterFinished": 0, "backoffLimit": 0, "template": template}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }

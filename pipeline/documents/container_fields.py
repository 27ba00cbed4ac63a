"""What is constant for a container: from the pod metadata of a record to the fields of every document. Pure.

The metadata is that of `pipeline.contract.pod_metadata`.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline import __version__
from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.contract.annotations import PARSERS, STREAMS
from pipeline.contract.ecs import ECS_VERSION
from pipeline.errors import RecordError

OWNERS = {"deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob"}


@dataclass(frozen=True, slots=True)
class Container:
    """`constant`: fields that no log line may change; `service`: those that hold unless the line has its own.

    `route` is the index that its documents go to, empty for the common one (see `pipeline.config.routes`); `parser`
    names how its lines are read, `parsers` how those of one stream are, where it asks for that. What it writes to a
    stream of `excluded` is not indexed.
    """

    constant: dict[str, Any]
    service: dict[str, str]
    route: str = ""
    parser: str = "auto"
    parsers: dict[bytes, str] = field(default_factory=dict)
    excluded: frozenset[bytes] = frozenset()


def read(pod: bytes, settings: Settings) -> Container:
    """The container of a record. Raises RecordError when the metadata breaks the contract."""
    try:
        fields = orjson.loads(pod)
        labels = {str(name): str(value) for name, value in (fields.get("labels") or {}).items()}
        names = {name: str(fields[name]) for name in ("namespace", "pod", "container")}
        names |= {name: _text(fields, name) for name in ("uid", "node")}
    except (ValueError, KeyError, AttributeError, TypeError) as cause:
        raise RecordError(f"header pod: {cause!r}") from cause
    constant = {
        "agent.type": "crisp",
        "agent.version": __version__,
        "host.name": names["node"],
        "container.name": names["container"],
        "container.id": _text(fields, "container_id").rpartition("//")[2],
        "container.runtime": _text(fields, "container_id").partition("://")[0],
        **_image(_text(fields, "image")),
    }
    constant |= _of_pod(fields, names, labels, settings) if names["namespace"] else {"container.labels": labels}
    if "//" not in _text(fields, "container_id"):
        constant["container.runtime"] = ""
    return Container(
        constant={name: value for name, value in constant.items() if value not in ("", {}, [])},
        service=_service(labels, names, settings),
        route=_route(names["namespace"], settings),
        parser=_parser(fields, "parser") or settings.parser,
        parsers={stream.encode(): parser for stream in STREAMS if (parser := _parser(fields, f"parser_{stream}"))},
        excluded=frozenset(stream.encode() for stream in STREAMS if stream in (fields.get("excluded") or ())),
    )


def _of_pod(
    fields: dict[str, Any], names: dict[str, str], labels: dict[str, str], settings: Settings
) -> dict[str, Any]:
    """What only a container of a pod has."""
    return {
        "orchestrator.type": "kubernetes",
        "orchestrator.cluster.name": settings.cluster_name,
        "kubernetes.namespace": names["namespace"],
        "kubernetes.pod.name": names["pod"],
        "kubernetes.pod.uid": names["uid"],
        "kubernetes.container.name": names["container"],
        "kubernetes.container.image": _text(fields, "image"),
        "kubernetes.container.restart_count": _restart(fields),
        "kubernetes.node.name": names["node"],
        "kubernetes.labels": labels,
        "kubernetes.annotations": fields.get("annotations") or {},
        "crisp.metadata_missing": bool(fields.get("unlabelled")) or "",
        **_owner(fields.get("owner")),
    }


def _route(namespace: str, settings: Settings) -> str:
    infra = namespace in settings.infra_namespaces.split() and routes.INFRA in routes.read(settings.routes)
    return routes.INFRA if infra else ""


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _parser(fields: dict[str, Any], name: str) -> str:
    """A parser that is asked for; empty where it is none of ours, or none is asked for."""
    return found if (found := _text(fields, name)) in PARSERS else ""


def _restart(fields: dict[str, Any]) -> int | str:
    """The restarts before this instance; empty where nobody told."""
    restart = fields.get("restart", 0 if fields.get("source") == "api" else "")
    return restart if isinstance(restart, int) and 0 <= restart < 2**31 else ""


def _image(reference: str) -> dict[str, Any]:
    """Image name and tag apart: `reg:5000/a/b:1.2@sha256:…` is name reg:5000/a/b, tag 1.2."""
    plain, _, digest = reference.partition("@")
    name, colon, tag = plain.rpartition(":")
    if not colon or "/" in tag:
        name, tag = plain, ""
    fields: dict[str, Any] = {"container.image.name": name}
    if tag:
        fields["container.image.tag"] = [tag]
    if digest:
        fields["container.image.hash.all"] = [digest]
    return fields


def _owner(owner: Any) -> dict[str, str]:
    """The workload: `kubernetes.deployment.name` and its like."""
    if not isinstance(owner, dict) or str(owner.get("kind", "")).lower() not in OWNERS:
        return {}
    return {f"kubernetes.{str(owner['kind']).lower()}.name": str(owner.get("name", ""))}


def _service(labels: dict[str, str], names: dict[str, str], settings: Settings) -> dict[str, str]:
    chosen = [labels[name] for name in settings.service_labels.split() if labels.get(name)]
    service = {
        "ecs.version": ECS_VERSION,
        "service.name": chosen[0] if chosen else names["container"],
        "service.version": labels.get("version") or labels.get("app.kubernetes.io/version") or "",
        "service.environment": labels.get("environment") or settings.environment or names["namespace"],
    }
    return {name: value for name, value in service.items() if value}

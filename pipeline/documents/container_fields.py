"""Constant fields and options of a container, from the pod metadata of a record. Pure.

The format of the metadata is that of `pipeline.contract.pod_metadata`.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline import __version__
from pipeline.config import routes
from pipeline.config.settings import DocumentSettings
from pipeline.contract.annotations import PARSERS, STREAMS
from pipeline.contract.ecs import ECS_VERSION
from pipeline.contract.json_types import JsonObject
from pipeline.errors import RecordError

OWNER_KINDS = ("deployment", "statefulset", "daemonset", "cronjob", "job", "replicaset")


@dataclass(frozen=True, slots=True)
class ContainerFields:
    """`constant`: fields that no log line can change; `service_defaults`: fields that a line can override.

    `route` selects the index of its documents, empty for the common one (see `pipeline.config.routes`). `parser` is
    the parser of its lines, `stream_parsers` the parsers that the pod requests for single streams. Events of
    `excluded_streams` are not indexed.
    """

    constant: JsonObject
    service_defaults: dict[str, str]
    route: str = ""
    parser: str = "auto"
    stream_parsers: dict[bytes, str] = field(default_factory=dict)
    excluded_streams: frozenset[bytes] = frozenset()


def parse(pod: bytes, settings: DocumentSettings) -> ContainerFields:
    """Parse the header `pod` of a record. Raises RecordError for metadata that violates the contract."""
    try:
        fields = orjson.loads(pod)
        labels = {str(name): str(value) for name, value in (fields.get("labels") or {}).items()}
        names = {name: str(fields[name]) for name in ("namespace", "pod", "container")}
        names |= {name: _get_text(fields, name) for name in ("uid", "node")}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(f"header pod: {error!r}") from error
    constant = {
        "agent.type": "crisp",
        "agent.version": __version__,
        "host.name": names["node"],
        "container.name": names["container"],
        "container.id": _get_text(fields, "container_id").rpartition("//")[2],
        "container.runtime": _get_text(fields, "container_id").partition("://")[0],
        **_image_fields(_get_text(fields, "image")),
        "crisp.metadata_truncated": fields.get("truncated") is True or "",
    }
    constant |= _pod_fields(fields, names, labels, settings) if names["namespace"] else {"container.labels": labels}
    if "//" not in _get_text(fields, "container_id"):
        constant["container.runtime"] = ""
    return ContainerFields(
        constant={name: value for name, value in constant.items() if value not in ("", {}, [])},
        service_defaults=_service_fields(labels, names, settings),
        route=_select_route(names["namespace"], settings),
        parser=_get_parser(fields, "parser") or settings.parser,
        stream_parsers={
            stream.encode(): parser for stream in STREAMS if (parser := _get_parser(fields, f"parser_{stream}"))
        },
        excluded_streams=frozenset(stream.encode() for stream in STREAMS if stream in (fields.get("excluded") or ())),
    )


def workload_of(fields: JsonObject) -> str:
    """Return the workload that a document's fields name: namespace, with the owner, or else service or pod."""
    names = (fields.get(f"kubernetes.{kind}.name") for kind in OWNER_KINDS)
    name = next(filter(None, names), None) or fields.get("service.name") or fields.get("kubernetes.pod.name")
    return f"{fields.get('kubernetes.namespace', '')}/{name or 'unknown'}"


def _pod_fields(
    fields: JsonObject, names: dict[str, str], labels: dict[str, str], settings: DocumentSettings
) -> JsonObject:
    """Return the fields that only a container of a pod has."""
    return {
        "orchestrator.type": "kubernetes",
        "orchestrator.cluster.name": settings.cluster_name,
        "kubernetes.namespace": names["namespace"],
        "kubernetes.pod.name": names["pod"],
        "kubernetes.pod.uid": names["uid"],
        "kubernetes.container.name": names["container"],
        "kubernetes.container.image": _get_text(fields, "image"),
        "kubernetes.container.restart_count": _restart_count(fields),
        "kubernetes.node.name": names["node"],
        "kubernetes.labels": labels,
        "kubernetes.annotations": annotations if isinstance(annotations := fields.get("annotations"), dict) else {},
        "crisp.metadata_missing": bool(fields.get("unlabelled")) or "",
        **_owner_fields(fields.get("owner")),
    }


def _select_route(namespace: str, settings: DocumentSettings) -> str:
    infra = namespace in settings.infra_namespaces and routes.INFRA in settings.routes
    return routes.INFRA if infra else ""


def _get_text(fields: JsonObject, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _get_parser(fields: JsonObject, name: str) -> str:
    """Return the requested parser; empty if none is requested or it is not supported."""
    return parser if (parser := _get_text(fields, name)) in PARSERS else ""


def _restart_count(fields: JsonObject) -> int | str:
    """Return the restarts before this instance; empty if unknown."""
    restart = fields.get("restart", 0 if fields.get("source") == "api" else "")
    return restart if isinstance(restart, int) and 0 <= restart < 2**31 else ""


def _image_fields(reference: str) -> JsonObject:
    """Split an image reference: `reg:5000/a/b:1.2@sha256:…` is name reg:5000/a/b, tag 1.2."""
    plain, _, digest = reference.partition("@")
    name, colon, tag = plain.rpartition(":")
    if not colon or "/" in tag:
        name, tag = plain, ""
    fields: JsonObject = {"container.image.name": name}
    if tag:
        fields["container.image.tag"] = [tag]
    if digest:
        fields["container.image.hash.all"] = [digest]
    return fields


def _owner_fields(owner: Any) -> dict[str, str]:
    """Return the field of the workload, such as `kubernetes.deployment.name`."""
    if not isinstance(owner, dict) or str(owner.get("kind", "")).lower() not in OWNER_KINDS:
        return {}
    return {f"kubernetes.{str(owner['kind']).lower()}.name": str(owner.get("name", ""))}


def _service_fields(labels: dict[str, str], names: dict[str, str], settings: DocumentSettings) -> dict[str, str]:
    chosen = [labels[name] for name in settings.service_labels if labels.get(name)]
    service = {
        "ecs.version": ECS_VERSION,
        "service.name": chosen[0] if chosen else names["container"],
        "service.version": labels.get("version") or labels.get("app.kubernetes.io/version") or "",
        "service.environment": labels.get("environment") or settings.environment or names["namespace"],
    }
    return {name: value for name, value in service.items() if value}

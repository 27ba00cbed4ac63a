"""Every field that the pipeline sets in a document: its Elasticsearch type and its meaning.

Names and types are those of ECS 8.11 (https://www.elastic.co/guide/en/ecs/8.11), for `kubernetes.*` those of
Elastic's Kubernetes integration, for `log.offset` and `log.flags` Filebeat's; a row notes where ours differ.
Documents are flat: a name with dots is one field (`subobjects: false`). An application's value for one of these fields
is never indexed under another type; an application's other fields are mapped dynamically.
"""

from dataclasses import dataclass, replace

ECS_VERSION = "8.11.0"

APPLICATION_PREFIX = "app"
"""Prefix for an application's field whose name is reserved: `app.kubernetes.labels`."""

LABELS_PREFIX = "labels"
"""Prefix for labels that a setting turns into fields: ECS `labels.<dedotted key>`, keywords."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `type` is Elasticsearch's field type (before any replacement), `path` the target of an alias.

    A field without `index` cannot be searched. A search of a field with `doc_values_only` reads its doc values
    (columns), as it has no index: slower, and cheaper for every document.
    """

    type: str
    meaning: str
    index: bool = True
    path: str = ""
    doc_values_only: bool = False


def _keywords(rows: dict[str, str]) -> dict[str, Field]:
    return {name: Field("keyword", meaning) for name, meaning in rows.items()}


def _longs(rows: dict[str, str]) -> dict[str, Field]:
    return {name: Field("long", meaning) for name, meaning in rows.items()}


CORE: dict[str, Field] = {
    "@timestamp": Field(
        "date_nanos", "time at which the runtime read the line, or the application's timestamp (ECS: date)"
    ),
    "message": Field("match_only_text", "text of the event, verbatim except for what a format parses out of it"),
    "event.created": Field("date_nanos", "time at which the node read the event (ECS: date)"),
    "event.ingested": Field("date_nanos", "time at which the worker sent the document (ECS: date)"),
    "event.original": Field("keyword", "text of the line, if a filter of Fluent Bit replaced the message", index=False),
    "event.duration": Field("long", "duration of a request, in nanoseconds"),
    "event.sequence": Field("long", "sequence number from the source"),
    "event.severity": Field("long", "severity as a number on the source's scale"),
    **_keywords(
        {
            "ecs.version": "version of ECS that the document follows",
            "tags": "keywords that tag the event",
            "event.dataset": "dataset of the event, from the source",
            "event.module": "module that the event belongs to",
            "event.kind": "pipeline_error for documents of the pipeline itself; else absent",
            "event.category": "ECS category, if known",
            "event.type": "ECS sub-category, if known",
            "event.outcome": "success, failure or unknown",
            "event.action": "action that the event records",
            "event.id": "identifier of the event, from the source",
            "event.hash": "hash of the event, from the source",
            "event.code": "code of the event, from the source",
            "event.provider": "component of the source that wrote the event",
            "event.reason": "reason of the event, from the source",
            "event.timezone": "time zone of the source",
        }
    ),
}

LOG: dict[str, Field] = {
    "log.offset": Field("long", "byte offset of the event's first line in its file (not ECS; Filebeat's)"),
    "log.length": Field("long", "raw bytes of the event in its file (not ECS)"),
    "log.iotime": Field("date_nanos", "the runtime's time, if the application's timestamp replaced it (not ECS)"),
    "stream": Field("alias", "Filebeat's name of log.iostream", path="log.iostream"),
    "log.origin.file.line": Field("long", "line in the source file of the logging call"),
    **_keywords(
        {
            "log.level": "level, lower case",
            "log.logger": "name of the logger",
            "log.iostream": "stdout or stderr (OpenTelemetry's name)",
            "log.flags": "processing: partial, multiline, split, continued, late, future, gap … (as Filebeat)",
            "log.file.path": "path of the log file on the node",
            "log.origin.file.name": "source file of the logging call",
            "log.origin.function": "function of the logging call",
        }
    ),
}

ERROR: dict[str, Field] = {
    "error.message": Field("match_only_text", "message of the error"),
    "error.stack_trace": Field("wildcard", "stack trace, with its newlines"),
    **_keywords(
        {"error.type": "class of the error", "error.code": "code of the error", "error.id": "identifier of the error"}
    ),
}

SERVICE: dict[str, Field] = {
    **_keywords(
        {
            "service.name": "name of the service",
            "service.version": "version of the service",
            "service.environment": "production, staging …",
            "service.id": "identifier of the service",
            "service.type": "type of the service",
            "service.state": "state of the service",
            "service.address": "address of the service",
            "service.ephemeral_id": "identifier that changes on restart",
            "service.node.name": "name of the service's instance",
            "trace.id": "trace (OpenTelemetry: 32 hex digits)",
            "span.id": "span (16 hex digits)",
            "transaction.id": "transaction",
            "process.name": "name of the process",
            "process.executable": "path of the executable",
            "process.thread.name": "name of the thread",
            "user.name": "user that the event is about",
            "user.id": "identifier of the user",
        }
    ),
    **_longs({"process.pid": "process that logged", "process.thread.id": "thread that logged"}),
    "process.command_line": Field("wildcard", "command line of the process"),
}

REQUEST: dict[str, Field] = {
    **_keywords(
        {
            "http.request.method": "method of the request",
            "http.request.id": "identifier of the request",
            "http.request.mime_type": "type of the request's body",
            "http.request.referrer": "page that the request came from",
            "http.response.mime_type": "type of the response's body",
            "http.version": "version of HTTP",
            "url.domain": "host name of the URL",
            "url.scheme": "scheme of the URL",
            "url.query": "query of the URL, without the question mark",
            "url.fragment": "fragment of the URL",
            "client.address": "client address as logged",
            "client.domain": "host name of the client",
            "source.address": "source address as logged",
            "source.domain": "host name of the source",
            "user_agent.original": "user agent, unparsed",
            "user_agent.name": "name of the user agent",
            "user_agent.version": "version of the user agent",
        }
    ),
    **_longs(
        {
            "http.request.bytes": "size of the request",
            "http.request.body.bytes": "size of the request's body",
            "http.response.status_code": "status of the response",
            "http.response.bytes": "size of the response",
            "http.response.body.bytes": "size of the response's body",
            "url.port": "port of the URL",
            "client.port": "port of the client",
            "source.port": "port of the source",
            "destination.bytes": "bytes sent from the destination to the source",
        }
    ),
    "url.original": Field("wildcard", "URL as logged"),
    "url.full": Field("wildcard", "full URL"),
    "url.path": Field("wildcard", "path of the URL"),
    "client.ip": Field("ip", "address of the client"),
    "source.ip": Field("ip", "address of the source"),
}

DNS: dict[str, Field] = _keywords(
    {
        "dns.id": "identifier of the query",
        "dns.question.name": "queried name",
        "dns.question.type": "queried record type",
        "dns.question.class": "queried record class",
        "dns.response_code": "response code",
        "dns.header_flags": "header flags of the response",
        "network.transport": "udp or tcp",
    }
)

INFRASTRUCTURE: dict[str, Field] = {
    "host.ip": Field("ip", "addresses of the node"),
    **_keywords(
        {
            "host.name": "node that the container ran on",
            "host.hostname": "host name of the node",
            "host.id": "identifier of the node",
            "host.architecture": "processor architecture of the node",
            "host.os.family": "family of the node's operating system",
            "container.id": "identifier of the container, without the runtime's scheme",
            "container.name": "name of the container",
            "container.image.name": "image without its tag",
            "container.image.tag": "tags of the image",
            "container.image.hash.all": "digests of the image",
            "container.runtime": "containerd, cri-o, docker",
            "orchestrator.type": "kubernetes",
            "orchestrator.cluster.name": "name of the cluster",
            "orchestrator.cluster.id": "identifier of the cluster",
            "orchestrator.cluster.url": "address of the cluster's API",
            "orchestrator.cluster.version": "version of the cluster",
            "orchestrator.namespace": "namespace",
            "orchestrator.organization": "organisation that the cluster belongs to",
            "orchestrator.api_version": "API version of the resource",
            "orchestrator.resource.name": "name of the resource that logged",
            "orchestrator.resource.type": "pod",
            "orchestrator.resource.id": "uid of the pod",
            "orchestrator.resource.parent.type": "kind of the owning workload",
            "cloud.provider": "provider of the node",
            "cloud.region": "region of the node",
            "cloud.availability_zone": "zone of the node",
            "cloud.account.id": "account of the node",
            "cloud.instance.id": "identifier of the node's machine",
            "cloud.instance.name": "name of the node's machine",
            "cloud.machine.type": "type of the node's machine",
            "cloud.project.id": "project of the node",
            "agent.type": "crisp",
            "agent.name": "name of the shipper: its node",
            "agent.version": "version of the shipper",
            "agent.id": "identifier of the shipper",
            "agent.ephemeral_id": "identifier that changes when the shipper restarts",
        }
    ),
}

KUBERNETES: dict[str, Field] = {
    "container.labels": Field("flattened", "labels of a container without a pod"),
    "kubernetes.labels": Field("flattened", "every label of the pod, unchanged (Elastic: dedotted keywords)"),
    "kubernetes.annotations": Field("flattened", "selected annotations of the pod"),
    "kubernetes.namespace_labels": Field("flattened", "labels of the namespace"),
    "kubernetes.namespace_annotations": Field("flattened", "annotations of the namespace"),
    "kubernetes.node.labels": Field("flattened", "labels of the node"),
    "kubernetes.node.annotations": Field("flattened", "annotations of the node"),
    "kubernetes.selectors": Field("flattened", "selectors of the workload"),
    "kubernetes.pod.ip": Field("ip", "address of the pod"),
    "kubernetes.container.restart_count": Field("long", "restarts before this instance (not Elastic's)"),
    **_keywords(
        {
            "kubernetes.namespace": "namespace",
            "kubernetes.namespace_uid": "uid of the namespace",
            "kubernetes.pod.name": "name of the pod",
            "kubernetes.pod.uid": "uid of the pod",
            "kubernetes.node.name": "name of the node",
            "kubernetes.node.uid": "uid of the node",
            "kubernetes.node.hostname": "host name of the node",
            "kubernetes.container.name": "name of the container",
            "kubernetes.container.image": "image as in the pod's specification",
            "kubernetes.deployment.name": "owning deployment",
            "kubernetes.replicaset.name": "owning replica set",
            "kubernetes.statefulset.name": "owning stateful set",
            "kubernetes.daemonset.name": "owning daemon set",
            "kubernetes.job.name": "owning job",
            "kubernetes.cronjob.name": "owning cron job",
        }
    ),
}

CRISP: dict[str, Field] = {
    "app.overflow": Field("text", "an application's fields beyond the field limit, as JSON"),
    "crisp.gap.bytes": Field("long", "lost bytes of a log; absent: unknown"),
    "crisp.gap.records": Field("long", "records that expired by Kafka's retention before they were indexed"),
    "crisp.gap.reason": Field("keyword", "reason of the loss"),
    "crisp.gap.since": Field("date_nanos", "time of the last line before the gap"),
    "crisp.gap.until": Field("date_nanos", "time of the first line after the gap"),
    "crisp.rejected.type": Field("keyword", "Elasticsearch's error type for the rejected document"),
    "crisp.rejected.reason": Field("text", "Elasticsearch's error reason"),
    "crisp.flattened": Field("flattened", "the application's fields of a fallback document"),
    "crisp.raw_json": Field("text", "the same as JSON, if that document was rejected too", index=False),
    "crisp.topic": Field("keyword", "topic of the raw record"),
    "crisp.partition": Field("long", "partition of the raw record"),
    "crisp.offset": Field("long", "offset of the raw record"),
    "crisp.part": Field("long", "number of this part of a split event, from 1"),
    "crisp.rules": Field("keyword", "identifier of the active rules; changes with them"),
    "crisp.sample": Field("double", "sampling rate of a rule: at 0.05 each document represents 20 events"),
    "crisp.metadata_missing": Field("boolean", "true: the pod's metadata was not received in time"),
    "crisp.metadata_truncated": Field("boolean", "true: labels, annotations or names are cut to their maximum size"),
    "crisp.suppressed": Field("long", "number of suppressed repetitions of this log message of crisp"),
}

_DOC_VALUES_ONLY = """
    event.sequence event.severity event.hash ecs.version
    log.iotime log.offset log.length log.origin.file.line
    process.pid process.thread.id
    http.request.bytes http.request.body.bytes http.response.bytes http.response.body.bytes
    url.port client.port source.port destination.bytes
    agent.type agent.version orchestrator.type
    container.runtime container.image.tag container.image.hash.all
    kubernetes.container.image kubernetes.container.restart_count
    crisp.part crisp.suppressed crisp.partition crisp.offset crisp.sample
"""
# Positions, sizes and numbers, whose index (a BKD tree) is sorted at each flush and merge; and what nearly all
# documents have in common, which an index does not find faster. The times that crisp searches have an index.

_ROWS: dict[str, Field] = {
    **CORE,
    **LOG,
    **ERROR,
    **SERVICE,
    **REQUEST,
    **DNS,
    **INFRASTRUCTURE,
    **KUBERNETES,
    **CRISP,
}

FIELDS: dict[str, Field] = {
    **_ROWS,
    **{name: replace(_ROWS[name], doc_values_only=True) for name in _DOC_VALUES_ONLY.split()},
}
"""Every field by its full name."""

FLATTENED: frozenset[str] = frozenset(name for name, field in FIELDS.items() if field.type == "flattened")
"""Names that hold a whole object; a field mapped below one would hide the object's key of that name."""

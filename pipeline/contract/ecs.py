"""Every field that the pipeline sets in a document: its Elasticsearch type and what it means.

Names and types are those of ECS 8.11 (https://www.elastic.co/guide/en/ecs/8.11), for `kubernetes.*` those that
Elastic's Kubernetes integration writes, for `log.offset` and `log.flags` Filebeat's; a row says where ours differ.
Documents are flat: a name with dots is one field (`subobjects: false`). What stands here is never taken from an
application under another type; what an application brings beside is mapped dynamically.
"""

from dataclasses import dataclass

ECS_VERSION = "8.11.0"

APPLICATION_PREFIX = "app"
"""Prefix under which an application's field goes whose own name is reserved: `app.kubernetes.labels`."""

LABELS_PREFIX = "labels"
"""Prefix of labels that a setting makes fields of their own: ECS `labels.<dedotted key>`, keywords."""


@dataclass(frozen=True, slots=True)
class Field:
    """One row: `type` is Elasticsearch's name of the mapper (before any replacement), `path` an alias' target."""

    type: str
    meaning: str
    index: bool = True
    path: str = ""


def _keywords(rows: dict[str, str]) -> dict[str, Field]:
    return {name: Field("keyword", meaning) for name, meaning in rows.items()}


def _longs(rows: dict[str, str]) -> dict[str, Field]:
    return {name: Field("long", meaning) for name, meaning in rows.items()}


CORE: dict[str, Field] = {
    "@timestamp": Field("date_nanos", "when the runtime took the line, or the application's own time (ECS: date)"),
    "message": Field("match_only_text", "the text of the event, verbatim but for what a format takes out of it"),
    "event.created": Field("date_nanos", "when the node read the event (ECS: date)"),
    "event.ingested": Field("date_nanos", "when the worker sent the document (ECS: date)"),
    "event.original": Field("keyword", "the raw event, where its keeping was asked for", index=False),
    "event.duration": Field("long", "nanoseconds that a request took"),
    "event.sequence": Field("long", "number that the source gave the event"),
    "event.severity": Field("long", "severity as a number of the source's own scale"),
    **_keywords(
        {
            "ecs.version": "version of ECS that the document follows",
            "tags": "keywords that tag the event",
            "event.dataset": "which kind of log this is, by workload",
            "event.module": "the module that the event belongs to",
            "event.kind": "event, or pipeline_error where the pipeline itself speaks",
            "event.category": "ECS category, where known",
            "event.type": "ECS sub-category, where known",
            "event.outcome": "success, failure or unknown",
            "event.action": "what was done",
            "event.id": "the source's identifier of the event",
            "event.hash": "the source's hash of the event",
            "event.code": "the source's code of the event",
            "event.provider": "what in the source wrote the event",
            "event.reason": "why, as the source says",
            "event.timezone": "time zone of the source",
        }
    ),
}

LOG: dict[str, Field] = {
    "log.offset": Field("long", "where the event's first line begins in its file, in bytes (not ECS; Filebeat's)"),
    "log.length": Field("long", "raw bytes of the event in its file (not ECS)"),
    "log.iotime": Field("date_nanos", "the runtime's time where the application's own replaced it (not ECS)"),
    "stream": Field("alias", "Filebeat's name of log.iostream", path="log.iostream"),
    "log.origin.file.line": Field("long", "line of the source file that logged"),
    **_keywords(
        {
            "log.level": "level, lower case",
            "log.logger": "name of the logger",
            "log.iostream": "stdout or stderr (OpenTelemetry's name)",
            "log.flags": "what befell the event: partial, multiline, split, continued, late, gap … (Filebeat's name)",
            "log.file.path": "path of the log file on the node",
            "log.origin.file.name": "source file that logged",
            "log.origin.function": "function that logged",
        }
    ),
}

ERROR: dict[str, Field] = {
    "error.message": Field("match_only_text", "what an error says"),
    "error.stack_trace": Field("wildcard", "stack trace, with its newlines"),
    **_keywords({"error.type": "class of the error", "error.code": "code of the error", "error.id": "its identifier"}),
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
            "service.ephemeral_id": "identifier that a restart changes",
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
            "client.address": "the client as the source wrote it",
            "client.domain": "host name of the client",
            "source.address": "the source as it was written",
            "source.domain": "host name of the source",
            "user_agent.original": "user agent as it came",
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
        }
    ),
    "url.original": Field("wildcard", "URL as it came"),
    "url.full": Field("wildcard", "URL in full"),
    "url.path": Field("wildcard", "path of the URL"),
    "client.ip": Field("ip", "address of the client"),
    "source.ip": Field("ip", "address of the source"),
}

DNS: dict[str, Field] = _keywords(
    {
        "dns.id": "identifier of the question",
        "dns.question.name": "name asked for",
        "dns.question.type": "type of record asked for",
        "dns.question.class": "class of record asked for",
        "dns.response_code": "how it was answered",
        "dns.header_flags": "flags of the answer",
        "network.transport": "udp or tcp",
    }
)

INFRASTRUCTURE: dict[str, Field] = {
    "host.ip": Field("ip", "addresses of the node"),
    **_keywords(
        {
            "host.name": "node that the container ran on",
            "host.hostname": "the node's own host name",
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
            "orchestrator.api_version": "version of the API of the resource",
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
            "agent.ephemeral_id": "identifier that a restart of the shipper changes",
        }
    ),
}

KUBERNETES: dict[str, Field] = {
    "container.labels": Field("flattened", "labels of a container that belongs to no pod"),
    "kubernetes.labels": Field("flattened", "every label of the pod as it is (Elastic: dedotted keywords)"),
    "kubernetes.annotations": Field("flattened", "chosen annotations of the pod"),
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
            "kubernetes.container.image": "image as the pod names it",
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
    "app.overflow": Field("text", "fields of an application over the limit of fields, as JSON"),
    "crisp.gap.bytes": Field("long", "bytes of a log that vanished unread; absent: unknown"),
    "crisp.gap.records": Field("long", "records that Kafka's retention took before they were indexed"),
    "crisp.gap.reason": Field("keyword", "why they vanished"),
    "crisp.gap.since": Field("date_nanos", "time of the last line before the gap"),
    "crisp.gap.until": Field("date_nanos", "time of the first line after the gap"),
    "crisp.rejected.type": Field("keyword", "Elasticsearch's name of the fault for which it refused the document"),
    "crisp.rejected.reason": Field("text", "what it said"),
    "crisp.flattened": Field("flattened", "the application's fields of a document in its safe form"),
    "crisp.raw_json": Field("text", "the same as JSON, where even that was refused", index=False),
    "crisp.topic": Field("keyword", "topic of the raw record"),
    "crisp.partition": Field("long", "partition of the raw record"),
    "crisp.offset": Field("long", "offset of the raw record"),
    "crisp.part": Field("long", "which part of an event that was too long, from 1"),
    "crisp.rules": Field("keyword", "which rules were in force: changes when they do"),
    "crisp.sample": Field("double", "the part of such events that a rule keeps: 0.05 stands for twenty of them"),
    "crisp.metadata_missing": Field("boolean", "true: the pod's labels did not come in time"),
    "crisp.suppressed": Field("long", "repetitions of this message that crisp kept back"),
}

FIELDS: dict[str, Field] = {
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
"""Every field by its full name."""

FLATTENED: frozenset[str] = frozenset(name for name, field in FIELDS.items() if field.type == "flattened")
"""Names that take a whole object; nothing may be mapped under one, it would hide what the object holds."""

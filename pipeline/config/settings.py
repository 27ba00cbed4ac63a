"""Every setting of shipper and worker: one table, by parts. `environment` reads it.

A field is one row: name, type, default, meaning, secret or not. The variable is `CRISP_` and the field's name in
capitals, except `ES_USER`, `ES_PASSWORD` and `ES_PASSWORD_FILE`, whose names are customary. Sizes are in bytes,
durations in seconds, unless they are written with a unit (`units`).

`Settings` is every part at once: a function names the part that it needs, and its caller passes all of them.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.contract.record import Grouping

SECRET_KINDS = ("private-key", "bearer", "jwt", "basic-auth", "aws", "card", "email")
"""Kinds of secrets that `pipeline.rules.redaction.secret_kinds` detects."""

PREFIX = "CRISP_"
UNPREFIXED_NAMES = {"es_user": "ES_USER", "es_password": "ES_PASSWORD", "es_password_file": "ES_PASSWORD_FILE"}

KIB = 1024
MIB = 1024 * KIB


def env_name(name: str) -> str:
    """Return the environment variable of a setting: `CRISP_SLICE_MAX_BYTES` for `slice_max_bytes`."""
    return UNPREFIXED_NAMES.get(name, PREFIX + name.upper())


def strip_credentials(url: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"//[^/@,]*@", "//", url)


def _setting(
    default: Any,
    meaning: str,
    *,
    secret: bool = False,
    choices: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    separator: str = " ",
) -> Any:
    metadata = {
        "meaning": meaning,
        "secret": secret,
        "choices": choices.split(),
        "minimum": minimum,
        "maximum": maximum,
        "separator": separator,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata, hash=False)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def _list(default: str, meaning: str, *, separator: str = " ") -> Any:
    """A list; `separator` is the one that is shown, both commas and blanks are accepted."""
    return _setting(tuple(default.split()), meaning, separator=separator)


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """Kafka: brokers, topics, sizes of records."""

    kafka_brokers: tuple[str, ...] = _list(
        "127.0.0.1:9092", "bootstrap servers, host:port, comma-separated", separator=","
    )
    kafka_tls: bool = _setting(default=False, meaning="use TLS for connections to the brokers")
    kafka_ca_file: str = _setting("", "trusted CA certificates, PEM; empty: the system's")
    kafka_cert_file: str = _setting("", "client certificate, PEM")
    kafka_key_file: str = _setting("", "private key of the client certificate, PEM")
    kafka_sasl: str = _setting("none", "SASL mechanism", choices="none PLAIN SCRAM-SHA-256 SCRAM-SHA-512")
    kafka_user: str = _setting("", "SASL user")
    kafka_password: str = _setting("", "SASL password", secret=True)
    kafka_password_file: str = _setting(
        "", "file with the SASL password, instead of the password; reloaded when it changes"
    )
    kafka_group: str = _setting("crisp-worker", "consumer group of the workers")
    topic_raw: str = _setting("logs-raw", "topic of the raw slices")
    topic_dead: str = _setting("logs-dead", "topic of the dead letters")
    topic_partitions: int = _setting(12, "number of partitions of the raw topic, when setup creates it", minimum=1)
    topic_replication: int = _setting(1, "replication factor of the topics that setup creates", minimum=1)
    topic_retention_seconds: float = _setting(3 * 86400.0, "retention of the raw topic", minimum=60)
    topic_retention_bytes: int = _setting(
        0, "retention of each partition of the raw topic by size, in addition to that by time; 0: none", minimum=0
    )
    event_max_bytes: int = _setting(
        MIB, "maximum size of an event; a larger one is split and flagged", minimum=64 * KIB
    )
    slice_max_bytes: int = _setting(256 * KIB, "maximum size of a slice of more than one event", minimum=16 * KIB)

    @property
    def kafka_address(self) -> str:
        """The brokers, for messages."""
        return ",".join(self.kafka_brokers)

    @property
    def record_max_bytes(self) -> int:
        """The maximum size of a raw record: an event, the CRI envelopes of many short partials, and headers."""
        return 2 * self.event_max_bytes + 64 * KIB

    @property
    def dead_letter_max_bytes(self) -> int:
        """The maximum size of an uncompressed dead letter: a byte of an event can take six in JSON, plus fields."""
        return 6 * self.event_max_bytes + self.record_max_bytes

    @property
    def dead_letter_topic_max_bytes(self) -> int:
        """The maximum size of a record of the dead-letter topic, after compression."""
        return 2 * self.record_max_bytes

    @property
    def buffer_max_bytes(self) -> int:
        """The maximum bytes of a container that may be read before any of them can be sent.

        On each stream a trace and a line may be open, each of the maximum size of an event; and one slice is complete.
        """
        return 4 * self.event_max_bytes + self.slice_max_bytes


@dataclass(frozen=True, kw_only=True)
class StatusSettings:
    """Status pages and metrics."""

    status_urls: tuple[str, ...] = _list(
        "",
        "status pages that `crisp status` queries, http://HOST:PORT, blank-separated; of a host name, every address",
    )
    log_level: str = _setting(
        "info", "least level of the log of shipper and worker", choices="debug info warning error"
    )
    status_host: str = _setting("::", "listen address of status and metrics; ::: every one, IPv6 and IPv4")


@dataclass(frozen=True, kw_only=True)
class ShipperSettings(KafkaSettings):
    """The shipper; it produces to Kafka."""

    logs_dir: str = _setting("/var/log/pods", "directory of the container logs, in the kubelet's layout")
    plain_dirs: tuple[str, ...] = _list(
        "", "directories whose `<name>.log` files are read as containers without a pod, blank-separated"
    )
    docker_dir: str = _setting(
        "", "docker's directory of containers with their json-file logs; symbolic links to it are allowed"
    )
    discovery: str = _setting(
        "both", "how new files are discovered: directory events, polling, or both", choices="both events poll"
    )
    deleted_max_bytes: int = _setting(
        2048 * MIB,
        "disk space that deleted log files may hold until they are read; beyond it the largest backlog is abandoned",
        minimum=0,
    )
    state_dir: str = _setting("/var/lib/crisp", "directory of the shipper's checkpoint")
    node_name: str = _setting("", "name of this node; empty: the host name")
    compression: str = _setting("zstd", "compression of the raw topic", choices="none gzip lz4 zstd")
    linger_seconds: float = _setting(0.2, "maximum time that a line waits for more lines of its container", minimum=0)
    poll_seconds: float = _setting(0.2, "interval of polling open files for new data", minimum=0.01)
    scan_seconds: float = _setting(0.75, "interval of scanning the directories for new files", minimum=0.05)
    bundles: bool = _setting(
        default=True, meaning="send small slices of several containers as one record; a worker must know bundles"
    )
    inflight_max_bytes: int = _setting(4 * MIB, "maximum bytes sent to Kafka and not yet acknowledged", minimum=2 * MIB)
    checkpoint_seconds: float = _setting(1.0, "interval of writing the checkpoint", minimum=0.05)
    trace_gap_seconds: float = _setting(1.0, "a line after a longer gap never continues a stack trace", minimum=0.05)
    partial_gap_seconds: float = _setting(60.0, "a line after a longer gap never continues a partial line", minimum=1)
    multiline: str = _setting("traces", "how lines are joined into events", choices="traces off")
    multiline_pattern: str = _setting(
        "", "instead: pattern (RE2) of lines that begin an event; other lines continue it"
    )
    kubernetes: str = _setting(
        "auto", "get pod metadata from the Kubernetes API; auto: in a pod, or with a kubeconfig", choices="auto on off"
    )
    kubeconfig: str = _setting("", "kubeconfig file for the Kubernetes API, outside a pod")
    metadata_wait_seconds: float = _setting(
        10.0, "maximum time that a new file waits for its pod's metadata", minimum=0
    )
    annotations: tuple[str, ...] = _list("", "pod annotations to add to documents, blank-separated")
    annotation_prefix: str = _setting("logs.crisp", "prefix of the pod annotations that set options of the shipper")
    pods_may_exclude: bool = _setting(default=True, meaning="pods may exclude their logs, or a stream, by annotation")
    exclude_namespaces: tuple[str, ...] = _list("", "excluded namespaces, blank-separated")
    exclude_pods: tuple[str, ...] = _list("", "excluded pods: namespace/name, `*` matches any text, blank-separated")
    ship_port: int = _setting(0, "port of the shipper's status and metrics; 0: none", minimum=0, maximum=65535)
    ship_grace_seconds: float = _setting(10.0, "after SIGTERM, maximum wait for Kafka's acknowledgements", minimum=0)

    @property
    def grouping(self) -> Grouping:
        """How lines are joined into events, by default."""
        gaps = (round(self.trace_gap_seconds * 1e9), round(self.partial_gap_seconds * 1e9))
        pattern = self.multiline_pattern
        mode = "pattern" if pattern else self.multiline
        return Grouping(mode, *gaps, self.event_max_bytes, pattern=pattern)


@dataclass(frozen=True, kw_only=True)
class ElasticsearchSettings:
    """Elasticsearch: connection and requests."""

    es_urls: tuple[str, ...] = _list("http://127.0.0.1:9200", "Elasticsearch nodes, comma-separated", separator=",")
    es_user: str = _setting("", "user for basic authentication")
    es_password: str = _setting("", "password for basic authentication", secret=True)
    es_password_file: str = _setting("", "file with the password, instead of the password; reloaded when it changes")
    es_api_key: str = _setting("", "API key (encoded), instead of user and password", secret=True)
    es_api_key_file: str = _setting("", "file with the API key, instead of the key; reloaded when it changes")
    es_ca_file: str = _setting("", "trusted CA certificate, PEM; empty: the system's")
    es_ca_fingerprint: str = _setting("", "SHA-256 fingerprint of the trusted CA, instead of a file")
    es_verify: bool = _setting(default=True, meaning="verify Elasticsearch's certificate")
    es_timeout_seconds: float = _setting(60.0, "timeout of one request", minimum=1)
    bulk_max_bytes: int = _setting(4 * MIB, "maximum size of a bulk request's body", minimum=64 * KIB)
    bulk_linger_seconds: float = _setting(
        0.2, "maximum time that a document waits for its bulk request to fill", minimum=0
    )
    bulk_concurrency: int = _setting(4, "maximum bulk requests in flight; fewer while Elasticsearch is slow", minimum=1)
    retry_max_seconds: float = _setting(2.0, "maximum pause between two attempts", minimum=0.1)

    @property
    def es_address(self) -> str:
        """The nodes, for messages."""
        return ",".join(strip_credentials(url) for url in self.es_urls)


@dataclass(frozen=True, kw_only=True)
class KibanaSettings(ElasticsearchSettings):
    """Kibana; its users are Elasticsearch's."""

    kibana_url: str = _setting("", "Kibana into which setup imports data view, searches and dashboard; empty: none")
    kibana_space: str = _setting("", "Kibana space of the imported objects; empty: the default space")
    kibana_ca_file: str = _setting("", "trusted CA certificate for Kibana, PEM; empty: the one for Elasticsearch")


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """Indices: names, retention, templates."""

    index_prefix: str = _setting("logs", "first part of every index name: logs-2026.11.24, logs-late")
    index_shards: int = _setting(1, "primary shards of an index", minimum=1)
    index_field_limit: int = _setting(
        2000, "maximum number of fields in an index; further ones are kept but not searchable", minimum=500
    )
    index_mode: str = _setting(
        "standard", "how an index stores documents; logsdb: smaller, needs 8.17", choices="standard logsdb"
    )
    index_settings: str = _setting(
        "", 'more index settings, as JSON: {"index.refresh_interval": "5s"}; null removes a default of crisp\'s'
    )
    retention_days: int = _setting(
        14, "retention of the daily indices; older lines are indexed in logs-late", minimum=1
    )
    routes: Mapping[str, int] = _setting(
        {"infra": 7}, "separate indices with their own retention: route=days, blank-separated"
    )
    infra_namespaces: tuple[str, ...] = _list(
        "kube-system kube-node-lease kube-public", "namespaces that are indexed by the route infra, blank-separated"
    )


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(KafkaSettings):
    """The worker; it consumes from Kafka."""

    worker_memory_budget_bytes: int = _setting(
        64 * MIB, "memory of one worker for slices in flight and their documents", minimum=2 * MIB
    )
    kafka_session_timeout_seconds: float = _setting(
        10.0, "without a heartbeat for this time, a worker's partitions are reassigned", minimum=1
    )
    lag_poll_seconds: float = _setting(5.0, "interval of polling the consumer group's lag", minimum=0.1)
    search_probe_seconds: float = _setting(
        10.0, "interval of searching for a sample document, to measure search latency; 0: never", minimum=0
    )
    worker_port: int = _setting(0, "port of the worker's status and metrics; 0: none", minimum=0, maximum=65535)
    worker_grace_seconds: float = _setting(20.0, "after SIGTERM, maximum wait for bulk requests in flight", minimum=0)


@dataclass(frozen=True, kw_only=True)
class DocumentSettings(IndexSettings):
    """Documents; each belongs to an index."""

    cluster_name: str = _setting("", "orchestrator.cluster.name of every document; empty: omitted")
    environment: str = _setting("", "service.environment if neither log nor label has it; empty: the namespace")
    redact: tuple[str, ...] = _list(
        "", f"kinds of secrets to redact in every field, blank-separated: {' '.join(SECRET_KINDS)}; empty: none"
    )
    application_time_window_seconds: float = _setting(
        86400.0, "an application's timestamp is used if it is within this distance of the runtime's", minimum=0
    )
    parser: str = _setting(
        "auto",
        "default parser of lines, unless an annotation sets it: JSON bodies and all text formats, either, one, or none",
        choices="auto json text access klog logfmt none",
    )
    ansi: str = _setting(
        "keep", "ANSI colour codes in messages (levels are always parsed without them)", choices="keep strip"
    )
    field_limit: int = _setting(200, "maximum number of an application's fields in a document", minimum=10)
    health_paths: tuple[str, ...] = _list(
        "/health /healthz /health/live /health/ready /healthz/live /healthz/ready /live /livez /ready /readyz /ping",
        "request paths of health probes, blank-separated: such lines with a 2xx response are dropped and counted",
    )
    service_labels: tuple[str, ...] = _list(
        "app app.kubernetes.io/name k8s-app com.docker.compose.service",
        "labels with the service's name, in order of precedence, blank-separated",
    )


@dataclass(frozen=True, kw_only=True)
class RulesSettings(DocumentSettings):
    """The rules file; its rules are about documents."""

    rules_file: str = _setting("", "rules file (YAML), reloaded when it changes; empty: none")
    rules_python_dir: str = _setting("", "directory of the Python modules that rules may use; empty: none")
    rules_poll_seconds: float = _setting(5.0, "interval of polling the rules file for changes", minimum=0.1)


@dataclass(frozen=True, kw_only=True)
class Settings(
    # Reversed: a dataclass has the fields of its last base first, and the table begins with Kafka.
    RulesSettings,
    DocumentSettings,
    WorkerSettings,
    IndexSettings,
    KibanaSettings,
    ElasticsearchSettings,
    ShipperSettings,
    StatusSettings,
    KafkaSettings,
):
    """The effective settings."""

    config_file: str = _setting(
        "", "file of settings with lines `KEY=value`; a variable of the environment has precedence; empty: none"
    )

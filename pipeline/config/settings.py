"""Every setting of shipper and worker: one table, read from the environment.

A field of `Settings` is one row: name, type, default, meaning, secret or not. The variable is `CRISP_` and the field's
name in capitals, except `ES_USER`, `ES_PASSWORD` and `ES_PASSWORD_FILE`, whose names are customary. Unknown and invalid
variables prevent the start; all problems are reported at once.
"""

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import routes
from pipeline.contract.record import Grouping
from pipeline.errors import SettingsError
from pipeline.grouping import start_pattern

SECRET_KINDS = ("private-key", "bearer", "jwt", "basic-auth", "aws", "card", "email")
"""Kinds of secrets that `pipeline.rules.redaction` detects."""

PREFIX = "CRISP_"
UNPREFIXED_NAMES = {"es_user": "ES_USER", "es_password": "ES_PASSWORD", "es_password_file": "ES_PASSWORD_FILE"}

KIB = 1024
MIB = 1024 * KIB


def _setting(
    default: Any, meaning: str, *, secret: bool = False, choices: str = "", minimum: float | None = None
) -> Any:
    metadata = {"meaning": meaning, "secret": secret, "choices": choices.split(), "minimum": minimum}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings; sizes in bytes, durations in seconds."""

    # Kafka, for shipper and worker
    kafka_brokers: str = _setting("127.0.0.1:9092", "bootstrap servers, host:port, comma-separated")
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
    event_max_bytes: int = _setting(
        MIB, "maximum size of an event; a larger one is split and flagged", minimum=64 * KIB
    )
    slice_max_bytes: int = _setting(256 * KIB, "maximum size of a slice of more than one event", minimum=16 * KIB)

    status_urls: str = _setting(
        "",
        "status pages that `crisp status` queries, http://HOST:PORT, blank-separated; of a host name, every address",
    )
    status_host: str = _setting("0.0.0.0", "listen address of status and metrics")  # noqa: S104 - for the kubelet

    # the shipper
    logs_dir: str = _setting("/var/log/pods", "directory of the container logs, in the kubelet's layout")
    plain_dirs: str = _setting(
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
    annotations: str = _setting("", "pod annotations to add to documents, blank-separated")
    annotation_prefix: str = _setting("logs.crisp", "prefix of the pod annotations that set options of the shipper")
    pods_may_exclude: bool = _setting(default=True, meaning="pods may exclude their logs, or a stream, by annotation")
    exclude_namespaces: str = _setting("", "excluded namespaces, blank-separated")
    exclude_pods: str = _setting("", "excluded pods: namespace/name, `*` matches any text, blank-separated")
    ship_port: int = _setting(0, "port of the shipper's status and metrics; 0: none", minimum=0)
    ship_grace_seconds: float = _setting(10.0, "after SIGTERM, maximum wait for Kafka's acknowledgements", minimum=0)

    # Elasticsearch
    es_urls: str = _setting("http://127.0.0.1:9200", "Elasticsearch nodes, comma-separated")
    es_user: str = _setting("", "user for basic authentication")
    es_password: str = _setting("", "password for basic authentication", secret=True)
    es_password_file: str = _setting("", "file with the password, instead of the password; reloaded when it changes")
    es_api_key: str = _setting("", "API key (encoded), instead of user and password", secret=True)
    es_api_key_file: str = _setting("", "file with the API key, instead of the key; reloaded when it changes")
    es_ca_file: str = _setting("", "trusted CA certificate, PEM; empty: the system's")
    es_ca_fingerprint: str = _setting("", "SHA-256 fingerprint of the trusted CA, instead of a file")
    es_verify: bool = _setting(default=True, meaning="verify Elasticsearch's certificate")
    kibana_url: str = _setting("", "Kibana into which setup imports data view, searches and dashboard; empty: none")
    kibana_space: str = _setting("", "Kibana space of the imported objects; empty: the default space")
    kibana_ca_file: str = _setting("", "trusted CA certificate for Kibana, PEM; empty: the one for Elasticsearch")
    index_prefix: str = _setting("logs", "first part of every index name: logs-2026.11.24, logs-late")
    index_shards: int = _setting(1, "primary shards of an index", minimum=1)
    index_field_limit: int = _setting(
        2000, "maximum number of fields in an index; further ones are kept but not searchable", minimum=500
    )
    es_timeout_seconds: float = _setting(60.0, "timeout of one request", minimum=1)

    # the worker
    worker_memory_budget_bytes: int = _setting(
        64 * MIB, "memory of one worker for slices in flight and their documents", minimum=2 * MIB
    )
    bulk_max_bytes: int = _setting(4 * MIB, "maximum size of a bulk request's body", minimum=64 * KIB)
    bulk_linger_seconds: float = _setting(
        0.2, "maximum time that a document waits for its bulk request to fill", minimum=0
    )
    bulk_concurrency: int = _setting(4, "maximum bulk requests in flight; fewer while Elasticsearch is slow", minimum=1)
    retry_max_seconds: float = _setting(2.0, "maximum pause between two attempts", minimum=0.1)
    kafka_session_timeout_seconds: float = _setting(
        10.0, "without a heartbeat for this time, a worker's partitions are reassigned", minimum=1
    )
    lag_poll_seconds: float = _setting(5.0, "interval of polling the consumer group's lag", minimum=0.1)
    search_probe_seconds: float = _setting(
        10.0, "interval of searching for a sample document, to measure search latency; 0: never", minimum=0
    )
    worker_port: int = _setting(0, "port of the worker's status and metrics; 0: none", minimum=0)
    worker_grace_seconds: float = _setting(20.0, "after SIGTERM, maximum wait for bulk requests in flight", minimum=0)
    cluster_name: str = _setting("", "orchestrator.cluster.name of every document; empty: omitted")
    environment: str = _setting("", "service.environment if neither log nor label has it; empty: the namespace")
    retention_days: int = _setting(
        14, "retention of the daily indices; older lines are indexed in logs-late", minimum=1
    )
    routes: str = _setting("infra=7", "separate indices with their own retention: route=days, blank-separated")
    infra_namespaces: str = _setting(
        "kube-system kube-node-lease kube-public", "namespaces that are indexed by the route infra, blank-separated"
    )
    rules_file: str = _setting("", "rules file (YAML), reloaded when it changes; empty: none")
    rules_python_dir: str = _setting("", "directory of the Python modules that rules may use; empty: none")
    rules_poll_seconds: float = _setting(5.0, "interval of polling the rules file for changes", minimum=0.1)
    redact: str = _setting(
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
    health_paths: str = _setting(
        "/health /healthz /health/live /health/ready /healthz/live /healthz/ready /live /livez /ready /readyz /ping",
        "request paths of health probes, blank-separated: such lines with a 2xx response are dropped and counted",
    )
    service_labels: str = _setting(
        "app app.kubernetes.io/name k8s-app com.docker.compose.service",
        "labels with the service's name, in order of precedence, blank-separated",
    )

    @property
    def grouping(self) -> Grouping:
        """How lines are joined into events, by default."""
        gaps = (round(self.trace_gap_seconds * 1e9), round(self.partial_gap_seconds * 1e9))
        pattern = self.multiline_pattern
        mode = "pattern" if pattern else self.multiline
        return Grouping(mode, *gaps, self.event_max_bytes, pattern=pattern)


def env_name(name: str) -> str:
    """Return the environment variable of a setting: `CRISP_SLICE_MAX_BYTES` for `slice_max_bytes`."""
    return UNPREFIXED_NAMES.get(name, PREFIX + name.upper())


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _parse_bool(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (_parse_float, "a finite number"),
    bool: (_parse_bool, "true or false"),
}


def _parse_value(row: dataclasses.Field[Any], text: str) -> Any:
    """Parse the value of one variable. Raises ValueError with the expected form."""
    parser, expected = _PARSERS[row.type]
    try:
        value = parser(text)
    except ValueError:
        raise ValueError(expected) from None
    if row.metadata["choices"] and value not in row.metadata["choices"]:
        raise ValueError("one of " + ", ".join(row.metadata["choices"]))
    if row.metadata["minimum"] is not None and not value >= row.metadata["minimum"]:
        raise ValueError(f"at least {row.metadata['minimum']:g}")
    return value


def _unknown_variables(environ: Mapping[str, str], known: list[str]) -> list[str]:
    problems = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            matches = difflib.get_close_matches(name, known, n=1)
            problems.append(f"{name}: no such setting" + (f" (did you mean {matches[0]}?)" if matches else ""))
    return problems


def _conflicts(settings: Settings) -> list[str]:
    problems = []
    if settings.slice_max_bytes > settings.event_max_bytes:
        problems.append("CRISP_SLICE_MAX_BYTES: more than CRISP_EVENT_MAX_BYTES")
    if settings.inflight_max_bytes < 2 * settings.event_max_bytes:
        problems.append("CRISP_INFLIGHT_MAX_BYTES: less than twice CRISP_EVENT_MAX_BYTES")
    if settings.partial_gap_seconds < settings.trace_gap_seconds:
        problems.append("CRISP_PARTIAL_GAP_SECONDS: less than CRISP_TRACE_GAP_SECONDS")
    if settings.es_timeout_seconds > 300:  # half of the time after which `liveness` reports a worker as hung
        problems.append(
            "CRISP_ES_TIMEOUT_SECONDS: more than 300: with an unresponsive node the worker would be reported as hung"
        )
    problems += _credential_problems(settings)
    if settings.kibana_url and not settings.kibana_url.startswith(("http://", "https://")):
        problems.append("CRISP_KIBANA_URL: neither http:// nor https://")
    for kind in settings.redact.split():
        if kind not in SECRET_KINDS:
            matches = difflib.get_close_matches(kind, SECRET_KINDS, n=1)
            problems.append(
                f"CRISP_REDACT: no kind of secret {kind!r}" + (f" (did you mean {matches[0]}?)" if matches else "")
            )
    if any(pattern.count("/") != 1 for pattern in settings.exclude_pods.split()):
        problems.append(f"CRISP_EXCLUDE_PODS: {settings.exclude_pods!r}: each is namespace/name")
    try:
        routes.parse(settings.routes)
    except ValueError as error:
        problems.append(f"CRISP_ROUTES: {error}")
    return problems


def _pattern_problems(settings: Settings) -> list[str]:
    if not settings.multiline_pattern:
        return []
    try:
        start_pattern.compile_start_pattern(settings.multiline_pattern)
    except ValueError as error:
        return [f"CRISP_MULTILINE_PATTERN: {error}"]
    return (
        ["CRISP_MULTILINE_PATTERN: cannot be combined with CRISP_MULTILINE=off"] if settings.multiline == "off" else []
    )


def _credential_problems(settings: Settings) -> list[str]:
    problems = [
        f"{env_name(name)} and {env_name(name + '_file')}: only one of the two"
        for name in ("kafka_password", "es_password", "es_api_key")
        if getattr(settings, name) and getattr(settings, f"{name}_file")
    ]
    api_key = settings.es_api_key or settings.es_api_key_file
    if api_key and settings.es_user:
        problems.append("CRISP_ES_API_KEY and ES_USER: only one of the two")
    if settings.es_user and not (settings.es_password or settings.es_password_file):
        problems.append("ES_USER: needs ES_PASSWORD or ES_PASSWORD_FILE")
    password = settings.kafka_password or settings.kafka_password_file
    if settings.kafka_sasl != "none" and not (settings.kafka_user and password):
        problems.append("CRISP_KAFKA_SASL: needs CRISP_KAFKA_USER and CRISP_KAFKA_PASSWORD, or its file")
    if "@" in settings.es_urls:
        problems.append("CRISP_ES_URLS: set user and password in ES_USER and ES_PASSWORD, not in an address")
    return problems


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Load the settings from environment variables. Raises SettingsError with every problem."""
    environ = os.environ if environ is None else environ
    rows = {env_name(row.name): row for row in dataclasses.fields(Settings)}
    problems = _unknown_variables(environ, list(rows))
    values = {}
    for name, row in rows.items():
        if name in environ:
            try:
                values[row.name] = _parse_value(row, environ[name])
            except ValueError as expected:
                value = "the value" if row.metadata["secret"] else repr(environ[name])
                problems.append(f"{name}: {value} is not {expected}")
    settings = Settings(**values)
    problems += _conflicts(settings) + _pattern_problems(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def strip_credentials(urls: str) -> str:
    """Return comma-separated addresses without user and password."""
    return re.sub(r"//[^/@,]*@", "//", urls)


def non_defaults(settings: Settings) -> dict[str, str]:
    """Return the variables that differ from their defaults, secrets hidden."""
    variables = {}
    for row in dataclasses.fields(Settings):
        value = getattr(settings, row.name)
        if value != row.default:
            text = "set, not shown" if row.metadata["secret"] else strip_credentials(str(value))
            variables[env_name(row.name)] = text
    return variables


def record_max_bytes(settings: Settings) -> int:
    """Return the maximum size of a raw record: an event, the CRI envelopes of many short partials, and headers."""
    return 2 * settings.event_max_bytes + 64 * KIB


def buffer_max_bytes(settings: Settings) -> int:
    """Return the maximum bytes of a container that may be read before any of them can be sent.

    On each stream a trace and a line may be open, each of the maximum size of an event; and one slice is complete.
    """
    return 4 * settings.event_max_bytes + settings.slice_max_bytes


def dead_letter_max_bytes(settings: Settings) -> int:
    """Return the maximum size of an uncompressed dead letter: a byte of an event can take six in JSON, plus fields."""
    return 6 * settings.event_max_bytes + record_max_bytes(settings)

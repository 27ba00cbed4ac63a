"""Every setting of shipper and worker: one table, read from the environment.

A field of `Settings` is one row: name, type, default, meaning, secret or not. The variable is `CRISP_` and
the field's name in capitals, but for `ES_USER` and `ES_PASSWORD`, which people have already. Unknown and
invalid variables refuse to start, all faults at once.
"""

import dataclasses
import difflib
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
"""Kinds of secrets that `pipeline.rules.redaction` finds."""

PREFIX = "CRISP_"
UNPREFIXED_NAMES = {"es_user": "ES_USER", "es_password": "ES_PASSWORD", "es_password_file": "ES_PASSWORD_FILE"}

KIB = 1024
MIB = 1024 * KIB


def _setting(
    default: Any, meaning: str, *, secret: bool = False, choices: str = "", minimum: float | None = None
) -> Any:
    metadata = {"meaning": meaning, "secret": secret, "choices": choices.split(), "least": minimum}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings; sizes in bytes, durations in seconds."""

    # Kafka, for both
    kafka_brokers: str = _setting("127.0.0.1:9092", "bootstrap servers, host:port, comma-separated")
    kafka_tls: bool = _setting(default=False, meaning="speak TLS to the brokers")
    kafka_ca_file: str = _setting("", "CA certificates to trust, PEM; empty: the system's")
    kafka_cert_file: str = _setting("", "client certificate, PEM")
    kafka_key_file: str = _setting("", "key of the client certificate, PEM")
    kafka_sasl: str = _setting("none", "SASL mechanism", choices="none PLAIN SCRAM-SHA-256 SCRAM-SHA-512")
    kafka_user: str = _setting("", "SASL user")
    kafka_password: str = _setting("", "SASL password", secret=True)
    kafka_password_file: str = _setting("", "file that holds the SASL password instead; read again when it changes")
    kafka_group: str = _setting("crisp-worker", "consumer group of the workers")
    topic_raw: str = _setting("logs-raw", "topic of the raw slices")
    topic_dead: str = _setting("logs-dead", "topic of the dead letters")
    topic_partitions: int = _setting(12, "partitions of the raw topic that setup makes", minimum=1)
    topic_replication: int = _setting(1, "replication factor of topics that setup makes", minimum=1)
    topic_retention_seconds: float = _setting(3 * 86400.0, "retention of the raw topic", minimum=60)
    event_max_bytes: int = _setting(MIB, "longest event; a longer one is split and flagged", minimum=64 * KIB)
    slice_max_bytes: int = _setting(256 * KIB, "longest slice of more than one event", minimum=16 * KIB)

    status_urls: str = _setting(
        "",
        "status pages that `crisp status` asks, http://HOST:PORT, blank-separated; of a name, every address",
    )
    status_host: str = _setting("0.0.0.0", "address on which status and metrics are served")  # noqa: S104 - for the kubelet

    # the shipper
    logs_dir: str = _setting("/var/log/pods", "directory of the containers' logs, in the kubelet's layout")
    plain_dirs: str = _setting(
        "", "directories whose `<name>.log` files are read as containers of no pod, blank-separated"
    )
    docker_dir: str = _setting(
        "", "docker's directory of containers with their json logs; links in the logs may lead there"
    )
    discovery: str = _setting(
        "both", "what tells of new files: directory events, looking (poll), or both", choices="both events poll"
    )
    deleted_max_bytes: int = _setting(
        2048 * MIB,
        "disk that deleted log files may hold until they are read; beyond, the biggest backlog is given up",
        minimum=0,
    )
    state_dir: str = _setting("/var/lib/crisp", "directory of the shipper's checkpoint")
    node_name: str = _setting("", "this node's name; empty: the host's name")
    compression: str = _setting("zstd", "compression of the raw topic", choices="none gzip lz4 zstd")
    linger_seconds: float = _setting(0.2, "longest wait of a line for others of its container", minimum=0)
    poll_seconds: float = _setting(0.2, "between two looks at open files for growth", minimum=0.01)
    scan_seconds: float = _setting(0.75, "between two looks at the directories for new files", minimum=0.05)
    inflight_max_bytes: int = _setting(4 * MIB, "bytes sent to Kafka and not yet acknowledged", minimum=2 * MIB)
    checkpoint_seconds: float = _setting(1.0, "between two writes of the checkpoint", minimum=0.05)
    trace_gap_seconds: float = _setting(
        1.0, "a line that comes later than this never continues a stack trace", minimum=0.05
    )
    partial_gap_seconds: float = _setting(
        60.0, "a line that comes later than this never continues a partial", minimum=1
    )
    multiline: str = _setting("traces", "what joins lines into one event", choices="traces off")
    multiline_pattern: str = _setting(
        "", "instead: a line in which this matches (RE2) begins an event, others continue it"
    )
    kubernetes: str = _setting(
        "auto", "ask the Kubernetes API for pods; auto: in a pod, or with a kubeconfig", choices="auto on off"
    )
    kubeconfig: str = _setting("", "kubeconfig file for asking the Kubernetes API from outside a pod")
    metadata_wait_seconds: float = _setting(10.0, "a new file waits this long for its pod's metadata", minimum=0)
    annotations: str = _setting("", "annotations of pods that become part of documents, blank-separated")
    annotation_prefix: str = _setting("logs.crisp", "prefix of the annotations with which pods steer the shipper")
    pods_may_exclude: bool = _setting(default=True, meaning="pods may keep their logs, or a stream, out by annotation")
    exclude_namespaces: str = _setting("", "namespaces that are not read, blank-separated")
    exclude_pods: str = _setting("", "pods that are not read: namespace/name, `*` stands for anything, blank-separated")
    ship_port: int = _setting(0, "port of the shipper's status and metrics; 0: none", minimum=0)
    ship_grace_seconds: float = _setting(10.0, "after SIGTERM, longest wait for Kafka's answers", minimum=0)

    # Elasticsearch
    es_urls: str = _setting("http://127.0.0.1:9200", "Elasticsearch nodes, comma-separated")
    es_user: str = _setting("", "user for basic authentication")
    es_password: str = _setting("", "password for basic authentication", secret=True)
    es_password_file: str = _setting("", "file that holds the password instead; read again when it changes")
    es_api_key: str = _setting("", "API key (encoded), instead of user and password", secret=True)
    es_api_key_file: str = _setting("", "file that holds the API key instead; read again when it changes")
    es_ca_file: str = _setting("", "CA certificate to trust, PEM; empty: the system's")
    es_ca_fingerprint: str = _setting("", "SHA-256 fingerprint of the CA to trust, instead of a file")
    es_verify: bool = _setting(default=True, meaning="verify Elasticsearch's certificate")
    kibana_url: str = _setting("", "Kibana, into which setup brings data view, searches and dashboard; empty: none")
    kibana_space: str = _setting("", "space of Kibana for them; empty: the default one")
    kibana_ca_file: str = _setting("", "CA certificate of Kibana to trust, PEM; empty: as Elasticsearch's")
    index_prefix: str = _setting("logs", "first part of every index name: logs-2026.11.24, logs-late")
    index_shards: int = _setting(1, "primary shards of an index", minimum=1)
    index_field_limit: int = _setting(
        2000, "most fields of one index; beyond, they are kept but not searchable", minimum=500
    )
    es_timeout_seconds: float = _setting(60.0, "longest wait for the answer to one request", minimum=1)

    # the worker
    worker_memory_budget_bytes: int = _setting(
        64 * MIB, "slices in work in one worker, and the documents made of them", minimum=2 * MIB
    )
    bulk_max_bytes: int = _setting(4 * MIB, "size of a bulk body", minimum=64 * KIB)
    bulk_linger_seconds: float = _setting(0.2, "longest wait of a document for its bulk to fill", minimum=0)
    bulk_concurrency: int = _setting(4, "most bulks in flight; fewer while Elasticsearch is slow", minimum=1)
    retry_max_seconds: float = _setting(2.0, "longest pause between two tries", minimum=0.1)
    kafka_session_timeout_seconds: float = _setting(
        10.0, "without a heartbeat, a worker's partitions go to others after this", minimum=1
    )
    lag_poll_seconds: float = _setting(5.0, "between two looks at the group's lag", minimum=0.1)
    search_probe_seconds: float = _setting(
        10.0, "between two documents looked up by search, to measure when they are found; 0: none", minimum=0
    )
    worker_port: int = _setting(0, "port of the worker's status and metrics; 0: none", minimum=0)
    worker_grace_seconds: float = _setting(20.0, "after SIGTERM, longest wait for bulks in flight", minimum=0)
    cluster_name: str = _setting("", "orchestrator.cluster.name of every document; empty: left out")
    environment: str = _setting("", "service.environment where neither log nor label tells; empty: the namespace")
    retention_days: int = _setting(14, "older lines go to the index logs-late", minimum=1)
    routes: str = _setting("infra=7", "indices of their own and their retention in days: route=days, blank-separated")
    infra_namespaces: str = _setting(
        "kube-system kube-node-lease kube-public", "namespaces that take the route infra, blank-separated"
    )
    rules_file: str = _setting("", "file of rules (YAML), read again when it changes; empty: none")
    rules_python_dir: str = _setting("", "directory of the modules that rules may name; empty: none may")
    rules_poll_seconds: float = _setting(5.0, "between two looks at the rules file for changes", minimum=0.1)
    redact: str = _setting(
        "", f"kinds of secrets that are replaced in every field, blank-separated: {' '.join(SECRET_KINDS)}; empty: none"
    )
    application_time_window_seconds: float = _setting(
        86400.0, "an application's own time counts when this near the runtime's", minimum=0
    )
    parser: str = _setting(
        "auto",
        "how lines are read, where no annotation says it: JSON bodies and every text format, either, one, or none",
        choices="auto json text access klog logfmt none",
    )
    ansi: str = _setting(
        "keep", "a terminal's colours in messages (levels are read without them)", choices="keep strip"
    )
    field_limit: int = _setting(200, "most fields of one application's document", minimum=10)
    health_paths: str = _setting(
        "/health /healthz /health/live /health/ready /healthz/live /healthz/ready /live /livez /ready /readyz /ping",
        "request paths of probes, blank-separated: such lines with a 2xx answer are dropped and counted",
    )
    service_labels: str = _setting(
        "app app.kubernetes.io/name k8s-app com.docker.compose.service",
        "labels that name the service, in order, blank-separated",
    )

    @property
    def grouping(self) -> Grouping:
        """What joins lines into events."""
        gaps = (round(self.trace_gap_seconds * 1e9), round(self.partial_gap_seconds * 1e9))
        pattern = self.multiline_pattern
        mode = "pattern" if pattern else self.multiline
        return Grouping(mode, *gaps, self.event_max_bytes, pattern=pattern)


def env_name(name: str) -> str:
    """The environment variable of a setting: `slice_max_bytes` is `CRISP_SLICE_MAX_BYTES`."""
    return UNPREFIXED_NAMES.get(name, PREFIX + name.upper())


def _parse_bool(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (_parse_bool, "true or false"),
}


def _parse_value(row: dataclasses.Field[Any], text: str) -> Any:
    """The value of one variable. Raises ValueError with what was expected."""
    reader, expected = _PARSERS[row.type]
    try:
        value = reader(text)
    except ValueError:
        raise ValueError(expected) from None
    if row.metadata["choices"] and value not in row.metadata["choices"]:
        raise ValueError("one of " + ", ".join(row.metadata["choices"]))
    if row.metadata["least"] is not None and not value >= row.metadata["least"]:
        raise ValueError(f"at least {row.metadata['least']:g}")
    return value


def _unknown_variables(environ: Mapping[str, str], known: list[str]) -> list[str]:
    faults = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            faults.append(f"{name}: no such setting" + (f" (did you mean {near[0]}?)" if near else ""))
    return faults


def _conflicts(settings: Settings) -> list[str]:
    faults = []
    if settings.slice_max_bytes > settings.event_max_bytes:
        faults.append("CRISP_SLICE_MAX_BYTES: more than CRISP_EVENT_MAX_BYTES")
    if settings.inflight_max_bytes < 2 * settings.event_max_bytes:
        faults.append("CRISP_INFLIGHT_MAX_BYTES: less than twice CRISP_EVENT_MAX_BYTES")
    if settings.partial_gap_seconds < settings.trace_gap_seconds:
        faults.append("CRISP_PARTIAL_GAP_SECONDS: less than CRISP_TRACE_GAP_SECONDS")
    if settings.es_timeout_seconds > 300:  # half of what `liveness` gives a worker
        faults.append("CRISP_ES_TIMEOUT_SECONDS: more than 300: with a frozen node the worker would count as hung")
    faults += _credential_problems(settings)
    if settings.kibana_url and not settings.kibana_url.startswith(("http://", "https://")):
        faults.append("CRISP_KIBANA_URL: neither http:// nor https://")
    for kind in settings.redact.split():
        if kind not in SECRET_KINDS:
            near = difflib.get_close_matches(kind, SECRET_KINDS, n=1)
            faults.append(f"CRISP_REDACT: no kind of secret {kind!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    if any(pattern.count("/") != 1 for pattern in settings.exclude_pods.split()):
        faults.append(f"CRISP_EXCLUDE_PODS: {settings.exclude_pods!r}: each is namespace/name")
    try:
        routes.parse(settings.routes)
    except ValueError as fault:
        faults.append(f"CRISP_ROUTES: {fault}")
    return faults


def _pattern_problems(settings: Settings) -> list[str]:
    if not settings.multiline_pattern:
        return []
    try:
        start_pattern.compile_start_pattern(settings.multiline_pattern)
    except ValueError as fault:
        return [f"CRISP_MULTILINE_PATTERN: {fault}"]
    return ["CRISP_MULTILINE_PATTERN: not together with CRISP_MULTILINE=off"] if settings.multiline == "off" else []


def _credential_problems(settings: Settings) -> list[str]:
    faults = [
        f"{env_name(name)} and {env_name(name + '_file')}: only one of the two"
        for name in ("kafka_password", "es_password", "es_api_key")
        if getattr(settings, name) and getattr(settings, f"{name}_file")
    ]
    api_key = settings.es_api_key or settings.es_api_key_file
    if api_key and settings.es_user:
        faults.append("CRISP_ES_API_KEY and ES_USER: only one of the two")
    if settings.es_user and not (settings.es_password or settings.es_password_file):
        faults.append("ES_USER: needs ES_PASSWORD or ES_PASSWORD_FILE")
    password = settings.kafka_password or settings.kafka_password_file
    if settings.kafka_sasl != "none" and not (settings.kafka_user and password):
        faults.append("CRISP_KAFKA_SASL: needs CRISP_KAFKA_USER and CRISP_KAFKA_PASSWORD, or its file")
    if "@" in settings.es_urls:
        faults.append("CRISP_ES_URLS: user and password belong into ES_USER and ES_PASSWORD, not into an address")
    return faults


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises SettingsError with every fault."""
    environ = os.environ if environ is None else environ
    rows = {env_name(row.name): row for row in dataclasses.fields(Settings)}
    faults = _unknown_variables(environ, list(rows))
    values = {}
    for name, row in rows.items():
        if name in environ:
            try:
                values[row.name] = _parse_value(row, environ[name])
            except ValueError as expected:
                shown = "the value given" if row.metadata["secret"] else repr(environ[name])
                faults.append(f"{name}: {shown} is not {expected}")
    settings = Settings(**values)
    faults += _conflicts(settings) + _pattern_problems(settings)
    if faults:
        raise SettingsError(faults)
    return settings


def strip_credentials(urls: str) -> str:
    """Addresses, comma-separated, without the user and password that may stand in them."""
    return re.sub(r"//[^/@,]*@", "//", urls)


def non_defaults(settings: Settings) -> dict[str, str]:
    """The variables that differ from their defaults; of a secret only that it is set."""
    shown = {}
    for row in dataclasses.fields(Settings):
        value = getattr(settings, row.name)
        if value != row.default:
            text = "set, not shown" if row.metadata["secret"] else strip_credentials(str(value))
            shown[env_name(row.name)] = text
    return shown


def record_max_bytes(settings: Settings) -> int:
    """The largest record of the raw topic: an event, its CRI envelope of many short partials, and headers."""
    return 2 * settings.event_max_bytes + 64 * KIB


def buffer_max_bytes(settings: Settings) -> int:
    """The most of a container that may be read before anything of it can be sent.

    On each stream a trace and a line may be open, each as long as an event may be; and there is a slice.
    """
    return 4 * settings.event_max_bytes + settings.slice_max_bytes


def dead_letter_max_bytes(settings: Settings) -> int:
    """The largest dead letter before it is compressed: in JSON a byte of an event can take six, beside its fields."""
    return 6 * settings.event_max_bytes + record_max_bytes(settings)

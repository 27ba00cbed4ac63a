"""The Grafana dashboard, made of the metrics table: rate, errors and duration of each hop, then whatever else there is.

A metric that no panel shows gets one in the last row, so none is forgotten.
"""

import re
from typing import Any, NamedTuple

from pipeline.monitoring.metric_table import SHIPPER, WORKER, Metric

UID = "crisp-flow"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 6
VALUES_OF = '{__name__=~"crisp_(worker|shipper)_build_info"}'
SCRAPED = 'pod=~"crisp-.*"'
"""Process metrics have the same names in every program."""


class Panel(NamedTuple):
    """Title, unit as Grafana names it, what it says, and the queries with their legends."""

    title: str
    unit: str
    words: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


WHERE = 'cluster=~"$cluster",namespace=~"$namespace"'
"""Of every series: the installations that are selected. A cluster without the label is matched by all."""


def _rate(name: str, by: str = "", labels: str = "", window: str = "$__rate_interval") -> str:
    return f"sum{by and f' by ({by})'} (rate({name}_total{_where(labels)}[{window}]))"


def _where(labels: str = "") -> str:
    return "{" + ",".join(filter(None, (WHERE, labels))) + "}"


def _age(stage: str, part: str = "worker") -> str:
    """The 99th percentile of the age of lines at a stage."""
    series = f"crisp_{part}_latency_seconds_bucket{_where(f'stage={chr(34)}{stage}{chr(34)}')}"
    return f"histogram_quantile(0.99, sum by (le) (rate({series}[$__rate_interval])))"


def _bulk(fraction: float) -> str:
    series = f"crisp_worker_bulk_request_duration_seconds_bucket{_where()}"
    return f"histogram_quantile({fraction}, sum by (le) (rate({series}[$__rate_interval])))"


FILES = (
    Panel(
        "Files → Kafka: rate, by node",
        "Bps",
        "Raw bytes that Kafka has acknowledged.",
        ((_rate("crisp_shipper_acked_bytes", "node"), "{{node}}"),),
    ),
    Panel(
        "Files → Kafka: errors, by node",
        "short",
        "Records that Kafka rejected, per second; files and directories that cannot be read; lost files.",
        (
            (_rate("crisp_shipper_records_sent", "node", 'result="failed"'), "rejected {{node}}"),
            (f"sum by (node) (crisp_shipper_unreadable_files{_where()}) > 0", "unreadable files {{node}}"),
            (f"sum by (node) (crisp_shipper_unreadable_directories{_where()}) > 0", "unreadable directories {{node}}"),
            (f"sum by (node) (increase(crisp_shipper_lost_files_total{_where()}[5m])) > 0", "lost files {{node}}"),
        ),
    ),
    Panel(
        "Files → Kafka: duration",
        "s",
        "Age of lines when read and when acknowledged (p99), and of the oldest unread line, by node.",
        (
            (_age("read", "shipper"), "read, p99"),
            (_age("acked", "shipper"), "in Kafka, p99"),
            (f"max by (node) (crisp_shipper_backlog_age_seconds{_where()}) > 1", "oldest unread {{node}}"),
        ),
    ),
)
KAFKA = (
    Panel(
        "Kafka → worker: rate, by node",
        "Bps",
        "Raw bytes consumed.",
        ((_rate("crisp_worker_received_bytes", "node"), "{{node}}"),),
    ),
    Panel(
        "Kafka → worker: errors",
        "short",
        "Invalid records and gaps per second, records that expired unread, a lag that cannot be read.",
        (
            (_rate("crisp_worker_records_received", "kind", 'kind=~"invalid|gap"'), "{{kind}}"),
            (_rate("crisp_worker_records_lost"), "expired"),
            (f"sum by (node) (crisp_worker_consumer_lag_unknown{_where()}) > 0", "lag unknown {{node}}"),
        ),
    ),
    Panel(
        "Kafka → worker: duration",
        "s",
        "Age of lines when consumed (p99), and of the oldest record that is not committed.",
        (
            (_age("consumed"), "consumed, p99"),
            (f"max by (node) (crisp_worker_consumer_lag_seconds{_where()})", "oldest record {{node}}"),
        ),
    ),
)
WORKERS = (
    Panel(
        "Worker: rate, by node",
        "cps",
        "Events found in the records.",
        ((_rate("crisp_worker_events", "node"), "{{node}}"),),
    ),
    Panel(
        "Worker: errors",
        "cps",
        "Failing hooks by rule, events without metadata, dead letters.",
        (
            (_rate("crisp_worker_hook_errors", "rule"), "hook {{rule}}"),
            (_rate("crisp_worker_events_without_metadata"), "without metadata"),
            (_rate("crisp_worker_documents", "", 'result="dead_lettered"'), "dead letters"),
        ),
    ),
    Panel(
        "Worker: duration",
        "s",
        "Age of lines when indexed and when a search finds them (p99); 5 s are promised.",
        ((_age("indexed"), "indexed, p99"), (_age("searchable"), "searchable, p99")),
    ),
)
ELASTICSEARCH = (
    Panel(
        "Worker → Elasticsearch: rate, by node",
        "Bps",
        "Bytes of bulk bodies.",
        ((_rate("crisp_worker_bulk_bytes", "node"), "{{node}}"),),
    ),
    Panel(
        "Worker → Elasticsearch: errors",
        "cps",
        "Responses to bulk requests other than 200, by status; documents answered with 429, and those rejected.",
        (
            (_rate("crisp_worker_bulk_responses", "status", 'status!="200"'), "{{status}}"),
            (_rate("crisp_worker_documents_throttled"), "documents, 429"),
            (_rate("crisp_worker_documents_rejected", "form"), "rejected, {{form}}"),
        ),
    ),
    Panel(
        "Worker → Elasticsearch: duration",
        "s",
        "Of a bulk request.",
        ((_bulk(0.5), "p50"), (_bulk(0.99), "p99")),
    ),
)
WAITING = (
    Panel(
        "Lag by partition",
        "short",
        "Records that are not committed.",
        ((f"sum by (partition) (crisp_worker_consumer_lag_records{_where()})", "{{partition}}"),),
    ),
    Panel(
        "Retention used, by partition",
        "percentunit",
        "By time or size; beyond 100 % records are lost.",
        ((f"max by (partition) (crisp_worker_consumer_lag_retention_ratio{_where()})", "{{partition}}"),),
    ),
    Panel(
        "Unread on nodes",
        "bytes",
        "In log files.",
        ((f"topk(10, sum by (node) (crisp_shipper_backlog_bytes{_where()}))", "{{node}}"),),
    ),
)
TALKERS = (
    Panel(
        "Bytes by namespace",
        "Bps",
        "Of the namespaces with the most.",
        ((f"topk(10, {_rate('crisp_worker_namespace_bytes', 'log_namespace')})", "{{log_namespace}}"),),
    ),
    Panel(
        "Lines by namespace",
        "cps",
        "Of the namespaces with the most.",
        ((f"topk(10, {_rate('crisp_worker_namespace_lines', 'log_namespace')})", "{{log_namespace}}"),),
    ),
    Panel(
        "Documents by result, and dropped events",
        "cps",
        "What became of the events.",
        (
            (_rate("crisp_worker_documents", "result"), "{{result}}"),
            (_rate("crisp_worker_events_dropped", "rule"), "dropped by {{rule}}"),
        ),
    ),
)
PROCESSES = (
    Panel(
        "CPU",
        "short",
        "Cores that shippers and workers use.",
        ((f"{_rate('process_cpu_seconds', 'pod', SCRAPED)}", "{{pod}}"),),
    ),
    Panel(
        "Memory",
        "bytes",
        "Resident.",
        ((f"sum by (pod) (process_resident_memory_bytes{_where(SCRAPED)})", "{{pod}}"),),
    ),
    Panel(
        "Versions",
        "short",
        "Processes of each version.",
        (
            (f"count by (version) (crisp_worker_build_info{_where()})", "workers {{version}}"),
            (f"count by (version) (crisp_shipper_build_info{_where()})", "shippers {{version}}"),
        ),
    ),
)
ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Rate, errors and duration of each hop", (*FILES, *KAFKA, *WORKERS, *ELASTICSEARCH)),
    ("Waiting", WAITING),
    ("Who writes, and what becomes of it", TALKERS),
    ("Processes", PROCESSES),
)


def names(text: str) -> set[str]:
    """The metrics of ours that a text names, as the table has them."""
    found = re.findall(r"\bcrisp_(?:worker|shipper)_[a-z_]+", text)
    known = {row.name for row in (*WORKER, *SHIPPER)}
    return {_base(name, known) for name in found}


def _base(name: str, known: set[str]) -> str:
    short = re.sub(r"_(total|bucket|sum|count)$", "", name)
    return short if short in known else name


def _rest(shown: set[str]) -> tuple[Panel, ...]:
    return tuple(_plain(row) for row in (*WORKER, *SHIPPER) if row.name not in shown)


def _plain(row: Metric) -> Panel:
    by = f" by ({', '.join(row.labels)})" if row.labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in row.labels)
    unit = "bytes" if "bytes" in row.name else "s" if row.name.endswith("_seconds") else "short"
    if row.kind == "counter":
        query = _rate(row.name, ", ".join(row.labels))
        unit = "Bps" if unit == "bytes" else "cps"
    else:
        query = f"sum{by} ({row.name}{_where()})"
    title = row.name.removeprefix("crisp_").replace("_", " ").capitalize()
    return Panel(title, unit, row.meaning.capitalize() + ".", ((query, legend),))


def _panel(number: int, panel: Panel, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + place), "expr": query, "legendFormat": legend or "__auto", "datasource": SOURCE}
        for place, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.words,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _variable(label: str, title: str) -> dict[str, Any]:
    """A selection of the label's values; all of them match also series without the label."""
    return {
        "name": label,
        "label": title,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({VALUES_OF}, {label})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    """The whole, as Grafana imports it."""
    shown = set[str]().union(*(names(query) for _, row in ROWS for panel in row for query, _ in panel.queries))
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in (*ROWS, ("Whatever else there is", _rest(shown))):
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
        )
        width, height = (4, 5) if row and row[0].kind == "stat" else (WIDTH, HEIGHT)
        y += 1
        for place, panel in enumerate(row):
            column, line = place % (24 // width), place // (24 // width)
            panels.append(_panel(len(panels) + 1, panel, column * width, y + line * height, width, height))
        y += height * -(-len(row) // (24 // width))
    return {
        "uid": UID,
        "id": None,
        "title": "crisp",
        "tags": ["crisp", "logs"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                _variable("cluster", "Cluster"),
                _variable("namespace", "Namespace of crisp"),
            ]
        },
        "panels": panels,
    }

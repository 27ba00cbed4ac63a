"""The Grafana dashboard, made of the metrics table: the flow from left to right, then whatever else there is.

A metric that no panel shows gets one in the last row, so none is forgotten.
"""

import re
from typing import Any, NamedTuple

from pipeline.monitoring.metrics import SHIPPER, WORKER, Metric

UID = "crisp-flow"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 8


class Panel(NamedTuple):
    """Title, unit as Grafana names it, what it says, and the queries with their legends."""

    title: str
    unit: str
    words: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def _age(stage: str, part: str = "worker") -> str:
    name = f'crisp_{part}_latency_seconds_bucket{{stage="{stage}"}}'
    return f"histogram_quantile(0.99, sum by (le) (rate({name}[$__rate_interval])))"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Is it well?",
        (
            Panel("Searchable after, p99", "s", "Promised: 5 s.", ((_age("searchable"), ""),), "stat"),
            Panel(
                "Oldest record waits",
                "s",
                "In Kafka, not indexed.",
                (("max(crisp_worker_consumer_lag_seconds)", ""),),
                "stat",
            ),
            Panel("Oldest unread line", "s", "On any node.", (("max(crisp_shipper_backlog_age_seconds)", ""),), "stat"),
            Panel(
                "Kafka silent, at most",
                "s",
                "Of any shipper with slices on their way.",
                (("max(crisp_shipper_kafka_unresponsive_seconds)", ""),),
                "stat",
            ),
            Panel(
                "Workers waiting for Elasticsearch",
                "short",
                "It takes nothing, or the index template is gone.",
                (
                    ("sum(crisp_worker_elasticsearch_unavailable)", "backing off"),
                    ("sum(crisp_worker_index_template_missing)", "without template"),
                ),
                "stat",
            ),
            Panel(
                "Lost",
                "short",
                "Gaps, and records that Kafka's retention took, in the time shown.",
                (
                    ('sum(increase(crisp_worker_records_received_total{kind="gap"}[$__range]))', "gaps"),
                    ("sum(increase(crisp_worker_records_lost_total[$__range]))", "records"),
                ),
                "stat",
            ),
        ),
    ),
    (
        "The flow",
        (
            Panel(
                "Bytes",
                "Bps",
                "Acknowledged by Kafka, and taken from it.",
                (
                    ("sum(rate(crisp_shipper_acked_bytes_total[$__rate_interval]))", "shipped"),
                    ("sum(rate(crisp_worker_received_bytes_total[$__rate_interval]))", "taken"),
                ),
            ),
            Panel(
                "Events and documents",
                "cps",
                "What came, and what became of it.",
                (
                    ("sum(rate(crisp_worker_events_total[$__rate_interval]))", "events"),
                    ("sum by (result) (rate(crisp_worker_documents_total[$__rate_interval]))", "{{result}}"),
                ),
            ),
            Panel(
                "Age of lines at each step, p99",
                "s",
                "Since the runtime wrote them.",
                (
                    (_age("read", "shipper"), "read"),
                    (_age("acked", "shipper"), "in Kafka"),
                    (_age("consumed"), "taken"),
                    (_age("indexed"), "indexed"),
                    (_age("searchable"), "searchable"),
                ),
            ),
        ),
    ),
    (
        "Waiting",
        (
            Panel(
                "Lag",
                "short",
                "Records not settled.",
                (("sum by (partition) (crisp_worker_consumer_lag_records)", "{{partition}}"),),
            ),
            Panel(
                "Lag in seconds, against retention",
                "s",
                "Beyond the retention records are lost.",
                (
                    ("max(crisp_worker_consumer_lag_seconds)", "oldest"),
                    ("max(crisp_worker_topic_retention_seconds)", "retention"),
                ),
            ),
            Panel("Unread on nodes", "bytes", "In log files.", (("topk(10, crisp_shipper_backlog_bytes)", "{{pod}}"),)),
        ),
    ),
    (
        "Kept apart",
        (
            Panel(
                "Refused for their content",
                "short",
                "By form; own: the document as it was.",
                (("sum by (form) (increase(crisp_worker_documents_rejected_total[5m]))", "{{form}}"),),
            ),
            Panel(
                "Dropped",
                "cps",
                "By rule.",
                (("sum by (rule) (rate(crisp_worker_events_dropped_total[5m]))", "{{rule}}"),),
            ),
            Panel(
                "Bulk requests",
                "reqps",
                "By result.",
                (("sum by (result) (rate(crisp_worker_bulk_requests_total[$__rate_interval]))", "{{result}}"),),
            ),
        ),
    ),
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
        query = f"sum{by} (rate({row.exposed_name}[$__rate_interval]))"
        unit = "Bps" if unit == "bytes" else "cps"
    else:
        query = f"sum{by} ({row.name})"
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
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }

"""Every metric of crisp: one table (name, kind, labels, meaning), and the registry made from it.

Labels are bounded: never a pod, uid, path, id or message.
"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metric(NamedTuple):
    """One row of the table. `kind`: counter, gauge or histogram; counters are named without `_total` here."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


WORKER = (
    Metric("crisp_worker_records", "counter", ("outcome",), "records of the raw topic: slice, gap, foreign, dead"),
    Metric("crisp_worker_raw_bytes", "counter", (), "raw bytes taken from the raw topic"),
    Metric("crisp_worker_events", "counter", (), "events found in the records"),
    Metric("crisp_worker_documents", "counter", ("outcome",), "settled: created, there, safe_form, continued, dead"),
    Metric("crisp_worker_dropped", "counter", ("rule",), "events dropped, by the rule's name"),
    Metric("crisp_worker_bulks", "counter", ("outcome",), "bulk requests: answered, failed, unknown"),
    Metric(
        "crisp_worker_refusals", "counter", ("form",), "documents refused for their content, by form: own, safe, text"
    ),
    Metric("crisp_worker_in_work_bytes", "gauge", (), "raw bytes of slices in work"),
    Metric("crisp_worker_backing_off", "gauge", (), "1 while Elasticsearch takes nothing, else 0"),
)
SHIPPER = (
    Metric("crisp_shipper_slices", "counter", ("outcome",), "slices answered by Kafka: acknowledged, failed"),
    Metric("crisp_shipper_bytes", "counter", (), "raw bytes acknowledged by Kafka"),
    Metric("crisp_shipper_unread_bytes", "gauge", (), "bytes in log files that were not read yet"),
    Metric("crisp_shipper_in_flight_bytes", "gauge", (), "bytes sent to Kafka and not acknowledged"),
    Metric("crisp_shipper_open_files", "gauge", (), "log files held open"),
    Metric("crisp_shipper_containers", "gauge", (), "container instances with files to read"),
)
_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class Metrics:
    """The metrics of one process."""

    def __init__(self, table: tuple[Metric, ...]) -> None:
        self._registry = CollectorRegistry()
        self._made = {
            row.name: _KINDS[row.kind](row.name, row.meaning, row.labels, registry=self._registry) for row in table
        }

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise a counter."""
        metric = self._made[name]
        (metric.labels(**labels) if labels else metric).inc(amount)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._made[name].set(value)

    def get(self, name: str, **labels: str) -> float:
        """The present value, 0 where nothing was counted."""
        suffix = "_total" if isinstance(self._made[name], Counter) else ""
        return self._registry.get_sample_value(name + suffix, labels) or 0.0

    def by(self, name: str, label: str) -> dict[str, float]:
        """A counter's values by one label."""
        samples = (sample for metric in self._made[name].collect() for sample in metric.samples)
        return {sample.labels[label]: sample.value for sample in samples if sample.name.endswith("_total")}

    def page(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)

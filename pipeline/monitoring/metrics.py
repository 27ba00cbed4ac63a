"""Every metric of crisp: one table (name, kind, labels, meaning), and the registry made from it.

Labels are bounded: never a pod, uid, path, id or message. Should a label's values become many all the same, further
ones are counted together as "other".
"""

from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.samples import Sample

from pipeline.contract import gap


class Metric(NamedTuple):
    """One row of the table. `kind`: counter, gauge or histogram; counters are named without `_total` here.

    `values` are those of its one label that are known before: they begin at 0, since an alert on an increase would
    not see the first one of a series that begins at 1.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    values: tuple[str, ...] = ()

    @property
    def exposed_name(self) -> str:
        """The name under which Prometheus has it."""
        return self.name + ("_total" if self.kind == "counter" else "")


WORKER = (
    Metric(
        "crisp_worker_records_received",
        "counter",
        ("kind",),
        "records of the raw topic: slice, gap, third_party, invalid",
        ("slice", "gap", "third_party", "invalid"),
    ),
    Metric("crisp_worker_received_bytes", "counter", (), "raw bytes taken from the raw topic"),
    Metric("crisp_worker_received_lines", "counter", (), "raw lines in the records; a joined event has several"),
    Metric(
        "crisp_worker_events",
        "counter",
        (),
        "events found in the records = documents (but those that continue one) + dropped + in work",
    ),
    Metric(
        "crisp_worker_documents",
        "counter",
        ("result",),
        "completed documents: created, duplicate, fallback, extended, dead_lettered",
        ("created", "duplicate", "fallback", "extended", "dead_lettered"),
    ),
    Metric("crisp_worker_events_dropped", "counter", ("rule",), "events dropped, by the rule's name"),
    Metric(
        "crisp_worker_hook_errors", "counter", ("rule",), "events on which a rule's hook failed; they went on without"
    ),
    Metric(
        "crisp_worker_rules_last_reload_successful",
        "gauge",
        (),
        "1 if the rules file was loaded, 0 while it is invalid and the previous rules apply",
    ),
    Metric(
        "crisp_worker_bulk_requests",
        "counter",
        ("result",),
        "bulk requests: success, error, invalid_response",
        ("success", "error", "invalid_response"),
    ),
    Metric(
        "crisp_worker_documents_rejected",
        "counter",
        ("form",),
        "documents rejected for their content, by form: original, flattened, text",
        ("original", "flattened", "text"),
    ),
    Metric("crisp_worker_records_lost", "counter", (), "records that Kafka's retention took before they were indexed"),
    Metric("crisp_worker_partition_resets", "counter", (), "partitions whose log began anew: the topic was made again"),
    Metric("crisp_worker_bulk_requests_in_flight", "gauge", (), "bulk requests in flight"),
    Metric("crisp_worker_in_flight_bytes", "gauge", (), "bytes of slices in work and of the documents made of them"),
    Metric("crisp_worker_elasticsearch_unavailable", "gauge", (), "1 while Elasticsearch takes nothing, else 0"),
    Metric(
        "crisp_worker_index_template_missing",
        "gauge",
        (),
        "1 while nothing is written since the index template is gone",
    ),
    Metric(
        "crisp_worker_latency_seconds",
        "histogram",
        ("stage",),
        "age of a slice's first line, since the runtime wrote it: consumed, indexed; searchable (sampled)",
        ("consumed", "indexed", "searchable"),
    ),
    Metric(
        "crisp_worker_search_probes",
        "counter",
        ("result",),
        "documents looked up by search: found, timed_out, missing",
        ("found", "timed_out", "missing"),
    ),
    Metric("crisp_worker_assigned_partitions", "gauge", (), "partitions that this worker has"),
    Metric(
        "crisp_worker_consumer_lag_records",
        "gauge",
        ("partition",),
        "records that are not settled, by partition it has",
    ),
    Metric(
        "crisp_worker_consumer_lag_bytes", "gauge", ("partition",), "the same in raw bytes, by the records' mean size"
    ),
    Metric("crisp_worker_consumer_lag_seconds", "gauge", ("partition",), "age of the first record that is not settled"),
    Metric(
        "crisp_worker_topic_retention_seconds", "gauge", (), "how long the raw topic keeps records, by the settings"
    ),
)
SHIPPER = (
    Metric(
        "crisp_shipper_records_sent",
        "counter",
        ("result",),
        "records sent to Kafka: acked, failed",
        ("acked", "failed"),
    ),
    Metric("crisp_shipper_read_bytes", "counter", (), "raw bytes read = acknowledged + in flight + to be read again"),
    Metric("crisp_shipper_acked_bytes", "counter", (), "raw bytes acknowledged by Kafka"),
    Metric("crisp_shipper_retried_bytes", "counter", (), "raw bytes to be read again, since Kafka did not take them"),
    Metric("crisp_shipper_backlog_bytes", "gauge", (), "bytes in log files that were not read yet"),
    Metric("crisp_shipper_backlog_age_seconds", "gauge", (), "how long the oldest of them have waited"),
    Metric(
        "crisp_shipper_lost_files",
        "counter",
        ("reason",),
        "files of which bytes vanished before they were read",
        gap.SHIPPER_REASONS,
    ),
    Metric(
        "crisp_shipper_lost_bytes",
        "counter",
        ("reason",),
        "bytes that vanished unread, as far as they are known",
        gap.SHIPPER_REASONS,
    ),
    Metric("crisp_shipper_unreported_losses", "gauge", (), "gaps of which Kafka has no record yet"),
    Metric(
        "crisp_shipper_deleted_files_held_bytes", "gauge", (), "disk held by deleted log files that are not read yet"
    ),
    Metric(
        "crisp_shipper_excluded_containers",
        "gauge",
        ("namespace",),
        "container instances that are not read, as asked for",
    ),
    Metric("crisp_shipper_in_flight_bytes", "gauge", (), "bytes sent to Kafka and not acknowledged"),
    Metric(
        "crisp_shipper_kafka_unresponsive_seconds", "gauge", (), "how long Kafka has answered nothing while they wait"
    ),
    Metric("crisp_shipper_checkpoint_failing_seconds", "gauge", (), "how long the checkpoint could not be written"),
    Metric("crisp_shipper_open_files", "gauge", (), "log files held open"),
    Metric("crisp_shipper_invalid_annotations", "gauge", (), "what pods' annotations ask for and cannot be"),
    Metric("crisp_shipper_tracked_containers", "gauge", (), "container instances with files to read"),
    Metric(
        "crisp_shipper_latency_seconds",
        "histogram",
        ("stage",),
        "age of a slice's first line, since the runtime wrote it: read, acked",
        ("read", "acked"),
    ),
)
BUCKETS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0)
"""Upper bounds of the histograms, in seconds; what a promise says (2 s, 5 s) is one of them."""

MAX_SERIES = 1000
OTHER = "other"


class Metrics:
    """The metrics of one process."""

    def __init__(self, table: tuple[Metric, ...]) -> None:
        self._registry = CollectorRegistry()
        self._collectors = {row.name: _create_collector(row, self._registry) for row in table}
        self._labelled_series: dict[str, dict[tuple[str, ...], Any]] = {row.name: {} for row in table}
        for row in table:
            for value in row.values:
                self._series(row.name, {row.labels[0]: value})

    def _series(self, name: str, labels: dict[str, str]) -> Any:
        """The series of a metric; beyond the limit one for all the others."""
        if not labels:
            return self._collectors[name]
        known = self._labelled_series[name]
        values = tuple(labels.values())
        found = known.get(values)
        if found is None:
            if len(known) >= MAX_SERIES:
                return self._collectors[name].labels(**dict.fromkeys(labels, OTHER))
            found = known[values] = self._collectors[name].labels(**labels)
        return found

    def inc(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise a counter."""
        self._series(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._series(name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        self._series(name, labels).observe(value)

    def replace(self, name: str, label: str, values: dict[str, float]) -> None:
        """Set a gauge by one label; series of other values go away."""
        for (gone,) in self._labelled_series[name].keys() - {(value,) for value in values}:
            self._collectors[name].remove(gone)
            del self._labelled_series[name][(gone,)]
        for value, number in values.items():
            self.set(name, number, **{label: value})

    def _samples(self, name: str) -> list[Sample]:
        return [sample for metric in self._collectors[name].collect() for sample in metric.samples]

    def get(self, name: str, **labels: str) -> float:
        """A counter's or gauge's present value, 0 where nothing was counted."""
        return next((sample.value for sample in self._samples(name) if sample.labels == labels), 0.0)

    def values_by_label(self, name: str, label: str) -> dict[str, float]:
        """A counter's or gauge's values by one label."""
        found = [sample for sample in self._samples(name) if not sample.name.endswith("_created")]
        return {sample.labels[label]: sample.value for sample in found}

    def total(self, name: str) -> float:
        """A counter's or gauge's value, summed over its labels."""
        return sum(sample.value for sample in self._samples(name) if not sample.name.endswith("_created"))

    def buckets(self, name: str, **labels: str) -> tuple[float, ...]:
        """How many values a histogram has had in each of BUCKETS, and last beyond them; not cumulated."""
        samples = [sample for sample in self._samples(name) if sample.name.endswith("_bucket")]
        up_to = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
        return tuple(after - before for before, after in zip([0.0, *up_to], up_to, strict=False))

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)


def _create_collector(row: Metric, registry: CollectorRegistry) -> Any:
    if row.kind == "histogram":
        return Histogram(row.name, row.meaning, row.labels, buckets=BUCKETS, registry=registry)
    kinds = {"counter": Counter, "gauge": Gauge}
    return kinds[row.kind](row.name, row.meaning, row.labels, registry=registry)


def quantile(counts: tuple[float, ...], fraction: float) -> float | None:
    """The value under which so great a part of the counts lies, by `BUCKETS`; None without any.

    Within a bucket values are taken as spread evenly, as Prometheus's `histogram_quantile` does; beyond the last
    bound it is that bound.
    """
    wanted = fraction * sum(counts)
    if not wanted:
        return None
    low = 0.0
    for bound, count in zip(BUCKETS, counts, strict=False):
        if count and wanted <= count:
            return low + (bound - low) * wanted / count
        wanted -= count
        low = bound
    return BUCKETS[-1]

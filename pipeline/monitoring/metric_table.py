"""All metrics of crisp as one table: name, kind, labels, meaning.

Labels are bounded: never a pod, uid, path, id or message.
"""

from typing import NamedTuple

from pipeline.contract import gap

BUCKETS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0)
"""Upper bounds of the histograms, in seconds; they include the latency objectives (2 s, 5 s)."""

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the durations of requests, in seconds."""

BULK_STATUSES = ("200", "413", "429", "502", "503", "504", "timed_out", "unreachable")


class Metric(NamedTuple):
    """One row of the table. `kind`: counter, gauge or histogram; counters are named without `_total` here.

    `values` are the known values of the single label: these series start at 0, since an alert on an increase misses
    the first increment of a series that starts at 1.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = BUCKETS

    @property
    def exposed_name(self) -> str:
        """The name in Prometheus."""
        return self.name + ("_total" if self.kind == "counter" else "")


WORKER = (
    Metric(
        "crisp_worker_records_received",
        "counter",
        ("kind",),
        "records of the raw topic: slice, gap, third_party, invalid",
        ("slice", "gap", "third_party", "invalid"),
    ),
    Metric("crisp_worker_received_bytes", "counter", (), "raw bytes consumed from the raw topic"),
    Metric("crisp_worker_received_lines", "counter", (), "raw lines in the records; a joined event has several"),
    Metric(
        "crisp_worker_namespace_bytes",
        "counter",
        ("log_namespace",),
        "raw bytes by the namespace of their containers: of the first 100, _other of the rest, _none without one",
    ),
    Metric(
        "crisp_worker_namespace_lines",
        "counter",
        ("log_namespace",),
        "raw lines by the namespace of their containers, as for the bytes",
    ),
    Metric(
        "crisp_worker_events_without_metadata",
        "counter",
        (),
        "events of pods whose labels, image and workload were not known in time",
    ),
    Metric(
        "crisp_worker_events",
        "counter",
        (),
        "events in the records = documents (except extended ones) + dropped + in flight",
    ),
    Metric(
        "crisp_worker_documents",
        "counter",
        ("result",),
        "completed documents: created, duplicate, fallback, extended, conflicting, dead_lettered",
        ("created", "duplicate", "fallback", "extended", "conflicting", "dead_lettered"),
    ),
    Metric("crisp_worker_events_dropped", "counter", ("rule",), "events dropped, by the rule's name"),
    Metric(
        "crisp_worker_hook_errors",
        "counter",
        ("rule",),
        "events on which a rule's hook failed; they are indexed without it",
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
        "crisp_worker_bulk_responses",
        "counter",
        ("status",),
        "responses to bulk requests, by HTTP status; or timed_out, unreachable",
        BULK_STATUSES,
    ),
    Metric(
        "crisp_worker_bulk_request_duration_seconds",
        "histogram",
        (),
        "time from a bulk request to its response of any status",
        buckets=REQUEST_BUCKETS,
    ),
    Metric("crisp_worker_bulk_bytes", "counter", (), "bytes of the bodies of bulk requests sent to Elasticsearch"),
    Metric(
        "crisp_worker_documents_throttled",
        "counter",
        (),
        "documents that Elasticsearch answered with 429, each time; they are sent again",
    ),
    Metric(
        "crisp_worker_documents_rejected",
        "counter",
        ("form",),
        "documents rejected for their content, by form: original, flattened, text",
        ("original", "flattened", "text"),
    ),
    Metric("crisp_worker_records_lost", "counter", (), "records that expired by retention before they were indexed"),
    Metric(
        "crisp_worker_partition_resets",
        "counter",
        (),
        "partitions recreated with their topic, and read from the beginning",
    ),
    Metric("crisp_worker_bulk_requests_in_flight", "gauge", (), "bulk requests in flight"),
    Metric(
        "crisp_worker_bulk_requests_limit",
        "gauge",
        (),
        "bulk requests that may be in flight, adapted to Elasticsearch's responses",
    ),
    Metric("crisp_worker_in_flight_bytes", "gauge", (), "bytes of the slices in flight and of their documents"),
    Metric("crisp_worker_elasticsearch_unavailable", "gauge", (), "1 while Elasticsearch accepts no documents, else 0"),
    Metric(
        "crisp_worker_index_template_missing",
        "gauge",
        (),
        "1 while indexing is paused because the index template is missing",
    ),
    Metric(
        "crisp_worker_latency_seconds",
        "histogram",
        ("stage",),
        "time since the runtime wrote a slice's first line: consumed, indexed; searchable (sampled)",
        ("consumed", "indexed", "searchable"),
    ),
    Metric(
        "crisp_worker_search_probes",
        "counter",
        ("result",),
        "documents looked up by search: found, timed_out, missing",
        ("found", "timed_out", "missing"),
    ),
    Metric("crisp_worker_assigned_partitions", "gauge", (), "partitions assigned to this worker"),
    Metric(
        "crisp_worker_consumer_lag_records",
        "gauge",
        ("partition",),
        "records that are not committed, by assigned partition",
    ),
    Metric(
        "crisp_worker_consumer_lag_bytes",
        "gauge",
        ("partition",),
        "the same in raw bytes, estimated from the mean record size",
    ),
    Metric(
        "crisp_worker_consumer_lag_seconds", "gauge", ("partition",), "age of the first record that is not committed"
    ),
    Metric(
        "crisp_worker_consumer_lag_retention_ratio",
        "gauge",
        ("partition",),
        "share of the topic's retention, by time or by size, that the lag has used; beyond 1 records are lost",
    ),
    Metric(
        "crisp_worker_consumer_lag_unknown",
        "gauge",
        (),
        "1 while the consumer lag cannot be read; the other metrics of the lag have its last known value",
    ),
    Metric("crisp_worker_topic_retention_seconds", "gauge", (), "retention of the raw topic, by the settings"),
    Metric(
        "crisp_worker_events_unaccounted",
        "gauge",
        (),
        "events of which neither a result is known nor a record is in flight; other than 0 is a bug",
    ),
    Metric("crisp_worker_rules_errors", "gauge", (), "errors in the current rules file, while previous rules apply"),
    Metric("crisp_worker_build_info", "gauge", ("version",), "1, with the version of crisp"),
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
    Metric(
        "crisp_shipper_retried_bytes",
        "counter",
        (),
        "raw bytes to be read again because Kafka did not acknowledge them",
    ),
    Metric("crisp_shipper_unreadable_directories", "gauge", (), "log directories that cannot be listed"),
    Metric("crisp_shipper_unreadable_files", "gauge", (), "log files that cannot be opened or read"),
    Metric(
        "crisp_shipper_no_containers_seconds",
        "gauge",
        (),
        "how long no container's log has been found in any log directory",
    ),
    Metric("crisp_shipper_backlog_bytes", "gauge", (), "bytes of log files not read yet"),
    Metric("crisp_shipper_backlog_age_seconds", "gauge", (), "how long the oldest unread bytes have waited"),
    Metric(
        "crisp_shipper_lost_files",
        "counter",
        ("reason",),
        "files with bytes lost before they were read",
        gap.SHIPPER_REASONS,
    ),
    Metric(
        "crisp_shipper_lost_bytes",
        "counter",
        ("reason",),
        "bytes lost before they were read, as far as known",
        gap.SHIPPER_REASONS,
    ),
    Metric(
        "crisp_shipper_omitted_nul_bytes",
        "counter",
        (),
        "NUL bytes of logs that were not sent: holes of sparse files, writes that a crash tore",
    ),
    Metric("crisp_shipper_unreported_losses", "gauge", (), "losses whose gap record is not in Kafka yet"),
    Metric(
        "crisp_shipper_deleted_files_held_bytes",
        "gauge",
        (),
        "disk space held by deleted log files that are not read yet",
    ),
    Metric(
        "crisp_shipper_deleted_files_limit_bytes",
        "gauge",
        (),
        "disk space that deleted log files may hold, by the settings; beyond it the largest backlog is abandoned",
    ),
    Metric(
        "crisp_shipper_excluded_containers",
        "gauge",
        ("log_namespace",),
        "container instances excluded by settings or annotations, by their namespace",
    ),
    Metric(
        "crisp_shipper_metadata_missing_containers",
        "gauge",
        (),
        "container instances whose pod's labels, image and workload are not known",
    ),
    Metric("crisp_shipper_in_flight_bytes", "gauge", (), "bytes sent to Kafka but not acknowledged"),
    Metric(
        "crisp_shipper_kafka_unresponsive_seconds",
        "gauge",
        (),
        "how long Kafka has not responded while records are in flight",
    ),
    Metric("crisp_shipper_checkpoint_failing_seconds", "gauge", (), "how long the checkpoint cannot be written"),
    Metric("crisp_shipper_open_files", "gauge", (), "log files held open"),
    Metric("crisp_shipper_invalid_annotations", "gauge", (), "invalid annotations of pods"),
    Metric("crisp_shipper_tracked_containers", "gauge", (), "container instances with files to read"),
    Metric(
        "crisp_shipper_latency_seconds",
        "histogram",
        ("stage",),
        "time since the runtime wrote a slice's first line: read, acked",
        ("read", "acked"),
    ),
    Metric("crisp_shipper_build_info", "gauge", ("version",), "1, with the version of crisp"),
)

PROCESS_METRICS = (
    ("process_cpu_seconds_total", "counter", "CPU time of the process"),
    ("process_resident_memory_bytes", "gauge", "memory of the process in RAM"),
    ("process_virtual_memory_bytes", "gauge", "address space of the process"),
    ("process_start_time_seconds", "gauge", "when the process started, in seconds since the epoch"),
    ("process_open_fds", "gauge", "open file descriptors"),
    ("process_max_fds", "gauge", "limit of open file descriptors"),
)
"""Those of prometheus_client's ProcessCollector, on Linux: name, kind, meaning."""

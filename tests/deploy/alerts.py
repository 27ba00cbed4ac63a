"""The alerts of Prometheus, made with the thresholds of the pages: an alert and a page agree on what is a problem.

Each is by cluster and namespace, so that one Prometheus can watch several installations.
"""

from typing import Any, NamedTuple

from pipeline.monitoring import shipper_problems, worker_problems

CLUSTER = "by (cluster, namespace)"
PROCESS = "by (cluster, namespace, node, instance, pod)"
"""Of one shipper: the node by the PodMonitor."""
HIGH_LAG_SECONDS = 300
SLOW_SEARCH = f"> {worker_problems.SEARCH_DELAY_SECONDS:g}"
LATE_LAG = f"> {worker_problems.BEHIND_SECONDS:g}"
LATE_BACKLOG = f"> {shipper_problems.BEHIND_SECONDS:g}"
RUNBOOKS = "https://git.example.invalid/crisp/pipeline/runbooks"


class Alert(NamedTuple):
    """Name, expression (its alternatives), minutes that it must be true, severity, summary, runbook."""

    name: str
    alternatives: tuple[str, ...]
    minutes: int
    severity: str
    summary: str
    runbook: str

    def rule(self) -> dict[str, Any]:
        """The rule of a PrometheusRule."""
        return {
            "alert": self.name,
            "expr": "\nor\n".join(self.alternatives),
            "for": f"{self.minutes}m",
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "runbook": f"crisp runbook {self.runbook}",
                "runbook_url": f"{RUNBOOKS}/{self.runbook}.md",
            },
        }


def _increase(series: str, minutes: int, by: str = CLUSTER) -> str:
    return f"sum {by} (increase({series}[{minutes}m])) > 0"


def _gone(metric: str) -> str:
    """Whether a cluster has no series any more that it had an hour ago."""
    return f"count {CLUSTER} ({metric} offset 1h) unless count {CLUSTER} ({metric})"


WORKER_ALERTS = (
    Alert(
        "CrispConsumerLagGrowing",
        (
            f"max {CLUSTER} (crisp_worker_consumer_lag_seconds) {LATE_LAG}"
            f" and deriv(sum {CLUSTER} (crisp_worker_consumer_lag_records)[10m:1m]) > 0",
        ),
        10,
        "warning",
        "Consumer lag is growing; the oldest record is {{ $value | humanizeDuration }} old."
        " Nothing is lost while Kafka retains it.",
        "lag",
    ),
    Alert(
        "CrispConsumerLagHigh",
        (f"max {CLUSTER} (crisp_worker_consumer_lag_seconds) > {HIGH_LAG_SECONDS}",),
        15,
        "warning",
        "Consumer lag stays high; the oldest record is {{ $value | humanizeDuration }} old, whether the lag"
        " grows or not.",
        "lag",
    ),
    Alert(
        "CrispConsumerLagUnknown",
        (f"max {CLUSTER} (crisp_worker_consumer_lag_unknown) == 1",),
        5,
        "critical",
        "A worker cannot read its consumer lag from Kafka; how many records wait is not known, and probably none are"
        " consumed.",
        "lag",
    ),
    Alert(
        "CrispRetentionNear",
        (
            "max by (cluster, namespace, partition) (crisp_worker_consumer_lag_retention_ratio)"
            f" > {worker_problems.RETENTION_RATIO:g}",
        ),
        10,
        "critical",
        "The lag of partition {{ $labels.partition }} has used {{ $value | humanizePercentage }} of Kafka's retention"
        " by time or size; beyond it records are lost.",
        "retention",
    ),
    Alert(
        "CrispEventTotalsMismatch",
        (f"max {CLUSTER} (crisp_worker_events_unaccounted) > 0",),
        5,
        "critical",
        "A worker's totals do not add up: events have neither a result nor a record in flight. This is a bug in crisp.",
        "event-totals-mismatch",
    ),
    Alert(
        "CrispDocumentsRejected",
        (_increase('crisp_worker_documents_rejected_total{form="original"}', 15),),
        15,
        "warning",
        "Elasticsearch rejects documents for their content; they are indexed as fallback documents, some fields not"
        " searchable.",
        "rejected-documents",
    ),
    Alert(
        "CrispRejectionRateHigh",
        (
            f'sum {CLUSTER} (rate(crisp_worker_documents_rejected_total{{form="original"}}[5m]))'
            f" / sum {CLUSTER} (rate(crisp_worker_documents_total[5m])) > 0.1",
        ),
        2,
        "critical",
        "More than a tenth of the documents are rejected; check the index template and recent deployments.",
        "rejected-documents",
    ),
    Alert(
        "CrispDeadLetters",
        (
            _increase('crisp_worker_documents_total{result="dead_lettered"}', 30),
            _increase('crisp_worker_records_received_total{kind="invalid"}', 30),
        ),
        1,
        "warning",
        "Documents or records could not be indexed in any form; they are in logs-dead, with the reason.",
        "dead-letters",
    ),
    Alert(
        "CrispIdConflicts",
        (_increase('crisp_worker_documents_total{result="conflicting"}', 30),),
        1,
        "warning",
        "Documents of other lines have the ids of ours: somebody else writes to the raw topic or to the indices, or a"
        " file was replaced. Both are indexed.",
        "id-conflicts",
    ),
    Alert(
        "CrispElasticsearchUnavailable",
        (
            f"max {CLUSTER} (crisp_worker_elasticsearch_unavailable) == 1",
            f"max {CLUSTER} (crisp_worker_index_template_missing) == 1",
        ),
        5,
        "critical",
        "Workers have waited for Elasticsearch for five minutes. Nothing is lost while Kafka retains the records.",
        "elasticsearch",
    ),
    Alert(
        "CrispWorkersDown",
        (
            f"sum {CLUSTER} (crisp_worker_assigned_partitions) == 0",
            "absent(crisp_worker_assigned_partitions)",
            _gone("crisp_worker_assigned_partitions"),
        ),
        10,
        "critical",
        "No worker has a partition; nothing is indexed. Nothing is lost while Kafka retains the records.",
        "instance-down",
    ),
    Alert(
        "CrispSearchLatencyHigh",
        (
            "histogram_quantile(0.99, sum by (cluster, namespace, le)"
            f' (rate(crisp_worker_latency_seconds_bucket{{stage="searchable"}}[10m]))) {SLOW_SEARCH}',
        ),
        10,
        "warning",
        "Lines become searchable after {{ $value | humanizeDuration }} (p99); the promise is five seconds.",
        "search-latency",
    ),
    Alert(
        "CrispHookErrors",
        (_increase("crisp_worker_hook_errors_total", 15, "by (cluster, namespace, rule)"),),
        5,
        "warning",
        "The hook of the rule {{ $labels.rule }} fails; the events are indexed without it.",
        "hook-errors",
    ),
    Alert(
        "CrispRulesReloadFailed",
        (f"min {CLUSTER} (crisp_worker_rules_last_reload_successful) == 0",),
        5,
        "warning",
        "The rules file is invalid; the previous rules stay in force.",
        "rules-reload-failed",
    ),
)
SHIPPER_ALERTS = (
    Alert(
        "CrispShipperStalled",
        (
            f"max {PROCESS} (crisp_shipper_kafka_unresponsive_seconds) > 60",
            f"(max {PROCESS} (crisp_shipper_backlog_age_seconds) {LATE_BACKLOG}"
            f" and max {PROCESS} (rate(crisp_shipper_acked_bytes_total[5m])) == 0)",
        ),
        5,
        "critical",
        "A node's logs do not reach Kafka. Files that the kubelet deletes by rotation meanwhile are lost.",
        "shipper-backlog",
    ),
    Alert(
        "CrispShipperFallingBehind",
        (
            f"max {PROCESS} (crisp_shipper_backlog_age_seconds) {LATE_BACKLOG}"
            f" and deriv(sum {PROCESS} (crisp_shipper_backlog_bytes)[10m:1m]) > 0",
        ),
        10,
        "warning",
        "A shipper reads less than its node writes: its oldest unread line is {{ $value | humanizeDuration }} old, and"
        " the backlog grows.",
        "shipper-backlog",
    ),
    Alert(
        "CrispDeletedFilesNearLimit",
        (
            f"max {PROCESS} (crisp_shipper_deleted_files_held_bytes / crisp_shipper_deleted_files_limit_bytes)"
            f" > {shipper_problems.DELETED_FILES_RATIO:g}",
        ),
        1,
        "critical",
        "Deleted log files that are not read yet hold {{ $value | humanizePercentage }} of the disk space that they"
        " may; beyond it the largest backlog is abandoned, and its lines are lost.",
        "shipper-backlog",
    ),
    Alert(
        "CrispCheckpointFailing",
        (f"max {PROCESS} (crisp_shipper_checkpoint_failing_seconds) > 60",),
        5,
        "warning",
        "A shipper cannot write its checkpoint; a restart sends the lines since the last one again.",
        "checkpoint",
    ),
    Alert(
        "CrispLogsUnreadable",
        (
            f"max {PROCESS} (crisp_shipper_unreadable_directories) > 0",
            f"max {PROCESS} (crisp_shipper_unreadable_files) > 0",
        ),
        5,
        "critical",
        "A shipper cannot read log directories or log files of its node. They are lost when the kubelet deletes them by"
        " rotation.",
        "unreadable-logs",
    ),
    Alert(
        "CrispNoContainersFound",
        (f"max {PROCESS} (crisp_shipper_no_containers_seconds) > {shipper_problems.NO_CONTAINERS_SECONDS:g}",),
        5,
        "warning",
        "A shipper has found no container's log on its node for {{ $value | humanizeDuration }}; it may read another"
        " directory.",
        "unreadable-logs",
    ),
    Alert(
        "CrispLinesLost",
        (
            _increase('crisp_worker_records_received_total{kind="gap"}', 30),
            _increase("crisp_worker_records_lost_total", 30),
            _increase("crisp_shipper_lost_files_total", 30),
        ),
        1,
        "critical",
        "Lines were lost before they were read or indexed. Each gap is a document with crisp.gap.reason.",
        "gap",
    ),
    Alert(
        "CrispShipperDown",
        (
            f'max {CLUSTER} (kube_daemonset_status_desired_number_scheduled{{daemonset="crisp-shipper"}})'
            f' - max {CLUSTER} (kube_daemonset_status_number_ready{{daemonset="crisp-shipper"}}) > 0',
            "absent(crisp_shipper_open_files)",
            _gone("crisp_shipper_open_files"),
        ),
        10,
        "critical",
        "Nodes without a ready shipper. Their logs stay in files, which the kubelet deletes by rotation.",
        "instance-down",
    ),
)


def rules() -> dict[str, Any]:
    """The PrometheusRule. An overlay sets the address of its copy of the repository in the runbooks' URLs."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "crisp", "namespace": "logging", "labels": {"release": "kube-prometheus-stack"}},
        "spec": {"groups": [{"name": "crisp", "rules": [alert.rule() for alert in (*WORKER_ALERTS, *SHIPPER_ALERTS)]}]},
    }

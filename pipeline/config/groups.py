"""The groups of the settings: what reads each setting, and its unit. The table of the documentation is made from it."""

import dataclasses
from typing import Any, NamedTuple

from pipeline.config.settings import Settings

GROUPS: dict[str, dict[str, str]] = {
    "kafka": {
        "all": """kafka_brokers kafka_tls kafka_ca_file kafka_cert_file kafka_key_file kafka_sasl kafka_user
            kafka_password kafka_password_file topic_raw event_max_bytes""",
        "worker, commands": "kafka_group",
        "worker, setup, commands": "topic_dead",
        "setup, check": "topic_partitions topic_replication",
        "worker, setup, check": "topic_retention_seconds topic_retention_bytes",
    },
    "shipper": {
        "shipper": """slice_max_bytes logs_dir plain_dirs docker_dir discovery deleted_max_bytes state_dir compression
            linger_seconds poll_seconds scan_seconds bundles inflight_max_bytes checkpoint_seconds kubernetes kubeconfig
            metadata_wait_seconds annotation_prefix pods_may_exclude exclude_namespaces exclude_pods ship_port
            ship_grace_seconds""",
        "shipper, parse, audit": """node_name trace_gap_seconds partial_gap_seconds multiline multiline_pattern
            annotations""",
    },
    "elasticsearch": {
        "worker, setup, commands": """es_urls es_user es_password es_password_file es_api_key es_api_key_file
            es_ca_file es_ca_fingerprint es_verify es_timeout_seconds index_prefix""",
        "setup": "index_shards index_field_limit index_mode index_settings kibana_url kibana_space kibana_ca_file",
        "worker, setup": "retention_days",
    },
    "worker": {
        "worker, replay": "worker_memory_budget_bytes bulk_max_bytes bulk_linger_seconds bulk_concurrency",
        "worker": """retry_max_seconds kafka_session_timeout_seconds lag_poll_seconds search_probe_seconds
            rules_poll_seconds worker_port worker_grace_seconds""",
    },
    "documents": {
        "worker, parse, replay, audit": """cluster_name environment infra_namespaces redact parser ansi field_limit
            health_paths service_labels application_time_window_seconds""",
        "worker, setup, parse, check": "routes",
        "worker, parse, replay, audit, check": "rules_file rules_python_dir",
    },
    "status": {"shipper, worker": "log_level status_host", "status": "status_urls"},
    "file": {"all": "config_file"},
}
"""The settings by group, and by what reads them; `commands`: those that connect to the server in question."""

_UNITS = {"bytes": "bytes", "seconds": "seconds", "days": "days"}
"""By the last word of a setting's name."""
_OTHER_UNITS = {
    "topic_partitions": "partitions",
    "topic_replication": "replicas",
    "bulk_concurrency": "requests",
    "index_shards": "shards",
    "index_field_limit": "fields",
    "field_limit": "fields",
    "routes": "days",
}


class GroupedSetting(NamedTuple):
    """A setting with its group, what reads it, and its unit, which is empty for text and ports."""

    row: dataclasses.Field[Any]
    group: str
    readers: str
    unit: str


def grouped_settings() -> list[GroupedSetting]:
    """Return every setting, by groups; in a group, in the order of the table."""
    settings = []
    for group, parts in GROUPS.items():
        readers = {name: part for part, names in parts.items() for name in names.split()}
        for row in dataclasses.fields(Settings):
            if row.name in readers:
                unit = _OTHER_UNITS.get(row.name) or _UNITS.get(row.name.rpartition("_")[2], "")
                settings.append(GroupedSetting(row, group, readers[row.name], unit))
    return settings

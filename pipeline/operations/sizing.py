"""Sizes of a deployment, computed from measured figures. Pure.

Every figure in `MEASURED` names where it was measured; every row names its formula. All are for the default settings.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.contract.json_types import JsonObject

GIB = 1 << 30
MIB = 1 << 20
SECONDS_PER_DAY = 86400


class Figure(NamedTuple):
    """A measured figure; `source` says where to measure it again."""

    value: float
    unit: str
    meaning: str
    source: str


MEASURED = {
    "shipper_line": Figure(1.9, "CPU-µs", "shipper, per line at full speed", "make bench"),
    "shipper_record": Figure(170, "CPU-µs", "shipper, per record", "deploy/README.md: 110 containers, a line a second"),
    "shipper_container": Figure(
        90, "CPU-µs/s", "shipper, per quiet container", "deploy/README.md: 110 idle containers"
    ),
    "shipper_memory": Figure(64, "MiB", "shipper, peak", "make bench"),
    "worker_line": Figure(6.6, "CPU-µs", "worker, per line at full speed", "make bench"),
    "worker_record": Figure(
        105, "CPU-µs", "worker, per record", "70 to 105 for one line; no benchmark here repeats it"
    ),
    "worker_memory": Figure(256, "MiB", "worker, requested; limit 512", "make bench; deploy/base"),
    "kafka_ratio": Figure(0.14, "", "bytes in Kafka per byte of log, full slices", "deploy/README.md: 22 of 156 bytes"),
    "kafka_record": Figure(
        240, "bytes", "headers of a record in Kafka", "110 containers, a line a second: 266 for 181"
    ),
    "elasticsearch_ratio": Figure(1.25, "", "bytes in the index per byte of log", "deploy/README.md: 194 of 156 bytes"),
    "elasticsearch_line": Figure(
        28, "CPU-µs", "Elasticsearch, per document", "26 to 31 when warm; no benchmark here repeats it"
    ),
}

UTILIZATION = 0.7
"""Of a worker's or a node's CPU at the peak."""
DISK_UTILIZATION = 0.85
"""Elasticsearch's low watermark: above it, no shard is allocated to a node."""
LINGER_SECONDS = 0.2
SHARD_BYTES = 40 * GIB
SHARDS_PER_NODE = 1000
"""Elasticsearch's default of `cluster.max_shards_per_node`."""
MIN_PARTITIONS = 12
PARTITIONS_PER_WORKER = 3
"""For growth: partitions can be added, but an even assignment needs several for each worker."""
MANY_CONNECTIONS = 2000
MANY_PARTITIONS = 500
MANY_WORKERS = 50


@dataclass(frozen=True, slots=True)
class Load:
    """What is logged: `containers` per node, `lines_per_second` of the whole cluster on average, `peak` times that."""

    nodes: int
    containers: int
    lines_per_second: float
    bytes_per_line: float
    retention_days: float
    topic_hours: float = 72.0
    peak: float = 3.0
    replicas: int = 1
    brokers: int = 3
    topic_replication: int = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One size: `value` in `unit`, and the formula with its numbers."""

    part: str
    name: str
    value: float
    unit: str
    formula: str

    def to_json(self) -> JsonObject:
        """Return the JSON object of `crisp size --json`."""
        return {name: getattr(self, name) for name in ("part", "name", "value", "unit", "formula")}


@dataclass(frozen=True, slots=True)
class Sizing:
    """The sizes, and what reaches its limit first, in that order."""

    rows: tuple[Row, ...]
    limits: tuple[str, ...]


def compute(load: Load) -> Sizing:
    """Return the sizes for a load."""
    records, lines_per_record = _records(load)
    workers = _workers(load, records)
    partitions = _partitions(int(workers.value))
    elasticsearch = _elasticsearch(load)
    rows = (
        Row(
            "load",
            "records",
            records,
            "/s",
            f"{lines_per_record:.1f} lines per record: a container's lines of {LINGER_SECONDS} s",
        ),
        *_shipper(load, records),
        *_kafka(load, records, partitions, int(workers.value)),
        workers,
        Row("worker", "memory", _figure("worker_memory"), "MiB each", "measured; the limit is 512 MiB"),
        *elasticsearch,
    )
    return Sizing(rows, tuple(_limits(load, rows)))


def _figure(name: str) -> float:
    return MEASURED[name].value


def _records(load: Load) -> tuple[float, float]:
    """Return records per second, and lines in each: the lines that a container writes while its first one lingers."""
    per_container = load.lines_per_second / (load.nodes * load.containers)
    lines_per_record = 1 + per_container * LINGER_SECONDS
    return load.lines_per_second / lines_per_record, lines_per_record


def _shipper(load: Load, records: float) -> list[Row]:
    lines, records = load.peak * load.lines_per_second / load.nodes, load.peak * records / load.nodes
    micros = (
        _figure("shipper_line") * lines
        + _figure("shipper_record") * records
        + _figure("shipper_container") * load.containers
    )
    formula = (
        f"{lines:,.0f} lines x {_figure('shipper_line')} µs"
        f" + {records:,.0f} records x {_figure('shipper_record'):.0f} µs"
        f" + {load.containers} containers x {_figure('shipper_container'):.0f} µs, each second at the peak"
    )
    return [
        Row("shipper", "CPU of a node", micros / 1e6, "cores", formula),
        Row("shipper", "memory of a node", _figure("shipper_memory"), "MiB", "measured peak; the limit is 160 MiB"),
    ]


def _workers(load: Load, records: float) -> Row:
    lines, records = load.peak * load.lines_per_second, load.peak * records
    cores = (_figure("worker_line") * lines + _figure("worker_record") * records) / 1e6
    count = max(2, math.ceil(cores / UTILIZATION))
    formula = (
        f"({lines:,.0f} lines x {_figure('worker_line')} µs + {records:,.0f} records x"
        f" {_figure('worker_record'):.0f} µs) / {UTILIZATION} at the peak = {cores / UTILIZATION:.2f}; at least 2"
    )
    return Row("worker", "workers", count, "of one core", formula)


def _partitions(workers: int) -> int:
    return max(MIN_PARTITIONS, math.ceil(PARTITIONS_PER_WORKER * workers / MIN_PARTITIONS) * MIN_PARTITIONS)


def _kafka(load: Load, records: float, partitions: int, workers: int) -> list[Row]:
    per_second = load.lines_per_second * load.bytes_per_line * _figure("kafka_ratio") + records * _figure(
        "kafka_record"
    )
    disk = per_second * load.topic_hours * 3600 * load.topic_replication / load.brokers
    return [
        Row("kafka", "partitions of logs-raw", partitions, "", f"{PARTITIONS_PER_WORKER} for each worker, by twelves"),
        Row(
            "kafka",
            "bytes written",
            per_second,
            "bytes/s",
            f"lines x {load.bytes_per_line:.0f} bytes x {_figure('kafka_ratio')} + records x"
            f" {_figure('kafka_record'):.0f} bytes",
        ),
        Row(
            "kafka",
            "disk of a broker",
            disk / GIB,
            "GiB",
            f"{load.topic_hours:.0f} h x {load.topic_replication} copies on {load.brokers} brokers",
        ),
        Row(
            "kafka", "connections of a broker", load.nodes + 3 * workers, "", "one for each shipper, 3 for each worker"
        ),
    ]


def _elasticsearch(load: Load) -> list[Row]:
    cores = load.peak * load.lines_per_second * _figure("elasticsearch_line") * (1 + load.replicas) / 1e6 / UTILIZATION
    day = load.lines_per_second * SECONDS_PER_DAY * load.bytes_per_line * _figure("elasticsearch_ratio")
    primaries = max(1, math.ceil(day / SHARD_BYTES))
    copies = 1 + load.replicas
    disk = day * load.retention_days * copies / DISK_UTILIZATION
    shards = primaries * copies * math.ceil(load.retention_days)
    return [
        Row(
            "elasticsearch",
            "CPU",
            cores,
            "cores",
            f"lines x {_figure('elasticsearch_line'):.0f} µs x {copies} copies / {UTILIZATION} at the peak",
        ),
        Row(
            "elasticsearch",
            "disk",
            disk / GIB,
            "GiB",
            f"{day / GIB:,.1f} GiB a day x {load.retention_days:g} days x {copies} copies / {DISK_UTILIZATION}",
        ),
        Row(
            "elasticsearch",
            "primary shards a day",
            primaries,
            "",
            f"CRISP_INDEX_SHARDS: {day / GIB:,.1f} GiB a day, at most {SHARD_BYTES // GIB} GiB each",
        ),
        Row("elasticsearch", "shards", shards, "", f"{primaries} x {copies} copies x {load.retention_days:g} days"),
        Row(
            "elasticsearch",
            "heap of all nodes",
            max(2.0, math.ceil(cores)),
            "GiB",
            "one for each core, at least 2; at most half of a node's memory and 31 each (Elastic's rule)",
        ),
    ]


def _limits(load: Load, rows: tuple[Row, ...]) -> list[str]:
    """Return what reaches a limit at this load, the most pressing first."""
    values = {(row.part, row.name): row.value for row in rows}
    limits = []
    hot = 1e6 * UTILIZATION / _figure("worker_line")
    if load.peak * load.lines_per_second > hot:
        limits.append(
            f"one container above {hot:,.0f} lines a second: its partition is one worker's; nothing is lost, it lags"
        )
    if values["elasticsearch", "shards"] > SHARDS_PER_NODE:
        limits.append(
            f"{values['elasticsearch', 'shards']:,.0f} shards: more than {SHARDS_PER_NODE:,} for one node"
            " (cluster.max_shards_per_node): at least"
            f" {math.ceil(values['elasticsearch', 'shards'] / SHARDS_PER_NODE)} data nodes"
        )
    if values["kafka", "connections of a broker"] > MANY_CONNECTIONS:
        limits.append(
            f"{values['kafka', 'connections of a broker']:,.0f} connections to each broker: raise its descriptors"
            " (ulimit -n) and num.network.threads"
        )
    if values["worker", "workers"] > MANY_WORKERS:
        limits.append(
            f"{values['worker', 'workers']:,.0f} workers in one group: a rebalance stops all of them; use fewer, larger"
            " nodes for them, or a cluster's logs in several topics"
        )
    if values["kafka", "partitions of logs-raw"] > MANY_PARTITIONS:
        limits.append(f"{values['kafka', 'partitions of logs-raw']:,.0f} partitions: slower elections and rebalances")
    return limits

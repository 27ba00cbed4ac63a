"""Why a worker's lag grows, in one line, from its status. Pure."""

from pipeline.monitoring.formatting import count, latency, percent, quantity, rate
from pipeline.monitoring.worker_status import PartitionLag, WorkerStatus

BUSY_CPU_RATIO = 0.85
"""Of one core: the event loop of a worker uses one."""
SLOW_BULK_SECONDS = 1.0
SKEWED_RATIO = 0.9


def explain(status: WorkerStatus) -> str:
    """The first cause that the figures of the last minute show, with the figures; and that none does, if so."""
    load, connection = status.load, status.elasticsearch
    figures = f"{quantity(load.bulk_requests, 'bulk request')} in a minute, {latency(load.bulk_p50)} at the median"
    if load.documents_throttled:
        throttled = quantity(load.documents_throttled, "document")
        return f"Elasticsearch is overloaded: it answered 429 for {throttled} in a minute"
    if connection.index_problem or connection.failing_since:
        return "Elasticsearch accepts no documents"
    if load.cpu_ratio is not None and load.cpu_ratio > BUSY_CPU_RATIO:
        return f"this worker is busy: it uses {percent(load.cpu_ratio)} of a CPU core{_rules(status)}; add workers"
    if load.bulk_p50 is not None and load.bulk_p50 > SLOW_BULK_SECONDS:
        return f"Elasticsearch is slow: {figures}, {load.bulk_in_flight} of {load.bulk_limit} in flight"
    if load.bulk_limit and load.bulk_in_flight >= load.bulk_limit:
        return f"Elasticsearch limits it: all {load.bulk_limit} bulk requests that may be in flight are; {figures}"
    if skewed := _skewed(status.lag):
        return f"{percent(skewed[1])} of it is in partition {skewed[0].partition}, the others are idle{_talker(status)}"
    return f"no cause is seen here: {figures}, {percent(load.cpu_ratio)} of a CPU core{_talker(status)}"


def _rules(status: WorkerStatus) -> str:
    names = len(status.rules.names)
    return f" with {quantity(names, 'rule')}" if names else ""


def _skewed(lag: tuple[PartitionLag, ...]) -> tuple[PartitionLag, float] | None:
    """The partition with nearly all of the lag of several, and its share."""
    total = sum(row.records for row in lag)
    if len(lag) < 2 or not total:
        return None
    largest = max(lag, key=lambda row: row.records)
    ratio = largest.records / total
    return (largest, ratio) if ratio > SKEWED_RATIO else None


def _talker(status: WorkerStatus) -> str:
    """The container that writes most, if it writes most of all bytes."""
    traffic = status.traffic
    if not traffic.containers or 2 * traffic.containers[0].bytes < traffic.bytes:
        return ""
    top = traffic.containers[0]
    share = percent(top.bytes / traffic.bytes) if traffic.bytes else count(0)
    lines = rate(top.lines / traffic.seconds, "lines") if traffic.seconds else count(top.lines)
    return f"; {top.namespace}/{top.container} writes {share} of the bytes, {lines}"

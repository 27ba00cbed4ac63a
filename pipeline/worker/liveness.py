"""Decides from a worker's health signs whether it hangs. Pure: times in seconds on a monotonic clock.

An unavailable dependency is no reason: a worker that waits for Elasticsearch or Kafka stays live.
"""

from dataclasses import dataclass

LOOP_TIMEOUT_SECONDS = 60.0
CONSUMER_TIMEOUT_SECONDS = 300.0
PROGRESS_TIMEOUT_SECONDS = 600.0


@dataclass(slots=True)
class HealthSigns:
    """Observed health signs; each `…_at` is the time of the last observation."""

    heartbeat_at: float
    """the event loop ran"""
    consuming_at: float
    """the consumer was active and the group was not rebalancing"""
    idle_at: float
    """there were no records to process, a dependency was unavailable, or the lag was unknown"""
    progress_at: float
    """a record was processed or settled"""
    consumer_thread_alive: bool = True
    """the Kafka client's thread is running"""


def failure_reason(signs: HealthSigns, now: float) -> str:
    """Return why the worker must be restarted; empty while it is live."""
    if now - signs.heartbeat_at > LOOP_TIMEOUT_SECONDS:
        return f"event loop blocked for {now - signs.heartbeat_at:.0f} s"
    if not signs.consumer_thread_alive:
        return "Kafka client thread has ended"
    if now - signs.consuming_at > CONSUMER_TIMEOUT_SECONDS:
        return f"consumer paused, or group rebalancing, for {now - signs.consuming_at:.0f} s"
    stalled = now - max(signs.idle_at, signs.progress_at)
    if stalled > PROGRESS_TIMEOUT_SECONDS:
        return f"no record processed for {stalled:.0f} s although the partitions have lag"
    return ""

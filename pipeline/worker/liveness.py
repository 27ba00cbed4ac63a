"""Whether a worker has hung, from what is seen of it. Pure: times on a clock that never goes back, in seconds.

Never because a neighbour is away: while Elasticsearch or Kafka does not answer, a worker that waits is well.
"""

from dataclasses import dataclass

LOOP_TIMEOUT_SECONDS = 60.0
CONSUMER_TIMEOUT_SECONDS = 300.0
PROGRESS_TIMEOUT_SECONDS = 600.0


@dataclass(slots=True)
class HealthSigns:
    """What is seen; each `…_at` is when it last was so."""

    heartbeat_at: float
    """the event loop turned"""
    consuming_at: float
    """the group was not rebalancing and records were let in"""
    idle_at: float
    """there was nothing to take, a neighbour was away, or nobody could say"""
    progress_at: float
    """a record was taken or settled"""
    consumer_thread_alive: bool = True
    """the thread that speaks to Kafka runs"""


def failure_reason(signs: HealthSigns, now: float) -> str:
    """Why the worker has to be started again; empty while it is well."""
    if now - signs.heartbeat_at > LOOP_TIMEOUT_SECONDS:
        return f"the worker's loop has not turned for {now - signs.heartbeat_at:.0f} s"
    if not signs.consumer_thread_alive:
        return "the thread that speaks to Kafka has ended"
    if now - signs.consuming_at > CONSUMER_TIMEOUT_SECONDS:
        return f"no records are let in, or the group is rebalancing, for {now - signs.consuming_at:.0f} s"
    still = now - max(signs.idle_at, signs.progress_at)
    if still > PROGRESS_TIMEOUT_SECONDS:
        return f"records wait and none was taken or settled for {still:.0f} s"
    return ""

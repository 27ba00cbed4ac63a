"""What the statuses of a worker and of a shipper have in common: identity, settings, problems, latency."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from pipeline import __version__
from pipeline.monitoring import problem
from pipeline.monitoring.problem import Problem, Severity

Series = tuple[float, ...]
"""One value per interval, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """The status of any process.

    `started_at` is in seconds since the epoch, `settings` has those that differ from their defaults, `problems` are by
    descending severity, `state` is the highest one.
    """

    name: str
    version: str = __version__
    started_at: float
    settings: dict[str, str]
    state: Severity = Severity.OK
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """Observed latencies in seconds; quantiles are None without observations, and
    `metrics.BEYOND_BUCKETS` over the last bound of the histogram.

    `count`, `p50` and `p99` are of the last minute, `p99_series` has one value per interval.
    """

    count: int
    p50: float | None
    p99: float | None
    p99_series: tuple[float | None, ...]


Status = TypeVar("Status", bound=ProcessStatus)


def replace_problems(status: Status, problems: Iterable[Problem]) -> Status:
    """The status with these problems."""
    ordered = problem.worst_first(problems)
    return dataclasses.replace(status, problems=ordered, state=problem.worst_severity(ordered))

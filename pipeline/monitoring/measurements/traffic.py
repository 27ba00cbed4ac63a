"""Raw lines and bytes by namespace and container: the top talkers of the last minutes, and the counters of namespaces.

Bounded: names are cut, a window counts so many containers, and so many namespaces have counters of their own; the rest
is summed as one.
"""

from collections.abc import Iterable
from typing import TypeVar

from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import ContainerTraffic, NamespaceTraffic, Traffic

WINDOW_SECONDS = 60.0
MAX_CONTAINERS = 1000
MAX_NAMESPACES = 100
"""With counters of their own."""
MAX_SHOWN = 50
MAX_NAME_CHARACTERS = 253
"""Of a namespace or a pod in Kubernetes; records of other shippers may have longer names."""
OTHER, NONE = "_other", "_none"
"""No namespace has such a name."""

Name = TypeVar("Name", str, tuple[str, str])
Counts = dict[Name, tuple[int, int]]
"""Lines and bytes by name."""


class TrafficCounter:
    """Call `add` for each record, `publish` every few seconds; `current` is what the last call found."""

    def __init__(self, metrics: Metrics, now: float) -> None:
        self._metrics = metrics
        self._unpublished: Counts[str] = {}
        self._counted: set[str] = set()  # namespaces with counters of their own
        self._previous: Counts[tuple[str, str]] = {}
        self._window: Counts[tuple[str, str]] = {}
        self._since = self._window_since = now
        self.current = Traffic(0.0, 0, 0, (), ())

    def add(self, namespace: str, container: str, lines: int, size: int) -> None:
        """Count the raw lines and bytes of a record."""
        namespace = namespace[:MAX_NAME_CHARACTERS] or NONE
        name = namespace, container[:MAX_NAME_CHARACTERS]
        full = len(self._unpublished) >= MAX_CONTAINERS and namespace not in self._unpublished
        _add(self._unpublished, OTHER if full else namespace, lines, size)
        full = len(self._window) >= MAX_CONTAINERS and name not in self._window
        _add(self._window, (OTHER, OTHER) if full else name, lines, size)

    def publish(self, now: float) -> None:
        """Increase the counters, and summarise the last one to two minutes; `now` in monotonic seconds."""
        for namespace, (lines, size) in sorted(self._unpublished.items(), key=lambda item: -item[1][1]):
            if namespace not in (OTHER, NONE) and len(self._counted) < MAX_NAMESPACES:
                self._counted.add(namespace)
            label = namespace if namespace in self._counted or namespace == NONE else OTHER
            self._metrics.inc("crisp_worker_namespace_lines", lines, log_namespace=label)
            self._metrics.inc("crisp_worker_namespace_bytes", size, log_namespace=label)
        self._unpublished = {}
        containers = dict(self._previous)
        for name, (lines, size) in self._window.items():
            _add(containers, name, lines, size)
        rows = [ContainerTraffic(*name, *counts) for name, counts in containers.items()]
        self.current = summarise(now - self._since, rows, MAX_SHOWN)
        if now - self._window_since >= WINDOW_SECONDS:
            self._previous, self._window = self._window, {}
            self._since, self._window_since = self._window_since, now


def summarise(seconds: float, rows: Iterable[ContainerTraffic], limit: int) -> Traffic:
    """Sum traffic by container and by namespace; those with the most bytes first, `limit` of each."""
    containers: Counts[tuple[str, str]] = {}
    namespaces: Counts[str] = {}
    for row in rows:
        _add(containers, (row.namespace, row.container), row.lines, row.bytes)
        _add(namespaces, row.namespace, row.lines, row.bytes)
    return Traffic(
        seconds,
        sum(lines for lines, _ in namespaces.values()),
        sum(size for _, size in namespaces.values()),
        tuple(NamespaceTraffic(name, *counts) for name, counts in _largest(namespaces, limit)),
        tuple(ContainerTraffic(*name, *counts) for name, counts in _largest(containers, limit)),
    )


def _largest(counts: Counts[Name], limit: int) -> list[tuple[Name, tuple[int, int]]]:
    return sorted(counts.items(), key=lambda item: (-item[1][1], item[0]))[:limit]


def _add(counts: Counts[Name], name: Name, lines: int, size: int) -> None:
    before = counts.get(name, (0, 0))
    counts[name] = before[0] + lines, before[1] + size

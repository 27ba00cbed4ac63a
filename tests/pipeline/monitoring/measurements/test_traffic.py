"""Lines and bytes by namespace and container: summed, bounded, never lost."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring.measurements import traffic
from pipeline.monitoring.measurements.traffic import NONE, OTHER, TrafficCounter
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import ContainerTraffic, NamespaceTraffic

NAMESPACE_BYTES = "crisp_worker_namespace_bytes"


def test_largest_namespace_and_container_are_first() -> None:
    counter = TrafficCounter(Metrics(WORKER), 0.0)
    for namespace, container, size in (("shop", "app", 5), ("shop", "db", 9), ("kube", "dns", 13), ("shop", "app", 6)):
        counter.add(namespace, container, 1, size)
    counter.publish(10.0)

    current = counter.current
    assert (current.seconds, current.lines, current.bytes) == (10.0, 4, 33)
    assert current.namespaces == (NamespaceTraffic("shop", 3, 20), NamespaceTraffic("kube", 1, 13))
    assert current.containers[:2] == (ContainerTraffic("kube", "dns", 1, 13), ContainerTraffic("shop", "app", 2, 11))


def test_window_forgets_what_is_older_than_two_minutes() -> None:
    counter = TrafficCounter(Metrics(WORKER), 0.0)
    counter.add("old", "app", 1, 1)
    counter.publish(60.0)
    counter.add("new", "app", 1, 2)
    counter.publish(100.0)
    assert {row.namespace for row in counter.current.namespaces} == {"old", "new"}
    assert counter.current.seconds == 100.0

    counter.publish(120.0)
    counter.publish(125.0)
    assert [row.namespace for row in counter.current.namespaces] == ["new"]
    assert counter.current.seconds == 65.0


def test_only_the_first_namespaces_have_counters_of_their_own_the_largest_first() -> None:
    metrics = Metrics(WORKER)
    counter = TrafficCounter(metrics, 0.0)
    for number in range(traffic.MAX_NAMESPACES + 50):
        counter.add(f"n-{number}", "app", 1, 1 + number)
    counter.publish(5.0)
    counter.add("late", "app", 1, 10_000)
    counter.add("", "file.log", 1, 7)
    counter.publish(10.0)

    values = metrics.values_by_label(NAMESPACE_BYTES, "log_namespace")
    assert len(values) == traffic.MAX_NAMESPACES + 2
    assert "n-149" in values
    assert "n-0" not in values
    assert values[OTHER] == sum(1 + number for number in range(50)) + 10_000
    assert values[NONE] == 7


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300), st.integers(0, 9)), max_size=50))
def test_counters_add_up_and_names_are_bounded(records: list[tuple[str, str, int]]) -> None:
    metrics = Metrics(WORKER)
    counter = TrafficCounter(metrics, 0.0)
    for namespace, container, size in records:
        counter.add(namespace, container, 1, size)
    counter.publish(1.0)

    assert metrics.total(NAMESPACE_BYTES) == counter.current.bytes == sum(size for _, _, size in records)
    assert metrics.total("crisp_worker_namespace_lines") == counter.current.lines == len(records)
    assert all(len(row.namespace + row.container) <= 2 * 253 for row in counter.current.containers)


def test_containers_beyond_the_limit_are_summed() -> None:
    counter = TrafficCounter(Metrics(WORKER), 0.0)
    for number in range(3 * traffic.MAX_CONTAINERS):
        counter.add("shop", f"app-{number}", 1, 1)
    counter.publish(1.0)

    assert counter.current.containers[0] == ContainerTraffic(OTHER, OTHER, 2000, 2000)
    assert counter.current.lines == 3 * traffic.MAX_CONTAINERS

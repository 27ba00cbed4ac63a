"""A node with 200 pods for an hour, a fifth of them hostile; Kafka and Elasticsearch are killed and restarted.

`python -m tests.faults.soak [--minutes 60]`: a real shipper and worker, with the memory limits of `deploy/base` by
control groups where this machine allows them, on real servers and a small Kubernetes API. Each line of the honest pods
is looked up by its number at the end. The table goes to `build/soak.md`; the exit code is 0 if all is as promised.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError

from pipeline.demo.child_process import ChildProcess
from pipeline.demo.searcher import Searcher
from pipeline.kafka import consumer_lag
from pipeline.local import elasticsearch, kafka
from pipeline.local.stack import Stack, temporary_stack
from tests.faults.honest import NUMBER, HonestPods
from tests.faults.hostile import HUGE_LABELS, KINDS, HostilePod
from tests.faults.memory_group import MemoryGroup, memory_group
from tests.integration.flow import Flow
from tests.support import fake_kubernetes_api as kubernetes_api
from tests.support.fake_kubernetes_api import KubernetesApi, make_pod

TABLE = Path(__file__).parent.parent.parent / "build" / "soak.md"
SHIPPER_MIB, WORKER_MIB = 160, 512
"""Limits of `deploy/base`."""
HOSTILE_SHARE = 5
HOSTILE_SECONDS = 3.0
BOOKMARK_SECONDS = 30.0
SETTLE_SECONDS = 60.0
"""After a restart, lines are not among those whose latency is judged."""
DRAIN_SECONDS = 3600.0
QUIET_ROUNDS = 6
"""Without any record to index: what is missing then does not come any more."""
MIN_LATENCIES = 100
START_SECONDS = 600.0
"""Until a server is ready: a machine that soaks for an hour has other work, too."""


@dataclass
class Results:
    """What the table shows."""

    written: int = 0
    indexed: int = 0
    missing: int = 0
    doubled: int = 0
    restarts_of_servers: int = 0
    restarts_of_ours: list[str] = field(default_factory=list)
    unindexed: int = 0
    drained: float = 0.0


class Soak:
    """One run."""

    def __init__(self, stack: Stack, directory: Path, api: KubernetesApi, groups: tuple[MemoryGroup, MemoryGroup]):
        self.stack = stack
        self.api = api
        self.flow = Flow(
            stack,
            directory,
            CRISP_INDEX_PREFIX="logs",
            CRISP_KUBECONFIG=str(api.kubeconfig()),
            CRISP_REDACT="card bearer jwt email",
            CRISP_KAFKA_SESSION_TIMEOUT_SECONDS="10",
            CRISP_LOG_LEVEL="warning",
        )
        self.flow.set_up()
        self.groups = dict(zip((self.flow.shipper, self.flow.worker), groups, strict=True))
        for process, group in self.groups.items():
            process.prefix = group.prefix
        self.results = Results()
        self.always, self.undisturbed = Searcher(stack.address.es_url), Searcher(stack.address.es_url)
        self._disturbed_until = 0.0
        self._stopped = threading.Event()
        self.failure: BaseException | None = None

    def add_pods(self, api: KubernetesApi, pods: int) -> None:
        """Add the pods to the API server and to the disk."""
        honest = {f"honest-{number}": str(uuid.uuid4()) for number in range(pods - pods // HOSTILE_SHARE)}
        hostile = {f"hostile-{number}": str(uuid.uuid4()) for number in range(pods // HOSTILE_SHARE)}
        kinds = list(KINDS)
        self.hostile: list[HostilePod] = []
        for number, (name, uid) in enumerate((honest | hostile).items()):
            kind = kinds[number % len(kinds)] if name in hostile else "honest"
            namespace = "honest" if name in honest else "hostile"
            pod = make_pod(name, namespace=namespace, app=name, **(HUGE_LABELS if kind == "huge-labels" else {}))
            pod["metadata"]["uid"] = uid
            api.put(pod)
            if name in hostile:
                container = self.flow.logs / f"hostile_{name}_{uid}" / "app"
                container.mkdir(parents=True)
                self.hostile.append(HostilePod(container, kind, number))
        self.honest = HonestPods(self.flow.logs, honest)

    def run(self, seconds: float, rate: float) -> None:
        """Write, break and restart; then wait until nothing is missing, and compare."""
        for process in self.groups:
            process.start()
        tasks = (lambda: self._write_honest(rate), self._write_hostile, self._measure)
        threads = [threading.Thread(target=self._guard, args=(task,), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        restarts, bookmark_at = self._restarts(seconds), 0.0
        while time.monotonic() - started < seconds and self.failure is None:
            if time.monotonic() > bookmark_at:
                self.api.bookmark()  # as an API server sends them
                bookmark_at = time.monotonic() + BOOKMARK_SECONDS
            if (due := next(iter(restarts), None)) and time.monotonic() - started > due[0]:
                self._restart(restarts.pop(0)[1])
            self._supervise()
            time.sleep(0.5)
        self._stopped.set()
        for thread in threads:
            thread.join()
        self.honest.close()
        if self.failure is not None:
            raise self.failure
        self._drain()

    def _guard(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = error

    def _write_honest(self, rate: float) -> None:
        started, written = time.monotonic(), 0
        while not self._stopped.wait(0.05):
            while written < (time.monotonic() - started) * rate:
                self.honest.write()
                written += 1

    def _write_hostile(self) -> None:
        while not self._stopped.wait(HOSTILE_SECONDS / len(self.hostile)):
            pod = self.hostile.pop(0)
            self.hostile.append(pod)
            pod.attack()

    def _measure(self) -> None:
        watched_at = 0.0
        while not self._stopped.wait(0.2):
            now = time.monotonic()
            if now - watched_at > 1:
                watched_at = now
                self.always.watch(self.honest.last_trace)
                if now > self._disturbed_until:
                    self.undisturbed.watch(self.honest.last_trace)
            if now < self._disturbed_until:
                self.undisturbed._watched.clear()
            self.always.poll()
            self.undisturbed.poll()

    def _restarts(self, seconds: float) -> list[tuple[float, str]]:
        """When which server is killed: each twice."""
        return [(seconds * (number + 1) / 6, ("kafka", "elasticsearch")[number % 2]) for number in range(4)]

    def _restart(self, name: str) -> None:
        self._disturbed_until = time.monotonic() + 3600
        getattr(self.stack, name).kill()
        getattr(self.stack, f"start_{name}")()
        getattr(self.stack, f"wait_{name}")()
        self.results.restarts_of_servers += 1
        self._disturbed_until = time.monotonic() + SETTLE_SECONDS
        print(f"{time.strftime('%H:%M:%S')} {name} restarted, {sum(self.honest.written)} lines", flush=True)

    def _supervise(self) -> None:
        """Restart what has ended, as the kubelet does, and measure."""
        for process in self.groups:
            process.measure()
            if (code := process.poll()) is not None:
                self.results.restarts_of_ours.append(f"{process.name} ended with {code}")
                print(process.output.read_text()[-3000:], flush=True)
                process.start()

    def _drain(self) -> None:
        started = time.monotonic()
        results = self.results
        results.written = sum(self.honest.written)
        quiet = 0
        while time.monotonic() - started < DRAIN_SECONDS and quiet < QUIET_ROUNDS:
            results.unindexed = self._count_unindexed_records()
            quiet = 0 if results.unindexed else quiet + 1
            try:
                found = Counter(self._numbers())
            except OSError:  # busy
                quiet = 0
                time.sleep(5)
                continue
            expected = {(pod, number) for pod, count in enumerate(self.honest.written) for number in range(count)}
            results.missing = len(expected - found.keys())
            results.doubled = sum(found.values()) - len(found)
            results.indexed = len(found)
            self._supervise()
            if not results.missing:
                break
            time.sleep(5)
        results.drained = time.monotonic() - started

    def _count_unindexed_records(self) -> int:
        """The records in Kafka that the group has not committed; many while Kafka does not tell."""
        try:
            lags = asyncio.run(consumer_lag.read_lag(self.flow.settings, ages=False))
        except (KafkaError, OSError):
            return 1
        return sum(lag.records for lag in lags.values())

    def _numbers(self) -> Iterator[tuple[int, int]]:
        """The numbers of all lines of honest pods in all documents."""
        query = {"term": {"kubernetes.namespace": "honest"}}
        body = {"size": 5000, "sort": ["_doc"], "_source": ["message"], "query": query}
        self.flow.request("logs-*/_refresh", method="POST")
        page = self.flow.request("logs-*/_search?scroll=2m", body)
        while hits := page["hits"]["hits"]:
            for hit in hits:
                for pod, number in NUMBER.findall(hit["_source"]["message"]):
                    yield int(pod), int(number)
            page = self.flow.request("_search/scroll", {"scroll": "2m", "scroll_id": page["_scroll_id"]})

    def stop(self) -> None:
        """Stop everything that runs."""
        self._stopped.set()
        self.flow.stop()
        for pod in self.hostile:
            pod.close()

    def table(self, minutes: float, pods: int) -> str:
        """The results as Markdown."""
        results = self.results
        rows = [
            ("minutes; pods, of which hostile", f"{minutes:g}; {pods}, {pods // HOSTILE_SHARE}"),
            ("lines of honest pods: written", f"{results.written:,}"),
            ("searchable, missing, doubled", f"{results.indexed:,}, {results.missing}, {results.doubled}"),
            ("waited after the last line; records not indexed then", f"{results.drained:.0f} s; {results.unindexed}"),
            ("documents of hostile pods", self._count_hostile_documents()),
            ("kills of Kafka and Elasticsearch", f"{results.restarts_of_servers}"),
            (f"p99, but for {SETTLE_SECONDS:.0f} s after the kills", _p99(self.undisturbed)),
            ("p99 of all", _p99(self.always)),
            ("restarts of ours", "; ".join(results.restarts_of_ours) or "0"),
            *(self._memory_row(process, group) for process, group in self.groups.items()),
        ]
        return "\n".join(["| soak | |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows)]) + "\n"

    def _count_hostile_documents(self) -> str:
        query = {"query": {"term": {"kubernetes.namespace": "hostile"}}}
        try:
            return f"{self.flow.request('logs-*/_count', query)['count']:,}"
        except OSError as error:
            return f"unknown: {error}"

    def _memory_row(self, process: ChildProcess, group: MemoryGroup) -> tuple[str, str]:
        name = f"{process.name}: peak resident memory; kills at the limit"
        limit = (
            f"of {group.limit_mib} MiB" if group.path else f"(no control groups here: {group.limit_mib} MiB not set)"
        )
        return name, f"{process.rss_mib:.0f} {limit}; {group.kills()}"

    def is_passed(self) -> bool:
        """Whether all is as promised."""
        results = self.results
        harmless = not (results.missing or results.doubled or results.restarts_of_ours)
        is_small = all(process.rss_mib < group.limit_mib for process, group in self.groups.items())
        is_fast = len(self.undisturbed.latencies) >= MIN_LATENCIES and self.undisturbed.percentiles()[1] < 5
        return harmless and is_small and is_fast and results.written > 0


def _p99(searcher: Searcher) -> str:
    known = len(searcher.latencies) >= MIN_LATENCIES
    return f"{searcher.percentiles()[1]:.1f} s" if known else "unknown: too few lines were searchable meanwhile"


def main() -> int:
    """Run, print and save the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--rate", type=float, default=160.0, help="lines of all honest pods a second")
    arguments = parser.parse_args()
    kafka.START_SECONDS = elasticsearch.START_SECONDS = START_SECONDS
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crisp-soak-")))
        (directory / "api").mkdir()
        api = stack.enter_context(kubernetes_api.running(directory / "api"))
        servers = stack.enter_context(temporary_stack())
        shipper_group = stack.enter_context(memory_group("ship", SHIPPER_MIB))
        worker_group = stack.enter_context(memory_group("worker", WORKER_MIB))
        soak = Soak(servers, directory, api, (shipper_group, worker_group))
        soak.add_pods(api, arguments.pods)
        try:
            soak.run(arguments.minutes * 60, arguments.rate)
            table = soak.table(arguments.minutes, arguments.pods)
        finally:
            soak.stop()
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table)
    print(table)
    return 0 if soak.is_passed() else 1


if __name__ == "__main__":
    sys.exit(main())

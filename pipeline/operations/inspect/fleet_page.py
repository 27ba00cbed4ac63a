"""The page of the fleet: all shippers and workers, what is critical first; and the same as JSON. Pure.

Each figure links to the page of the process that has it, at `process/ADDRESS/` below this page.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.monitoring import formatting, worker_problems
from pipeline.monitoring.formatting import byte_rate, count, duration, percent, quantity, rate, size, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import page, runbook_page, shipper_page, worker_page
from pipeline.monitoring.pages.html import Child, Html, table, tag
from pipeline.monitoring.pages.page import Origin
from pipeline.monitoring.problem import Severity
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.worker_status import WorkerStatus
from pipeline.operations.inspect.fleet import FleetSummary, Process, ProcessCounts, Talker, UnknownProcess
from pipeline.operations.inspect.overview import ElasticsearchOverview, KafkaOverview, Overview, SourcedProblem

MAX_PROBLEMS = 20
MAX_PROCESSES = 50
MAX_JSON_ROWS = 200
PROCESS_PATH = "process/"
HEALTHY = "No shipper and no worker has a problem."
BACK = ("the fleet", "../../")


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process: its state, its first problem (empty without one), and the path of its page."""

    kind: str
    name: str
    address: str
    state: Severity
    problem: str
    path: str


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The state of the fleet, as /fleet.json: at most MAX_JSON_ROWS problems and processes, the worst first.

    `problem_count` and `process_count` are the numbers of all; `unknown` are processes that did not answer, of which
    `fleet.unknown` is the number. Times are in seconds since the epoch.
    """

    time: float
    state: Severity
    problem_count: int
    problems: tuple[SourcedProblem, ...]
    kafka: KafkaOverview
    elasticsearch: ElasticsearchOverview
    fleet: FleetSummary
    process_count: int
    processes: tuple[ProcessRow, ...]
    unknown: tuple[UnknownProcess, ...]


def process_path(address: str) -> str:
    """The path of a process's page, relative to that of the fleet."""
    return f"{PROCESS_PATH}{quote(address, safe='')}/"


def worst_first(processes: Iterable[Process]) -> list[Process]:
    """The processes by descending severity, workers before shippers."""
    return sorted(processes, key=lambda entry: (entry.status.state, entry.status.kind == "worker"), reverse=True)


def report(overview: Overview) -> FleetReport:
    """The bounded report of an overview."""
    rows = worst_first(overview.processes)[:MAX_JSON_ROWS]
    return FleetReport(
        time=overview.time,
        state=overview.state,
        problem_count=len(overview.problems),
        problems=overview.problems[:MAX_JSON_ROWS],
        kafka=overview.kafka,
        elasticsearch=overview.elasticsearch,
        fleet=overview.fleet,
        process_count=len(overview.processes),
        processes=tuple(
            ProcessRow(
                entry.status.kind,
                entry.status.name,
                entry.address,
                entry.status.state,
                entry.status.problems[0].message if entry.status.problems else "",
                process_path(entry.address),
            )
            for entry in rows
        ),
        unknown=overview.unknown_processes[:MAX_JSON_ROWS],
    )


def render_process(process: Process, read_at: float, query: str) -> Response:
    """The own page of a process, from the status that was read."""
    origin = Origin(read_at, BACK)
    if isinstance(process.status, WorkerStatus):
        return worker_page.render(process.status, query, origin)
    return shipper_page.render(process.status, query, origin)


def render(overview: Overview, stale_seconds: float, query: str) -> Response:
    """The page of an overview; it was read `stale_seconds` ago where that is too long, else 0."""
    fleet = overview.fleet
    problems = [_problem(group) for group in group_problems(overview.problems)[:MAX_PROBLEMS]]
    more = len(group_problems(overview.problems)) - MAX_PROBLEMS
    if more > 0:
        problems.append(tag("li", f"{quantity(more, 'more kind')} of problems, none worse: see the JSON."))
    state = overview.state
    if stale_seconds:
        state = Severity.CRITICAL
        text = f"The state is not known: it was read {duration(stale_seconds)} ago, and not since."
        problems.insert(0, tag("li", text, " ", runbook_page.link("instance-down")))
    sections = [
        page.health(state, problems, HEALTHY),
        _tiles(overview),
        page.pair(_slowest(fleet), _rejections(fleet)),
        page.pair(_talkers("namespace", fleet.namespaces), _talkers("container", fleet.containers)),
        *_unknown(overview),
        _processes(overview),
    ]
    notes = [_totals(fleet)]
    return page.frame(
        state, "crisp fleet", ("fleet", ""), notes, overview.time, (("JSON", "fleet.json"),), sections, query
    )


def group_problems(problems: Iterable[SourcedProblem]) -> list[list[SourcedProblem]]:
    """Group the problems of the same kind of many processes, in their order."""
    groups: dict[tuple[Severity, str, str], list[SourcedProblem]] = {}
    for problem in problems:
        groups.setdefault((problem.severity, problem.runbook, problem.source.partition(" ")[0]), []).append(problem)
    return list(groups.values())


def _problem(group: list[SourcedProblem]) -> Html:
    first = group[0]
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    source = _link(first.address, first.source) if first.address else first.source
    return tag("li", tag("b", source, more), f": {first.message} ", runbook_page.link(first.runbook))


def _link(address: str, title: str) -> Html:
    return tag("a", title, href=process_path(address))


def _totals(fleet: FleetSummary) -> str:
    unknown = f", {count(fleet.unknown)} that do not answer" if fleet.unknown else ""
    return f"{quantity(fleet.shippers.total, 'shipper')}, {quantity(fleet.workers.total, 'worker')}{unknown}"


def _tiles(overview: Overview) -> Html:
    fleet, kafka = overview.fleet, overview.kafka
    unknown = kafka.lag_records is None
    lag = "unknown" if kafka.lag_records is None else quantity(kafka.lag_records, "record")
    waits = (
        "nothing waits" if kafka.lag_records == 0 else f"the oldest waits for {formatting.age(kafka.oldest_seconds)}"
    )
    slowest = fleet.slowest_nodes[:1]
    reporting = fleet.workers.total > 0
    return page.tiles(
        page.tile("Shippers", _counts(fleet.shippers), _states(fleet.shippers), alarm=fleet.shippers.critical > 0),
        page.tile("Workers", _counts(fleet.workers), _states(fleet.workers), alarm=fleet.workers.critical > 0),
        page.tile(
            "Without an answer",
            count(fleet.unknown),
            "their state is not known" if fleet.unknown else "every process answers",
            alarm=fleet.unknown > 0,
        ),
        page.tile(
            "Lines",
            rate(fleet.lines_per_second) if reporting else "unknown",
            f"{size(fleet.bytes_per_second)}/s from Kafka" if reporting else "no worker answers",
        ),
        page.tile("Consumer lag", lag, "it cannot be read" if unknown else waits, alarm=unknown),
        page.tile(
            "Slowest node",
            _link(slowest[0].address, slowest[0].node) if slowest else "none" if fleet.shippers.total else "unknown",
            f"its oldest line waits for {duration(slowest[0].seconds)}" if slowest else _none(fleet.shippers),
        ),
        page.tile("Elasticsearch", overview.elasticsearch.status),
    )


def _none(shippers: ProcessCounts) -> str:
    return "no node has unread lines" if shippers.total else "unknown: no shipper answers"


def _counts(counts: ProcessCounts) -> Child:
    return count(counts.total)


def _states(counts: ProcessCounts) -> str:
    return f"{count(counts.critical)} critical, {count(counts.warning)} with a warning"


def _slowest(fleet: FleetSummary) -> Html:
    rows = [(_link(row.address, row.node), duration(row.seconds), size(row.bytes)) for row in fleet.slowest_nodes[:10]]
    if not rows:
        return page.section("Slowest nodes", tag("p", f"{_none(fleet.shippers).capitalize()}."))
    return page.section("Slowest nodes", table(("node", "oldest line waits", "unread"), rows))


def _rejections(fleet: FleetSummary) -> Html:
    rows = [
        (_link(row.address, row.workload), count(row.documents), utc_time(row.last_at), row.reason)
        for row in fleet.rejections[:10]
    ]
    if not rows:
        known = fleet.workers.total > 0
        return page.section("Rejected documents", tag("p", "None since start." if known else "Unknown."))
    return page.section("Rejected documents", table(("workload", "documents", "last", "reason"), rows))


def _talkers(kind: str, talkers: tuple[Talker, ...]) -> Html:
    title = f"Top talkers by {kind}"
    if not talkers:
        return page.section(title, tag("p", "No worker has received lines in the last minute."))
    rows = [
        (
            _link(row.address, f"{row.namespace}/{row.container}" if row.container else row.namespace),
            rate(row.lines_per_second),
            byte_rate(row.bytes_per_second),
            percent(row.ratio),
        )
        for row in talkers[:10]
    ]
    return page.section(title, table((kind, "lines", "bytes", "share"), rows))


def _unknown(overview: Overview) -> list[Html]:
    if not overview.unknown_processes:
        return []
    rows = [(entry.address, entry.reason) for entry in overview.unknown_processes[:MAX_PROCESSES]]
    more = len(overview.unknown_processes) - MAX_PROCESSES
    note = f"And {count(more)} more: see the JSON." if more > 0 else ""
    return [page.section("Without an answer", table(("process", "reason"), rows), note=note)]


def _processes(overview: Overview) -> Html:
    if not overview.processes:
        return page.section("Processes", tag("p", "None answers."))
    rows = [
        (
            _link(entry.address, entry.status.name),
            entry.status.kind,
            page.HEADLINES[entry.status.state],
            entry.status.problems[0].message if entry.status.problems else _figures(entry.status),
        )
        for entry in worst_first(overview.processes)[:MAX_PROCESSES]
    ]
    more = len(overview.processes) - MAX_PROCESSES
    note = f"The first {MAX_PROCESSES}; {count(more)} more, none of them worse." if more > 0 else ""
    return page.section("Processes", table(("name", "kind", "state", "first problem, or figures"), rows), note=note)


def _figures(status: WorkerStatus | ShipperStatus) -> str:
    if isinstance(status, ShipperStatus):
        return f"{quantity(status.open_files, 'file')}, {size(status.backlog_bytes)} unread"
    records = quantity(worker_problems.lag_records(status), "record")
    return f"{quantity(len(status.partitions), 'partition')}, {records} behind"

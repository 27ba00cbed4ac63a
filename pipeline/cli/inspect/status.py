"""`crisp status`: the state of all shippers and workers, of Kafka and of Elasticsearch."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.cli.terminal import cluster, output
from pipeline.cli.terminal.json_text import encode_json
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.errors import CrispError, UsageError
from pipeline.monitoring import formatting, log, worker_problems
from pipeline.monitoring.http_server import MAX_PORT
from pipeline.monitoring.printable import printable
from pipeline.monitoring.problem import Severity
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.status import Latency, ProcessStatus, Series
from pipeline.monitoring.worker_status import WorkerStatus
from pipeline.operations.inspect import cluster_overview, overview
from pipeline.operations.inspect.fleet_page import group_problems
from pipeline.operations.inspect.fleet_server import FleetServer
from pipeline.operations.inspect.overview import Overview, SourcedProblem

REFRESH_SECONDS = 2.0
MAX_ROWS = 20
MAX_TALKERS = 3
SERVE_ADDRESS = "127.0.0.1:9104"
COLOURS = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.OK: "green"}
LABELS = {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.OK: "healthy"}
Gatherer = Callable[[], Coroutine[Any, Any, Overview]]
EXAMPLE = """examples:
  crisp status            a live view on a terminal, until Ctrl-C; else once
  crisp status --once --strict && echo healthy
  crisp status --kube --namespace logging     by a kubeconfig, through the Kubernetes API server alone
  crisp status --kube --serve                 the page of the fleet, at http://127.0.0.1:9104/, until Ctrl-C

exit code 0: no problem is critical; 1: one is (with --strict: or there is a warning)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", help="print the state once, also on a terminal")
    parser.add_argument("--json", action="store_true", help="print the complete state as one JSON object")
    parser.add_argument(
        "--serve",
        metavar="ADDRESS",
        nargs="?",
        const=SERVE_ADDRESS,
        default="",
        help=f"serve the page of the fleet and /fleet.json at HOST:PORT; without a value at {SERVE_ADDRESS}",
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 also for warnings")
    cluster.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Return 0 if no problem is critical (`--strict`: no problem at all), else 1."""
    effective = load_settings()
    log.configure_cli()
    console = output.console()
    gather = _gatherer(args, effective)
    if args.serve:
        if args.json or args.once or args.strict:
            raise UsageError("--serve takes neither --once nor --json nor --strict: it serves until it is stopped")
        return asyncio.run(_serve(gather, *_parse_address(args.serve)))
    if args.json or args.once or not console.is_terminal:
        snapshot = asyncio.run(gather())
        if args.json:
            print(encode_json(snapshot))
        else:
            console.print(render(snapshot))
        return exit_code(snapshot.state, strict=args.strict)
    return exit_code(asyncio.run(_live(gather, console)), strict=args.strict)


def _gatherer(args: argparse.Namespace, effective: Settings) -> Gatherer:
    """Return what makes an overview: of the status pages in the settings, or with --kube of the cluster's pods."""
    client = cluster.connect(args, effective)
    if client is None:
        return lambda: overview.gather(effective)
    return lambda: asyncio.to_thread(cluster_overview.gather, client, args.namespace)


def _parse_address(address: str) -> tuple[str, int]:
    """Return host and port. Raises UsageError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        raise UsageError(f"--serve: {address!r} is not HOST:PORT, such as {SERVE_ADDRESS} or [::]:9104")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def _serve(gather: Gatherer, host: str, port: int) -> int:
    """Serve the page of the fleet until Ctrl-C or SIGTERM; return 0. Raises CrispError if nothing can listen."""
    server = FleetServer(gather)
    if not server.start(host, port):
        raise CrispError(f"cannot serve at port {port} of {host}: see above")
    name = f"[{host}]" if ":" in host else host
    print(f"The page of the fleet: http://{name}:{port}/", flush=True)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await server.run()
    return 0


def exit_code(state: Severity, *, strict: bool) -> int:
    """Return the exit code for a state."""
    return 1 if state is Severity.CRITICAL or (strict and state is Severity.WARNING) else 0


async def _live(gather: Gatherer, console: Console) -> Severity:
    state = Severity.OK
    with Live(console=console, auto_refresh=False, screen=False) as live:
        try:
            while True:
                snapshot = await gather()
                state = snapshot.state
                live.update(render(snapshot), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)
        except asyncio.CancelledError:  # Ctrl-C ends the live view
            return state


def render(snapshot: Overview) -> RenderableType:
    """Return the overview as it is printed."""
    head = Text(LABELS[snapshot.state], style=COLOURS[snapshot.state])
    head.append(f"   {formatting.utc_time(snapshot.time)}", style="dim")
    return Group(
        head,
        _render_problems(snapshot.problems),
        _render_servers(snapshot),
        *_render_fleet(snapshot),
        *_render_processes(snapshot),
    )


def _render_problems(problems: tuple[SourcedProblem, ...]) -> RenderableType:
    """List each problem once: with its first source, and the number of others that have it."""
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    for group in group_problems(problems):
        severity, runbook = group[0].severity, group[0].runbook
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        text = Text(f"{printable(group[0].source)}{more}: {printable(group[0].message)}")
        text.append(f"  crisp runbook {runbook}", style="dim")
        table.add_row(Text(" !" if severity is Severity.CRITICAL else " ·", style=COLOURS[severity]), text)
    return table


def _render_servers(snapshot: Overview) -> RenderableType:
    kafka = snapshot.kafka
    backlog = "lag unknown"
    if kafka.lag_records is not None:
        oldest = formatting.age(kafka.oldest_seconds)
        backlog = f"{formatting.count(kafka.lag_records)} records wait"
        backlog += f", the oldest for {oldest}" if kafka.lag_records else ""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(Text("Kafka", style="bold"), backlog)
    table.add_row(Text("Elasticsearch", style="bold"), printable(snapshot.elasticsearch.status))
    return table


def _render_fleet(snapshot: Overview) -> list[RenderableType]:
    """Return the slowest node, top talkers, and rejections by workload."""
    fleet = snapshot.fleet
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for node in fleet.slowest_nodes[:1]:
        unread = f"{formatting.size(node.bytes)} unread, the oldest line waits for {formatting.duration(node.seconds)}"
        table.add_row(Text("slowest node", style="bold"), Text(printable(node.node)), unread)
    for kind, talkers in (("namespace", fleet.namespaces), ("container", fleet.containers)):
        for number, row in enumerate(talkers[:MAX_TALKERS]):
            title = Text(f"top talkers by {kind}" if number == 0 else "", style="bold")
            name = f"{row.namespace}/{row.container}" if row.container else row.namespace
            share = f"{formatting.percent(row.ratio)} of the bytes, {formatting.size(row.bytes_per_second)}/s"
            table.add_row(title, Text(printable(name)), f"{share}, {formatting.rate(row.lines_per_second, 'lines')}")
    for number, rejected in enumerate(fleet.rejections[:MAX_TALKERS]):
        title = Text("rejected" if number == 0 else "", style="bold")
        documents = formatting.quantity(rejected.documents, "document")
        table.add_row(title, Text(printable(rejected.workload)), documents)
    return [table] if table.row_count else []


def _render_processes(snapshot: Overview) -> list[RenderableType]:
    if not snapshot.processes and not snapshot.unknown_processes:
        return [Text("No processes: CRISP_STATUS_URLS is empty, or --kube found no pods.", style="dim")]
    statuses = [process.status for process in snapshot.processes]
    shippers = [status for status in statuses if isinstance(status, ShipperStatus)]
    workers = [status for status in statuses if isinstance(status, WorkerStatus)]
    return [
        *_render_table("shippers", shippers, _SHIPPER_COLUMNS),
        *_render_table("workers", workers, _WORKER_COLUMNS),
    ]


Status = TypeVar("Status", bound=ProcessStatus)
Column = tuple[str, Callable[[Status], str]]


def _render_table(title: str, statuses: list[Status], columns: tuple[Column[Status], ...]) -> list[RenderableType]:
    """Return the table of these processes, the worst first; nothing if there are none."""
    if not statuses:
        return []
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("name", overflow="fold")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    for status in sorted(statuses, key=lambda status: status.state, reverse=True)[:MAX_ROWS]:
        table.add_row(
            Text(printable(status.name), style=COLOURS[status.state]), *(value(status) for _, value in columns)
        )
    if len(statuses) <= MAX_ROWS:
        return [table]
    return [table, Text(f"and {len(statuses) - MAX_ROWS} more, none of them worse; --json has all", style="dim")]


def _latest(rate: Series) -> float:
    return rate[-1] if rate else 0.0


def _lag(status: WorkerStatus) -> str:
    return (
        "unknown" if worker_problems.is_lag_unknown(status) else formatting.count(worker_problems.lag_records(status))
    )


def _p99(latency: Latency) -> str:
    return formatting.latency(latency.p99)


_SHIPPER_COLUMNS: tuple[Column[ShipperStatus], ...] = (
    ("files", lambda status: formatting.count(status.open_files)),
    ("shipped", lambda status: f"{formatting.size(_latest(status.history.rates.acked_bytes))}/s"),
    ("backlog", lambda status: formatting.size(status.backlog_bytes)),
    ("oldest", lambda status: formatting.duration(status.backlog_age_seconds)),
    ("in Kafka\np99", lambda status: _p99(status.history.latency.acked)),
)
_WORKER_COLUMNS: tuple[Column[WorkerStatus], ...] = (
    ("partitions", lambda status: str(len(status.partitions))),
    ("events", lambda status: formatting.rate(_latest(status.history.rates.events))),
    ("lag", _lag),
    ("indexed\np99", lambda status: _p99(status.history.latency.indexed)),
    ("searchable\np99", lambda status: _p99(status.history.latency.searchable)),
    ("rejected", lambda status: formatting.count(sum(row.count for row in status.rejections))),
    ("dead", lambda status: formatting.count(worker_problems.dead_letters(status.totals))),
)

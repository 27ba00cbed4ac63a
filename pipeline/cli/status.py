"""`crisp status`: the state of all shippers and workers, of Kafka and of Elasticsearch."""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.cli.terminal import output
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.monitoring import formatting, log
from pipeline.monitoring.health import Severity, parse_severity
from pipeline.monitoring.printable import printable
from pipeline.operations.inspect import overview

REFRESH_SECONDS = 2.0
MAX_ROWS = 20
COLOURS = {"critical": "bold red", "warning": "yellow", "ok": "green"}
LABELS = {"critical": "critical", "warning": "warning", "ok": "healthy"}
EXAMPLE = """examples:
  crisp status            a live view on a terminal, until Ctrl-C; else once
  crisp status --once --strict && echo healthy

exit code 0: no problem is critical; 1: one is (with --strict: or there is a warning)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", help="print the state once, also on a terminal")
    parser.add_argument("--json", action="store_true", help="print the complete state as one JSON object")
    parser.add_argument("--strict", action="store_true", help="exit code 1 also for warnings")


def run(args: argparse.Namespace) -> int:
    """Return 0 if no problem is critical (`--strict`: no problem at all), else 1."""
    effective = load_settings()
    log.configure_cli()
    console = output.console()
    if args.json or args.once or not console.is_terminal:
        snapshot = asyncio.run(overview.gather(effective))
        if args.json:
            print(orjson.dumps(snapshot).decode())
        else:
            console.print(render(snapshot))
        return exit_code(snapshot["state"], strict=args.strict)
    return exit_code(asyncio.run(_live(effective, console)), strict=args.strict)


def exit_code(state: str, *, strict: bool) -> int:
    """Return the exit code for a state."""
    return 1 if state == "critical" or (strict and state == "warning") else 0


async def _live(effective: Settings, console: Console) -> str:
    state = Severity.OK.label
    with Live(console=console, auto_refresh=False, screen=False) as live:
        try:
            while True:
                snapshot = await overview.gather(effective)
                state = snapshot["state"]
                live.update(render(snapshot), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)
        except asyncio.CancelledError:  # Ctrl-C ends the live view
            return state


def render(snapshot: dict[str, Any]) -> RenderableType:
    """Return the snapshot as it is printed."""
    state = snapshot["state"]
    head = Text(LABELS[state], style=COLOURS[state])
    head.append(f"   {formatting.utc_time(snapshot['time'])}", style="dim")
    return Group(
        head, _render_problems(snapshot["troubles"]), _render_servers(snapshot), *_render_tables(snapshot["parts"])
    )


def _render_problems(problems: list[dict[str, str]]) -> RenderableType:
    """List each problem once: with its first source, and the number of others that have it."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for problem in problems:
        groups.setdefault((problem["level"], problem["runbook"], problem["of"].partition(" ")[0]), []).append(problem)
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    for (severity, runbook, _), group in groups.items():
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        text = Text(f"{printable(group[0]['of'])}{more}: {printable(group[0]['words'])}")
        text.append(f"  crisp runbook {runbook}", style="dim")
        table.add_row(Text(" !" if severity == "critical" else " ·", style=COLOURS[severity]), text)
    return table


def _render_servers(snapshot: dict[str, Any]) -> RenderableType:
    kafka = snapshot["kafka"]
    backlog = "lag unknown"
    if kafka["lag"] is not None:
        oldest = f", the oldest for {formatting.duration(kafka['oldest_seconds'])}" if kafka["lag"] else ""
        backlog = f"{formatting.count(kafka['lag'])} records wait{oldest}"
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(Text("Kafka", style="bold"), backlog)
    table.add_row(Text("Elasticsearch", style="bold"), printable(snapshot["elasticsearch"]["status"]))
    return table


def _render_tables(processes: list[dict[str, Any]]) -> list[RenderableType]:
    known = [process for process in processes if process["kind"] != "unknown"]
    tables: list[RenderableType] = []
    if not processes:
        tables.append(Text("No status pages to read: CRISP_STATUS_URLS is empty.", style="dim"))
    for kind, columns in (("shipper", _SHIPPER_COLUMNS), ("worker", _WORKER_COLUMNS)):
        rows = sorted(
            (process for process in known if process["kind"] == kind),
            key=lambda process: -parse_severity(process["state"]),
        )
        if rows:
            table = Table(title=f"{kind}s", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
            table.add_column("name", overflow="fold")
            for title, _ in columns:
                table.add_column(title, justify="right")
            for process in rows[:MAX_ROWS]:
                name = Text(printable(process["name"]), style=COLOURS[process["state"]])
                table.add_row(name, *(value(process) for _, value in columns))
            tables.append(table)
            if len(rows) > MAX_ROWS:
                tables.append(Text(f"and {len(rows) - MAX_ROWS} more, none of them worse; --json has all", style="dim"))
    return tables


def _latest_rate(process: dict[str, Any], name: str) -> float:
    values = process["history"]["rates"][name]
    return float(values[-1]) if values else 0.0


def _p99(process: dict[str, Any], stage: str) -> str:
    return str(formatting.duration(process["history"]["ages"][stage]["p99"]))


Column = tuple[str, Callable[[dict[str, Any]], str]]

_SHIPPER_COLUMNS: tuple[Column, ...] = (
    ("files", lambda process: str(formatting.count(process["open_files"]))),
    ("shipped", lambda process: f"{formatting.size(_latest_rate(process, 'crisp_shipper_acked_bytes'))}/s"),
    ("backlog", lambda process: str(formatting.size(process["unread_bytes"]))),
    ("oldest", lambda process: str(formatting.duration(process["unread_seconds"]))),
    ("in Kafka\np99", lambda process: _p99(process, "acked")),
)
_WORKER_COLUMNS: tuple[Column, ...] = (
    ("partitions", lambda process: str(len(process["partitions"]))),
    ("events", lambda process: str(formatting.rate(_latest_rate(process, "crisp_worker_events")))),
    ("lag", lambda process: str(formatting.count(sum(row["records"] for row in process["lag"])))),
    ("indexed\np99", lambda process: _p99(process, "indexed")),
    ("searchable\np99", lambda process: _p99(process, "searchable")),
    ("rejected", lambda process: str(formatting.count(sum(row["count"] for row in process["refusals"])))),
    (
        "dead",
        lambda process: str(
            formatting.count(process["documents"]["dead_lettered"] + process["records"].get("invalid", 0))
        ),
    ),
)

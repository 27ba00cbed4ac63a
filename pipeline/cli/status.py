"""`crisp status`: where the flow stands, of all shippers and workers at once."""

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
from pipeline.config import settings
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
  crisp status --once --strict && echo well

exit code 0: nothing is bad; 1: something is (with --strict: or is worth a look)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--once", action="store_true", help="print it once, also on a terminal")
    parser.add_argument("--json", action="store_true", help="print all facts as one JSON object")
    parser.add_argument("--strict", action="store_true", help="exit code 1 also for what is only worth a look")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 while nothing is bad."""
    effective = settings.load()
    log.configure_cli()
    console = output.console()
    if args.json or args.once or not console.is_terminal:
        found = asyncio.run(overview.gather(effective))
        if args.json:
            print(orjson.dumps(found).decode())
        else:
            console.print(render(found))
        return exit_code(found["state"], strict=args.strict)
    return exit_code(asyncio.run(_live(effective, console)), strict=args.strict)


def exit_code(state: str, *, strict: bool) -> int:
    """The exit code for a state."""
    return 1 if state == "critical" or (strict and state == "warning") else 0


async def _live(effective: Settings, console: Console) -> str:
    state = Severity.OK.label
    with Live(console=console, auto_refresh=False, screen=False) as live:
        try:
            while True:
                found = await overview.gather(effective)
                state = found["state"]
                live.update(render(found), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)
        except asyncio.CancelledError:  # Ctrl-C is how one leaves it
            return state


def render(snapshot: dict[str, Any]) -> RenderableType:
    """The whole as it is shown."""
    state = snapshot["state"]
    head = Text(LABELS[state], style=COLOURS[state])
    head.append(f"   {formatting.utc_time(snapshot['time'])}", style="dim")
    return Group(
        head, _render_problems(snapshot["troubles"]), _render_servers(snapshot), *_render_tables(snapshot["parts"])
    )


def _render_problems(problems: list[dict[str, str]]) -> RenderableType:
    """Each thing that is wrong once, by whom it is told first, and how many more say the same."""
    alike: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for trouble in problems:
        alike.setdefault((trouble["level"], trouble["runbook"], trouble["of"].partition(" ")[0]), []).append(trouble)
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    for (severity, runbook, _), same in alike.items():
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        words = Text(f"{printable(same[0]['of'])}{more}: {printable(same[0]['words'])}")
        words.append(f"  crisp runbook {runbook}", style="dim")
        table.add_row(Text(" !" if severity == "critical" else " ·", style=COLOURS[severity]), words)
    return table


def _render_servers(found: dict[str, Any]) -> RenderableType:
    kafka = found["kafka"]
    waits = "cannot be asked"
    if kafka["lag"] is not None:
        oldest = f", the oldest for {formatting.duration(kafka['oldest_seconds'])}" if kafka["lag"] else ""
        waits = f"{formatting.count(kafka['lag'])} records wait{oldest}"
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(Text("Kafka", style="bold"), waits)
    table.add_row(Text("Elasticsearch", style="bold"), printable(found["elasticsearch"]["status"]))
    return table


def _render_tables(parts: list[dict[str, Any]]) -> list[RenderableType]:
    known = [part for part in parts if part["kind"] != "unknown"]
    made: list[RenderableType] = []
    if not parts:
        made.append(Text("No status pages are asked: CRISP_STATUS_URLS names none.", style="dim"))
    for kind, columns in (("shipper", _SHIPPER_COLUMNS), ("worker", _WORKER_COLUMNS)):
        rows = sorted((part for part in known if part["kind"] == kind), key=lambda part: -parse_severity(part["state"]))
        if rows:
            table = Table(title=f"{kind}s", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
            table.add_column("name", overflow="fold")
            for title, _ in columns:
                table.add_column(title, justify="right")
            for part in rows[:MAX_ROWS]:
                name = Text(printable(part["name"]), style=COLOURS[part["state"]])
                table.add_row(name, *(value(part) for _, value in columns))
            made.append(table)
            if len(rows) > MAX_ROWS:
                made.append(Text(f"and {len(rows) - MAX_ROWS} more, none of them worse; --json has all", style="dim"))
    return made


def _latest_rate(part: dict[str, Any], name: str) -> float:
    line = part["history"]["rates"][name]
    return float(line[-1]) if line else 0.0


def _p99(part: dict[str, Any], stage: str) -> str:
    return str(formatting.duration(part["history"]["ages"][stage]["p99"]))


Column = tuple[str, Callable[[dict[str, Any]], str]]

_SHIPPER_COLUMNS: tuple[Column, ...] = (
    ("files", lambda part: str(formatting.count(part["open_files"]))),
    ("shipped", lambda part: f"{formatting.size(_latest_rate(part, 'crisp_shipper_acked_bytes'))}/s"),
    ("unread", lambda part: str(formatting.size(part["unread_bytes"]))),
    ("oldest", lambda part: str(formatting.duration(part["unread_seconds"]))),
    ("in Kafka\np99", lambda part: _p99(part, "acked")),
)
_WORKER_COLUMNS: tuple[Column, ...] = (
    ("partitions", lambda part: str(len(part["partitions"]))),
    ("events", lambda part: str(formatting.rate(_latest_rate(part, "crisp_worker_events")))),
    ("lag", lambda part: str(formatting.count(sum(row["records"] for row in part["lag"])))),
    ("indexed\np99", lambda part: _p99(part, "indexed")),
    ("searchable\np99", lambda part: _p99(part, "searchable")),
    ("refused", lambda part: str(formatting.count(sum(row["count"] for row in part["refusals"])))),
    (
        "dead",
        lambda part: str(formatting.count(part["documents"]["dead_lettered"] + part["records"].get("invalid", 0))),
    ),
)

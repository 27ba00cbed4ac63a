"""`crisp tail`: follow documents as they become searchable."""

import argparse
import asyncio
import difflib
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from pipeline.cli.terminal.json_text import encode_json
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.contract.ecs import FIELDS
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError, UsageError
from pipeline.monitoring import log
from pipeline.monitoring.printable import printable
from pipeline.operations.inspect import filter_query
from pipeline.operations.inspect.follower import Follower, Hit

POLL_SECONDS = 1.0
LEVEL_STYLES = {
    "trace": "dim",
    "debug": "dim",
    "info": "green",
    "notice": "cyan",
    "warn": "yellow",
    "error": "red",
    "critical": "bold red",
    "fatal": "bold white on red",
}
EXAMPLE = """examples:
  crisp tail
  crisp tail app=payments 'level>=warn' timeout
  crisp tail ns=shop 'pod!=web-*' 'http.response.status_code>=500' -n 50 --json

names: app, level, ns, pod, container, node, stream, trace, or any field; operators = != >= <= > <"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "filter", nargs="*", metavar="FILTER", help="NAME=VALUE, or words of the message; all must match"
    )
    parser.add_argument(
        "-n", type=int, default=10, metavar="N", help="print the newest N existing documents first (10)"
    )
    parser.add_argument("--no-follow", action="store_true", help="exit after these")
    parser.add_argument("--json", action="store_true", help="print Elasticsearch hits, one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print documents until Ctrl-C; return 0. Raises CrispError."""
    query = filter_query.build_query(args.filter)
    if not 0 <= args.n <= 10_000:
        raise UsageError(f"-n {args.n}: from 0 to 10,000")
    effective = load_settings()
    log.configure_cli()
    asyncio.run(_tail(effective, args, query))
    return 0


async def _tail(effective: Settings, args: argparse.Namespace, query: JsonObject) -> None:
    client = connect(effective)
    console = Console(highlight=False, soft_wrap=True)
    try:
        follower = Follower(client, f"{effective.index_prefix}-*", query)
        await follower.start()
        written = filter_query.filtered_fields(args.filter)
        for name in await follower.unknown_fields(written):
            names = (*filter_query.FIELD_ALIASES, *FIELDS)
            close = difflib.get_close_matches(written[name], names, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            print(f"crisp: no document has the field {printable(written[name])}{hint}", file=sys.stderr, flush=True)
        shown = await follower.latest(args.n) if args.n else []
        _show(shown, console, as_json=args.json)
        printed = {hit["_id"] for hit in shown}  # documents between the start and this search
        reported = ""
        while not args.no_follow:
            await asyncio.sleep(POLL_SECONDS)
            try:
                hits = await follower.poll()
            except CrispError as error:
                reported = _report_change(f"{error}; retrying", reported)
                continue
            if reported:
                _report_change("Elasticsearch answers again", reported)
                reported = ""
            _show([hit for hit in hits if hit["_id"] not in printed], console, as_json=args.json)
            printed.clear()
    finally:
        await client.close()


def _report_change(message: str, last: str) -> str:
    """Print the message unless it is the last one reported; return it."""
    if message != last:
        print(f"crisp: {message}", file=sys.stderr, flush=True)
    return message


def _show(hits: list[Hit], console: Console, *, as_json: bool) -> None:
    for hit in hits:
        if as_json:
            sys.stdout.write(encode_json({key: hit[key] for key in ("_index", "_id", "_source")}) + "\n")
        else:
            console.print(format_document(hit["_source"]))
    sys.stdout.flush()


def _time_of_day(source: JsonObject) -> str:
    """Return the time of a document to milliseconds, whatever its precision; as it is written if it is no time."""
    written = str(source.get("@timestamp", ""))
    time_ns = cri.nanoseconds(written.encode())
    if time_ns is None:
        return printable(written)[:12]
    return datetime.fromtimestamp(time_ns // 10**6 / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def format_document(source: JsonObject) -> Text:
    """Return a document as text: time, level, service, pod, message; with control characters escaped."""
    level = str(source.get("log.level", ""))
    text = Text()  # without a style of its own: it would apply to every part
    text.append(f"{_time_of_day(source):12} ", style="dim")
    text.append(f"{printable(level)[:8]:8} ", style=LEVEL_STYLES.get(level, "default"))
    text.append(printable(str(source.get("service.name", "-"))), style="bold")
    pod = f"{source.get('kubernetes.namespace', '')}/{source.get('kubernetes.pod.name', '')}"
    text.append(f" {printable(pod)} ", style="dim")
    message = printable(str(source.get("message", "")))
    text.append(message.replace("\n", "\n    "))
    return text

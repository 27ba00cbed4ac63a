"""`crisp audit`: is every event there? From log files, or from what Kafka still holds."""

import argparse
import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.cli.terminal import time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.progress import Progress
from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError, UsageError
from pipeline.monitoring import log
from pipeline.operations.audit import log_directory, tally
from pipeline.operations.audit.audit import Audit
from pipeline.operations.audit.tally import Tally

KAFKA = "kafka"
EXAMPLE = """examples:
  crisp audit --from kafka --since 24h
  crisp audit --from /var/log/pods --pods <(kubectl get pods -A -o json)

exit code 0: nothing is missing and nothing doubled; 1: something is, or the audit cannot be made; 130: interrupted"""
CLEAN_ROWS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--from", dest="source", required=True, metavar="kafka|DIR", help="the raw topic, or log files")
    parser.add_argument("--since", metavar="TIME", help=f"only what came since {time_argument.HELP}")
    parser.add_argument(
        "--pods", type=Path, help="Pod objects in JSON: labels and annotations that a DIR does not tell"
    )
    parser.add_argument(
        "--min-age", type=float, default=60.0, metavar="SECONDS", help="an event not older may still be on its way (60)"
    )
    parser.add_argument("--json", action="store_true", help="print the accounts as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if nothing is missing or doubled, 1 if anything is, 130 when interrupted."""
    effective = settings.load()
    log.configure_cli()
    if args.source != KAFKA and not Path(args.source).is_dir():
        raise UsageError(f"--from {args.source}: neither a directory nor the word {KAFKA}")
    if args.source == KAFKA and args.pods:
        raise UsageError("--pods: only for a directory; what Kafka holds tells its pods itself")
    try:
        accounts, interrupted = asyncio.run(_audit(effective, args))
    except KafkaError as fault:
        raise CrispError(f"Kafka at {effective.kafka_brokers} does not tell what it holds: {fault!r}") from fault
    whole = tally.total(accounts)
    if args.json:
        body = {**whole.as_dict(), "interrupted": interrupted, "accounts": [one.as_dict() for one in accounts]}
        print(orjson.dumps(body).decode())
    else:
        _show(accounts, whole, interrupted=interrupted)
    return 130 if interrupted else 1 if whole.missing or whole.doubled else 0


async def _audit(effective: Settings, args: argparse.Namespace) -> tuple[list[Tally], bool]:
    since = time_argument.parse_time_argument("--since", args.since, datetime.now(UTC)) if args.since else 0.0
    pods = log_directory.read_pods(args.pods) if args.pods else {}
    client = connect(effective)
    try:
        with Progress() as progress:

            def tell(what: str, done: float, size: float, looked_up: int) -> None:
                if progress.due:
                    share = f"{100 * done / size:.0f} %" if size else ""
                    progress.update(f"{share} read, {looked_up:,} documents looked up: {what}")

            made = Audit(effective, client, tell, args.min_age)
            on_interrupt(made.stop.set)
            if args.source == KAFKA:
                accounts = await made.audit_kafka(round(since * 1000) if args.since else None)
            else:
                accounts = await made.audit_directory(Path(args.source), pods, since)
    finally:
        await client.close()
    return sorted(accounts, key=lambda one: one.name), made.stop.is_set()


def _show(tallies: list[Tally], total: Tally, *, interrupted: bool) -> None:
    console = Console()
    loud = [one for one in tallies if not one.is_clean]
    quiet = [one for one in tallies if one.is_clean]
    table = Table("source", "events", "found", "missing", "what else became of them", box=None, pad_edge=False)
    for one in [*loud, *quiet[:CLEAN_ROWS], total]:
        missing = f"[red]{one.missing:,}[/red]" if one.missing else "0"
        table.add_row(escape(one.name), f"{one.events:,}", f"{one.found:,}", missing, escape(_other_results(one)))
    console.print(table)
    if len(quiet) > CLEAN_ROWS:
        console.print(f"{len(quiet) - CLEAN_ROWS:,} more sources are found whole (--json has them all)")
    for one in tallies:
        for example in one.sample:
            about = ", ".join(f"{name} {value}" for name, value in example.items() if name != "verdict")
            console.print(f"{example['verdict']}: {about}", highlight=False, markup=False)
    console.print(_conclusion(total, interrupted=interrupted), highlight=False)


def _other_results(one: Tally) -> str:
    parts = [f"{number:,} dropped ({rule})" for rule, number in one.dropped.items()]
    figures = (("dead", "dead-lettered"), ("gaps", "gaps"), ("waiting", "on their way"), ("doubled", "doubled"))
    parts += [f"{getattr(one, name):,} {words}" for name, words in figures if getattr(one, name)]
    return "; ".join([*parts, *_unverified(one.unjudged)])


def _unverified(reasons: Counter[str]) -> list[str]:
    return [f"not judged: {number:,} {reason}" for reason, number in reasons.items()]


def _conclusion(total: Tally, *, interrupted: bool) -> str:
    if interrupted:
        return "[yellow]interrupted: this is what was read until then[/yellow]"
    if total.missing or total.doubled:
        return f"[red]{total.missing:,} events are missing, {total.doubled:,} doubled[/red]"
    if not total.events:
        return "[yellow]there was nothing to look up[/yellow]"
    if total.waiting or total.unjudged:
        return "[yellow]nothing is missing, but not all could be judged[/yellow]"
    return "[green]every event is accounted for[/green]"

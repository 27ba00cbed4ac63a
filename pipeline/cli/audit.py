"""`crisp audit`: verify that every event of log files or of the raw topic is indexed exactly once."""

import argparse
import asyncio
import dataclasses
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from aiokafka.errors import KafkaError
from rich.markup import escape
from rich.table import Table

from pipeline.cli.terminal import output, time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.json_text import encode_json
from pipeline.cli.terminal.progress import Progress
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError, UsageError
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import log
from pipeline.operations.audit import log_directory, tally
from pipeline.operations.audit.audit import Audit
from pipeline.operations.audit.rules_in_force import UNJUDGED
from pipeline.operations.audit.tally import Tally
from pipeline.rules import loader

KAFKA = "kafka"
EXAMPLE = """examples:
  crisp audit --from kafka --since 24h
  crisp audit --from kafka --rules rules.yaml --rules rules-of-last-week.yaml
  crisp audit --from /var/log/pods --pods <(kubectl get pods -A -o json)

exit code 0: no event is missing or duplicated; 1: some are or may be, or the audit failed; 130: interrupted"""
CLEAN_ROWS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="kafka|DIR",
        help="source: the raw topic, or a directory of log files",
    )
    parser.add_argument("--since", metavar="TIME", help=f"only events written since {time_argument.HELP}")
    parser.add_argument(
        "--rules",
        action="append",
        default=[],
        metavar="FILE",
        help="a rules file of the workers, instead of CRISP_RULES_FILE; again for rules that were in force earlier",
    )
    parser.add_argument("--pods", type=Path, help="Pod objects in JSON: labels and annotations for the logs in DIR")
    parser.add_argument(
        "--min-age", type=float, default=60.0, metavar="SECONDS", help="count younger events as pending (60)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0 if no event is missing or duplicated, 1 if some are, 130 when interrupted."""
    effective = load_settings()
    log.configure_cli()
    if args.source != KAFKA and not Path(args.source).is_dir():
        raise UsageError(f"--from {args.source}: neither a directory nor {KAFKA}")
    if args.source == KAFKA and args.pods:
        raise UsageError("--pods: only for a directory; records in Kafka contain their pod metadata")
    if not 0 <= args.min_age < math.inf:
        raise UsageError(f"--min-age {args.min_age:g}: not a number of seconds from 0")
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules[0])
    try:
        tallies, interrupted = asyncio.run(_audit(effective, args))
    except KafkaError as error:
        raise CrispError(f"cannot read Kafka at {effective.kafka_address}: {describe_error(error)}") from error
    total = tally.total(tallies)
    if args.json:
        body = {**total.as_json(), "interrupted": interrupted, "sources": [entry.as_json() for entry in tallies]}
        print(encode_json(body))
    else:
        _show(tallies, total, interrupted=interrupted)
    return 130 if interrupted else 1 if total.missing or total.duplicated or _unjudged(total) else 0


def _unjudged(total: Tally) -> int:
    """Return the number of events that may be missing, or dropped by rules that the audit does not have."""
    return sum(count for reason, count in total.unverifiable.items() if reason.startswith(UNJUDGED))


async def _audit(effective: Settings, args: argparse.Namespace) -> tuple[list[Tally], bool]:
    since = time_argument.parse_time_argument("--since", args.since, datetime.now(UTC)) if args.since else 0.0
    pods = log_directory.read_pods(args.pods) if args.pods else {}
    client = connect(effective)
    try:
        with Progress() as progress:

            def show_progress(source: str, done: float, size: float, looked_up: int) -> None:
                if progress.due:
                    share = f"{100 * done / size:.0f} %" if size else ""
                    progress.update(f"{share} read, {looked_up:,} documents looked up: {source}")

            earlier = [loader.load_file(dataclasses.replace(effective, rules_file=path)) for path in args.rules[1:]]
            audit = Audit(effective, client, show_progress, args.min_age, [parsed.ruleset for parsed in earlier])
            on_interrupt(audit.stop.set)
            if args.source == KAFKA:
                tallies = await audit.audit_kafka(round(since * 1000) if args.since else None)
            else:
                tallies = await audit.audit_directory(Path(args.source), pods, since)
    finally:
        await client.close()
    return sorted(tallies, key=lambda entry: entry.name), audit.stop.is_set()


def _show(tallies: list[Tally], total: Tally, *, interrupted: bool) -> None:
    console = output.console()
    incomplete = [entry for entry in tallies if not entry.is_clean]
    clean = [entry for entry in tallies if entry.is_clean]
    table = Table(box=None, pad_edge=False)
    for column in ("source", "events", "indexed", "missing", "other results"):
        table.add_column(column, overflow="fold")
    for entry in [*incomplete, *clean[:CLEAN_ROWS], total]:
        missing = f"[red]{entry.missing:,}[/red]" if entry.missing else "0"
        other = escape(_other_results(entry))
        table.add_row(escape(entry.name), f"{entry.events:,}", f"{entry.indexed:,}", missing, other)
    console.print(table)
    if len(clean) > CLEAN_ROWS:
        console.print(f"{len(clean) - CLEAN_ROWS:,} more sources are complete (--json lists all)")
    for entry in tallies:
        for example in entry.examples:
            details = ", ".join(f"{name} {value}" for name, value in example.items() if name != "verdict")
            console.print(f"{example['verdict']}: {details}", highlight=False, markup=False)
    console.print(_conclusion(total, interrupted=interrupted), highlight=False)


def _other_results(entry: Tally) -> str:
    results = [f"{number:,} dropped ({rule})" for rule, number in entry.dropped.items()]
    counts = (
        (entry.dead_lettered, "dead-lettered"),
        (entry.gaps, "gaps"),
        (entry.pending, "pending"),
        (entry.duplicated, "duplicated"),
    )
    results += [f"{number:,} {label}" for number, label in counts if number]
    return "; ".join([*results, *_unverified(entry.unverifiable)])


def _unverified(reasons: Counter[str]) -> list[str]:
    return [f"not verified: {number:,} {reason}" for reason, number in reasons.items()]


def _conclusion(total: Tally, *, interrupted: bool) -> str:
    if interrupted:
        return "[yellow]interrupted: the result is partial[/yellow]"
    if total.missing or total.duplicated:
        return f"[red]{total.missing:,} events are missing, {total.duplicated:,} duplicated[/red]"
    if _unjudged(total):
        return (
            f"[red]{_unjudged(total):,} events that are not indexed cannot be judged by today's rules[/red]:"
            " give the rules of their time with --rules"
        )
    if not total.events:
        return "[yellow]no events to look up[/yellow]"
    if total.pending or total.unverifiable:
        return "[yellow]no event is missing, but some could not be verified[/yellow]"
    return "[green]every event is accounted for[/green]"

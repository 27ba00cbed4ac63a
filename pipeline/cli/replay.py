"""`crisp replay`: index a time range of the raw topic again. What is there already is not touched."""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from pipeline.cli.terminal import time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.progress import Progress
from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.errors import CrispError, UsageError
from pipeline.monitoring import log
from pipeline.operations.reindex.replay import Replay, count_by_rules
from pipeline.rules import loader as rules_file

EXAMPLE = """examples:
  crisp replay --since 24h
  crisp replay --since 2026-11-24T10:00:00Z --until 2026-11-24T11:00:00Z --json

A second time creates nothing. The workers go on meanwhile: their consumer group is not touched.
exit code 0: done; 1: it cannot be done, or the rules have changed; 130: interrupted (run it again for the rest)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--since", required=True, metavar="TIME", help=f"from then on: {time_argument.HELP}")
    parser.add_argument("--until", metavar="TIME", help="up to then; without: to the end of the topic as it is now")
    parser.add_argument(
        "--allow-changed-rules",
        "--rules-changed",
        action="store_true",
        help="index with the current rules, although other rules may have applied before",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when the range is done, 130 when interrupted; raises CrispError else."""
    effective = settings.load()
    log.configure_cli()
    now = datetime.now(UTC)
    since = round(time_argument.parse_time_argument("--since", args.since, now) * 1000)
    until = round(time_argument.parse_time_argument("--until", args.until, now) * 1000) if args.until else None
    if until is not None and until <= since:
        raise UsageError("--until is not later than --since")
    try:
        outcome = asyncio.run(_replay(effective, since, until, allow_changed_rules=args.allow_changed_rules))
    except KafkaError as fault:
        raise CrispError(f"Kafka at {effective.kafka_brokers} does not tell what it holds: {fault!r}") from fault
    if args.json:
        print(orjson.dumps(outcome).decode())
    else:
        _show(outcome)
    return 130 if outcome["interrupted"] else 0


async def _replay(effective: Settings, since: int, until: int | None, *, allow_changed_rules: bool) -> dict[str, Any]:
    rules = rules_file.load(effective)
    client = connect(effective)
    try:
        if not allow_changed_rules:
            _require_unchanged_rules(
                await count_by_rules(DocumentLookup(client, effective), since, until), rules.digest if rules else ""
            )
        with Progress() as progress:

            def tell(read: int, size: int, outcomes: dict[str, int], trouble: str) -> None:
                if progress.due:
                    words = ", ".join(f"{number:,} {name}" for name, number in outcomes.items() if number)
                    progress.update(f"{read:,} of {size:,} records: {words} {trouble}")

            made = Replay(effective, client, RecordProcessor(effective, rules), tell)
            on_interrupt(made.stop.set)
            return await made.run(since, until)
    finally:
        await client.close()


def _require_unchanged_rules(documents_by_digest: dict[str, int], digest: str) -> None:
    others = {name: number for name, number in documents_by_digest.items() if name != digest}
    if others:
        words = ", ".join(f"{number:,} by {f'rules {name}' if name else 'no rules'}" for name, number in others.items())
        ours = f"rules {digest}" if digest else "no rules"
        raise CrispError(
            f"the rules have changed since: of that time there are documents made {words}; now it is {ours}. What is"
            " there stays as it is, what is absent would be made by the rules of now: say so with --allow-changed-rules"
        )


def _show(outcome: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    words = {
        "records": "records read",
        "records_refused": "records that break the contract (see crisp dead-letters list)",
        "events": "events in them",
        "created": "documents created",
        "fallback": "created in a safe form",
        "extended": "created beside a shorter one",
        "duplicate": "there already",
        "dead_lettered": "dead-lettered",
    }
    for name, text in words.items():
        if outcome[name] or name in ("events", "created", "duplicate"):
            table.add_row(text, f"{outcome[name]:,}")
    for rule, number in outcome["dropped"].items():
        table.add_row(f"dropped ({rule})", f"{number:,}")
    Console().print(table)
    if outcome["interrupted"]:
        print("interrupted: run it again for the rest; what is done is not done twice")

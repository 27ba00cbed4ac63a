"""`crisp dead-letters`: what lies in the dead-letter topic and why; and sending it again."""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from pipeline.cli.terminal import time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.progress import Progress
from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError
from pipeline.kafka import dead_letter_topic
from pipeline.monitoring import log
from pipeline.operations.reindex.dead_letter_retry import DeadLetterRetry
from pipeline.operations.reindex.dead_letter_summary import DeadLetterSummary
from pipeline.rules import loader as rules_file

EXAMPLE = """examples:
  crisp dead-letters list
  crisp dead-letters list --since 7d --json
  crisp dead-letters retry

Nothing is ever taken out of the topic: `retry` looks first which of the letters are searchable by now, and sends the
others as a worker would. A second time it sends only what was refused again.
exit code 0: done; 1: letters were refused again, or it cannot be done; 130: interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", nargs="?", choices=("list", "retry"), default="list")
    parser.add_argument("--since", metavar="TIME", help=f"only letters that came since {time_argument.HELP}")
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit code 0; for `retry` 1 if letters were refused again, 130 when interrupted. Raises CrispError."""
    effective = settings.load()
    log.configure_cli()
    since = (
        round(time_argument.parse_time_argument("--since", args.since, datetime.now(UTC)) * 1000)
        if args.since
        else None
    )
    try:
        if args.action == "list":
            return asyncio.run(_list(effective, since, as_json=args.json))
        return asyncio.run(_retry(effective, since, as_json=args.json))
    except KafkaError as fault:
        raise CrispError(f"{effective.topic_dead} at {effective.kafka_brokers} cannot be read: {fault!r}") from fault


async def _list(effective: Settings, since: int | None, *, as_json: bool) -> int:
    tally, strange = DeadLetterSummary(), 0
    async for letter, place in dead_letter_topic.read_dead_letters(effective, since):
        if letter is None:
            strange += 1
        else:
            tally.add(letter, f"{place.topic}/{place.partition}/{place.offset}")
    rows = tally.rows()
    count = sum(row["count"] for row in rows)
    if as_json:
        print(orjson.dumps({"letters": count, "strange": strange, "reasons": rows}).decode())
    else:
        _show(rows, f"{effective.topic_dead}: {count:,} letters" if count else f"{effective.topic_dead} is empty")
        if strange:
            print(f"{strange:,} records there are no dead letters of crisp's")
    return 0


def _show(rows: list[dict[str, Any]], title: str) -> None:
    print(title)
    for row in rows:
        workloads = ", ".join(f"{number:,} {name or 'unknown'}" for name, number in row["workloads"].items())
        sample = row["sample"]
        times = [
            datetime.fromtimestamp(row[name] / 1000, UTC).isoformat(timespec="seconds") for name in ("first", "last")
        ]
        print(f"\n{row['count']:,} times: {row['reason']}")
        print(f"  of          {workloads}")
        print(f"  records of  {times[0]} to {times[1]}")
        print(f"  one of them {sample['letter']}, its raw record {sample['raw_record']}")
        if sample["id"]:
            print(f"  document    {sample['index']}/{sample['id']}")
        print(f"  because     {sample['reason']}")
        print(f"  it begins   {sample['begins']!r}")


async def _retry(effective: Settings, since: int | None, *, as_json: bool) -> int:
    client = connect(effective)
    try:
        with Progress() as progress:

            def tell(read: int, outcomes: dict[str, int], trouble: str) -> None:
                if progress.due:
                    words = ", ".join(f"{number:,} {name}" for name, number in outcomes.items() if number)
                    progress.update(f"{read:,} letters: {words} {trouble}")

            made = DeadLetterRetry(effective, client, RecordProcessor(effective, rules_file.load(effective)), tell)
            on_interrupt(made.stop.set)
            outcome = await made.run(since)
    finally:
        await client.close()
    if as_json:
        print(orjson.dumps(outcome).decode())
    else:
        sent = outcome["created"] + outcome["fallback"] + outcome["extended"]
        print(f"{outcome['letters']:,} letters: {outcome['duplicate']:,} were searchable before, {sent:,} are now")
        for reason, number in outcome["reasons"].items():
            print(f"{number:,} refused again: {reason}")
    return 130 if outcome["interrupted"] else 1 if outcome["refused_again"] else 0

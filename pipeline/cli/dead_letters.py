"""`crisp dead-letters`: list dead letters by reason, and retry them."""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError

from pipeline.cli.terminal import time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.json_text import encode_json
from pipeline.cli.terminal.progress import Progress
from pipeline.config.environment import load_settings
from pipeline.config.settings import KafkaSettings, Settings
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import log
from pipeline.operations.reindex.dead_letter_retry import DeadLetterRetry
from pipeline.operations.reindex.dead_letter_summary import DeadLetterSummary
from pipeline.rules import loader as rules_loader

EXAMPLE = """examples:
  crisp dead-letters list
  crisp dead-letters list --since 7d --json
  crisp dead-letters retry

`retry` indexes the dead letters that are not searchable yet, as a worker does. It is idempotent, and deletes nothing
from the topic.
exit code 0: done; 1: dead letters were rejected again, or the command failed; 130: interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("action", nargs="?", choices=("list", "retry"), default="list", help="list (default) or retry")
    parser.add_argument("--since", metavar="TIME", help=f"only dead letters produced since {time_argument.HELP}")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0; for `retry` 1 if dead letters were rejected again, 130 when interrupted. Raises CrispError."""
    effective = load_settings()
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
    except KafkaError as error:
        raise CrispError(
            f"{effective.topic_dead} at {effective.kafka_address} cannot be read: {describe_error(error)}"
        ) from error


async def _list(effective: KafkaSettings, since: int | None, *, as_json: bool) -> int:
    summary, unknown = DeadLetterSummary(), 0
    async for letter, position in dead_letter_topic.read_dead_letters(effective, since):
        if letter is None:
            unknown += 1
        else:
            summary.add(letter, f"{position.topic}/{position.partition}/{position.offset}")
    rows = summary.rows()
    count = sum(row["count"] for row in rows)
    if as_json:
        print(encode_json({"dead_letters": count, "invalid_records": unknown, "reasons": rows}))
    else:
        _show(rows, f"{effective.topic_dead}: {count:,} dead letters" if count else f"{effective.topic_dead} is empty")
        if unknown:
            print(f"{unknown:,} records in the topic are not dead letters of crisp")
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
        print(f"  workloads   {workloads}")
        print(f"  produced    {times[0]} to {times[1]}")
        print(f"  example     {sample['dead_letter']}, raw record {sample['raw_record']}")
        if sample["id"]:
            print(f"  document    {sample['index']}/{sample['id']}")
        print(f"  reason      {sample['reason']}")
        print(f"  begins with {sample['begins']!r}")


async def _retry(effective: Settings, since: int | None, *, as_json: bool) -> int:
    client = connect(effective)
    try:
        with Progress() as progress:

            def show_progress(read: int, outcomes: dict[str, int], problem: str) -> None:
                if progress.due:
                    counts = ", ".join(f"{number:,} {name}" for name, number in outcomes.items() if number)
                    progress.update(f"{read:,} dead letters: {counts} {problem}")

            processor = RecordProcessor(effective, rules_loader.load(effective))
            retry = DeadLetterRetry(effective, client, processor, show_progress)
            on_interrupt(retry.stop.set)
            outcome = await retry.run(since)
    finally:
        await client.close()
    if as_json:
        print(encode_json(outcome))
    else:
        indexed = outcome.created + outcome.fallback + outcome.extended
        total, known = outcome.dead_letters, outcome.duplicate
        print(f"{total:,} dead letters: {known:,} were searchable already, {indexed:,} are indexed now")
        for reason, number in outcome.reasons.items():
            print(f"{number:,} rejected again: {reason}")
    return 130 if outcome.interrupted else 1 if outcome.rejected_again else 0

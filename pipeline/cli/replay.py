"""`crisp replay`: re-index a time range of the raw topic. Existing documents are not changed."""

import argparse
import asyncio

from aiokafka.errors import KafkaError
from rich.table import Table

from pipeline.cli.terminal import output, time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.json_text import encode_json
from pipeline.cli.terminal.progress import Progress
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.errors import CrispError
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import log
from pipeline.operations.reindex.replay import Replay, ReplayOutcome, count_by_rules
from pipeline.rules import loader as rules_loader

EXAMPLE = """examples:
  crisp replay --since 24h
  crisp replay --since 2026-11-24T10:00:00Z --until 2026-11-24T11:00:00Z --json

A second run creates nothing. The workers continue: their consumer group is not affected.
exit code 0: done; 1: it failed, or the rules have changed; 130: interrupted (run it again for the rest)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    time_argument.add_range_arguments(parser)
    parser.add_argument(
        "--allow-changed-rules",
        "--rules-changed",
        action="store_true",
        help="index with the current rules, even if other rules were in force before",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0 when the range is indexed, 130 when interrupted. Raises CrispError."""
    effective = load_settings()
    log.configure_cli()
    since, until = time_argument.parse_range(args)
    try:
        outcome = asyncio.run(_replay(effective, since, until, allow_changed_rules=args.allow_changed_rules))
    except KafkaError as error:
        raise CrispError(f"cannot read Kafka at {effective.kafka_address}: {describe_error(error)}") from error
    if args.json:
        print(encode_json(outcome))
    else:
        _show(outcome)
    return 130 if outcome.interrupted else 0


async def _replay(effective: Settings, since: int, until: int | None, *, allow_changed_rules: bool) -> ReplayOutcome:
    rules = rules_loader.load(effective)
    client = connect(effective)
    try:
        if not allow_changed_rules:
            documents_by_digest = await count_by_rules(DocumentLookup(client, effective), since, until)
            _require_unchanged_rules(documents_by_digest, rules.digest if rules else "")
        with Progress() as progress:

            def show_progress(read: int, size: int, outcomes: dict[str, int], problem: str) -> None:
                if progress.due:
                    counts = ", ".join(f"{number:,} {name}" for name, number in outcomes.items() if number)
                    progress.update(f"{read:,} of {size:,} records: {counts} {problem}")

            replay = Replay(effective, client, RecordProcessor(effective, rules), show_progress)
            on_interrupt(replay.stop.set)
            return await replay.run(since, until)
    finally:
        await client.close()


def _require_unchanged_rules(documents_by_digest: dict[str, int], digest: str) -> None:
    others = {name: number for name, number in documents_by_digest.items() if name != digest}
    if others:
        counts = ", ".join(
            f"{number:,} by {f'rules {name}' if name else 'no rules'}" for name, number in others.items()
        )
        current = f"rules {digest}" if digest else "no rules"
        raise CrispError(
            f"the rules have changed: this time range has documents of other rules, {counts}; now it is {current}."
            " Existing documents would not change, missing ones would be made with the current rules: use"
            " --allow-changed-rules to accept this"
        )


def _show(outcome: ReplayOutcome) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = {
        "records read": outcome.records,
        "invalid records (see crisp dead-letters list)": outcome.invalid_records,
        "events in these records": outcome.events,
        "documents created": outcome.created,
        "created in a fallback form": outcome.fallback,
        "created next to a shorter one": outcome.extended,
        "existing documents": outcome.duplicate,
        "dead-lettered": outcome.dead_lettered,
    }
    always = ("events in these records", "documents created", "existing documents")
    for label, number in rows.items():
        if number or label in always:
            table.add_row(label, f"{number:,}")
    for rule, number in outcome.dropped.items():
        table.add_row(f"dropped ({rule})", f"{number:,}")
    output.console().print(table)
    if outcome.interrupted:
        print("interrupted: run it again for the rest; existing documents are skipped")

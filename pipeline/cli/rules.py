"""`crisp rules diff`: what another rules file would change, over the lines that Kafka holds; before a rollout."""

import argparse
import asyncio
import dataclasses

import orjson
from aiokafka.errors import KafkaError
from rich.table import Table

from pipeline.cli.terminal import output, time_argument
from pipeline.cli.terminal.interrupt import on_interrupt
from pipeline.cli.terminal.json_text import encode_json
from pipeline.cli.terminal.progress import Progress
from pipeline.config.environment import load_settings
from pipeline.config.settings import RulesSettings
from pipeline.contract.json_types import JsonObject
from pipeline.errors import CrispError
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import log
from pipeline.operations.rules_diff import CHANGES, Difference, RulesDiff
from pipeline.rules import loader
from pipeline.rules.ruleset import Ruleset

EXAMPLE = """examples:
  crisp rules diff --rules new.yaml
  crisp rules diff --rules new.yaml --old rules.yaml --since 6h --json

Builds the documents of all records of the time range by both rules files, and prints which events the new one drops,
samples out, keeps, routes elsewhere or changes, by rule and workload, with an example of each. Changes nothing: neither
Elasticsearch nor the workers' offsets.
exit code 0: compared; 1: Kafka cannot be read; 2: a rules file is invalid; 130: interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("action", choices=("diff",), help="compare two rules files")
    parser.add_argument("--rules", required=True, metavar="NEW", help="the new rules file")
    parser.add_argument(
        "--old", metavar="OLD", help="the rules file to compare with (default: CRISP_RULES_FILE; if unset, no rules)"
    )
    time_argument.add_range_arguments(parser, since="1d")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0 when the range is compared, 130 when interrupted. Raises CrispError."""
    effective = load_settings()
    log.configure_cli()
    since, until = time_argument.parse_range(args)
    diff = RulesDiff(effective, _load(effective, args.old), _load(effective, args.rules))
    try:
        asyncio.run(_compare(diff, since, until))
    except KafkaError as error:
        raise CrispError(f"cannot read Kafka at {effective.kafka_address}: {describe_error(error)}") from error
    if args.json:
        print(encode_json(_to_json(diff)))
    else:
        _show(diff)
    return 130 if diff.stop.is_set() else 0


def _load(effective: RulesSettings, path: str | None) -> Ruleset | None:
    """Load a rules file, that of the settings if none is named. Raises RulesError."""
    return loader.load(dataclasses.replace(effective, rules_file=path) if path else effective)


async def _compare(diff: RulesDiff, since: int, until: int | None) -> None:
    with Progress() as progress:

        def show_progress(read: int, size: int, differing: int) -> None:
            if progress.due:
                progress.update(f"{read:,} of {size:,} records: {differing:,} events differ")

        on_interrupt(diff.stop.set)
        await diff.run(since, until, show_progress)


def _to_json(diff: RulesDiff) -> JsonObject:
    return {
        "records": diff.records,
        "invalid_records": diff.invalid_records,
        "events": diff.events,
        "differing": diff.differing,
        "totals": {change: diff.totals[change] for change in CHANGES},
        "differences": [difference.to_json() for difference in diff.differences()],
        "interrupted": diff.stop.is_set(),
    }


def _show(diff: RulesDiff) -> None:
    share = f" ({diff.differing / diff.events:.1%})" if diff.events else ""
    print(f"{diff.events:,} events in {diff.records:,} records: {diff.differing:,} differ{share}")
    if diff.invalid_records:
        print(f"{diff.invalid_records:,} invalid records, which a worker dead-letters")
    if diff.totals:
        print(", ".join(f"{diff.totals[change]:,} {change}" for change in CHANGES if diff.totals[change]))
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("change", "rule", "workload", "events", "example"):
            table.add_column(column, justify="right" if column == "events" else "left", overflow="fold")
        for difference in diff.differences():
            table.add_row(
                difference.change,
                output.plain(difference.rule),
                output.plain(difference.workload or "unknown"),
                f"{difference.events:,}",
                output.plain(_describe(difference)),
            )
        output.console().print(table)
    if diff.stop.is_set():
        print("interrupted: the counts are those of the records read so far")


def _describe(difference: Difference) -> str:
    """Return the example in one line: what differs, and the message."""
    sample = difference.sample
    text = str(sample["message"]).replace("\n", " ")
    if "old_index" in sample:
        return f"{sample['old_index']} → {sample['index']}: {text}"
    fields = sample.get("fields", {})
    changes = ", ".join(f"{name}: {_value(old)} → {_value(new)}" for name, (old, new) in fields.items())
    return changes or text


def _value(value: object) -> str:
    return "absent" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()

"""`crisp fields`: which workload logs which field with which types, and what Elasticsearch does with the values."""

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
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import log
from pipeline.operations.inspect.field_ledger import FieldLedger, FieldRow
from pipeline.operations.inspect.field_scan import FieldScan
from pipeline.rules import loader

EXAMPLE = """examples:
  crisp fields
  crisp fields 'http.*' status --all
  crisp fields --since 7d --json

Reads the lines in Kafka and the indices; changes nothing. Without --all only fields with a problem are listed, each
with all workloads that log it, the first one at the top: its values decided the field's type.
exit code 0: done; 1: Kafka or Elasticsearch cannot be read; 130: interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("field", nargs="*", metavar="FIELD", help="only these fields; * is a wildcard")
    time_argument.add_range_arguments(parser, since="1d")
    parser.add_argument("--all", action="store_true", help="also fields without a problem")
    parser.add_argument("--json", action="store_true", help="print all fields as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0 when the range is read, 130 when interrupted. Raises CrispError."""
    effective = load_settings()
    log.configure_cli()
    since, until = time_argument.parse_range(args)
    scan = FieldScan(effective, loader.load(effective), FieldLedger(args.field))
    try:
        asyncio.run(_scan(effective, scan, since, until))
    except KafkaError as error:
        raise CrispError(f"cannot read Kafka at {effective.kafka_address}: {describe_error(error)}") from error
    if args.json:
        print(encode_json(_to_json(scan)))
    else:
        _show(scan, show_all=args.all)
    return 130 if scan.stop.is_set() else 0


async def _scan(effective: Settings, scan: FieldScan, since: int, until: int | None) -> None:
    client = connect(effective)
    try:
        with Progress() as progress:

            def show_progress(read: int, size: int) -> None:
                if progress.due:
                    progress.update(f"{read:,} of {size:,} records: {scan.ledger.documents:,} documents")

            on_interrupt(scan.stop.set)
            await scan.run(client, since, until, show_progress)
    finally:
        await client.close()


def _to_json(scan: FieldScan) -> JsonObject:
    return {
        "records": scan.records,
        "documents": scan.ledger.documents,
        "left_out": scan.ledger.left_out,
        "truncated": scan.truncated,
        "fields": [row.to_json() for row in scan.ledger.rows()],
        "interrupted": scan.stop.is_set(),
    }


def _show(scan: FieldScan, *, show_all: bool) -> None:
    ledger = scan.ledger
    rows, troubled = ledger.rows(), ledger.problems()
    names, workloads = {row.name for row in rows}, {row.workload for row in rows}
    print(
        f"{len(names):,} fields of {len(workloads):,} workloads in {ledger.documents:,} documents:"
        f" {len({row.name for row in troubled}):,} with a problem"
    )
    shown = rows if show_all else troubled
    if shown:
        output.console().print(_table(shown))
    if ledger.left_out:
        print(f"{ledger.left_out:,} values of further fields are not listed: name the fields to list")
    if scan.truncated:
        print("more ignored or rejected documents exist: their counts are lower bounds")
    if scan.stop.is_set():
        print("interrupted: the counts are those of the records read so far")


def _table(rows: list[FieldRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("field", "mapped", "workload", "values", "since", "problem", "example"):
        table.add_column(column, overflow="fold")
    previous = ""
    for row in rows:
        name, previous = ("" if row.name == previous else row.name), row.name
        values = ", ".join(f"{use.values:,} {kind}" for kind, use in row.types.items())
        cells = (name, ", ".join(row.mapped) if name else "", row.workload, values, row.since[:19])
        table.add_row(*map(output.plain, (*cells, "; ".join(row.problems()), _example(row))))
    return table


def _example(row: FieldRow) -> str:
    """Return a document with the problem, or else the first value of each type."""
    if row.examples:
        return ", ".join(row.examples.values())
    return ", ".join(use.value for use in row.types.values())

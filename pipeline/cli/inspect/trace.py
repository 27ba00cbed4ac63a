"""`crisp trace ID`: the steps of one document, from the log file to the search."""

import argparse
import asyncio
from datetime import UTC, datetime

from aiokafka.errors import KafkaError
from rich.table import Column, Table
from rich.text import Text

from pipeline.cli.terminal import output, time_argument
from pipeline.cli.terminal.json_text import encode_json
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch.client import connect
from pipeline.errors import CrispError
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import formatting, log
from pipeline.monitoring.printable import printable
from pipeline.operations.inspect.trace import DocumentTracer, Step

EXAMPLE = """example:
  crisp trace "$(crisp tail -n 1 --no-follow --json | jq -r ._id)"

exit code 0: the document is indexed; 1: not indexed, or unknown"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("id", metavar="ID", help="a document's id (_id)")
    parser.add_argument(
        "--since",
        default="1h",
        metavar="TIME",
        help=f"for a document that is not indexed: search Kafka since {time_argument.HELP} (1h)",
    )
    parser.add_argument("--json", action="store_true", help="print the steps as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0 if the document is in the index, else 1. Raises CrispError."""
    effective = load_settings()
    log.configure_cli()
    since = time_argument.parse_time_argument("--since", args.since, datetime.now(UTC))
    try:
        hit, steps = asyncio.run(_trace(effective, args.id, round(since * 1000)))
    except KafkaError as error:
        raise CrispError(f"cannot read Kafka at {effective.kafka_address}: {describe_error(error)}") from error
    if args.json:
        print(encode_json({"id": args.id, "indexed": bool(hit), "steps": [step._asdict() for step in steps]}))
    else:
        _show(args.id, hit, steps)
    return 0 if hit else 1


async def _trace(effective: Settings, document_id: str, since: int) -> tuple[JsonObject | None, list[Step]]:
    client = connect(effective)
    try:
        tracer = DocumentTracer(effective, client)
        hit = await tracer.find_document(document_id)
        return hit, await tracer.steps(hit) if hit else await tracer.find_unindexed(document_id, since)
    finally:
        await client.close()


def _show(document_id: str, hit: JsonObject | None, steps: list[Step]) -> None:
    console = output.console()
    if not hit:
        where = "found in:" if steps else "not found in Kafka either; use `--since` to search an earlier time"
        console.print(f"No document {printable(document_id)} is in the index; {where}", markup=False)
    table = Table(*[""] * 3, Column(overflow="fold"), box=None, padding=(0, 2, 0, 0), show_header=False)
    first_time = next((step.time for step in steps if step.time is not None), None)
    for step in steps:
        moment, elapsed = "", ""
        if step.time is not None and first_time is not None:
            moment = datetime.fromtimestamp(step.time / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
            elapsed = f"+{formatting.duration(max(0, step.time - first_time) / 1e9)}"
        table.add_row(step.name, moment, elapsed, Text(printable(step.message)))
    if steps:
        console.print(table)
    if hit:
        console.print(printable(str(hit["_source"].get("message", ""))), markup=False, style="dim")

"""`crisp size`: sizes of Kafka, workers and Elasticsearch for a load, from measured figures, with the formulas."""

import argparse
from collections.abc import Iterable

from rich.table import Table

from pipeline.cli.terminal import output
from pipeline.cli.terminal.json_text import encode_json
from pipeline.errors import UsageError
from pipeline.operations import sizing
from pipeline.operations.sizing import MEASURED, Load, Sizing

EXAMPLE = """examples:
  crisp size --nodes 16 --lines-per-second 12
  crisp size --nodes 1000 --containers 40 --lines-per-second 100000 --bytes-per-line 220 --retention-days 7
  crisp size --nodes 1000 --lines-per-second 100000 --json

exit code 0: computed; 2: wrong usage"""

_OPTIONS: tuple[tuple[str, type, object, str], ...] = (
    ("--containers", int, 30, "containers on a node"),
    ("--bytes-per-line", float, 200.0, "bytes of a line in the log file"),
    ("--retention-days", float, 14.0, "days that documents are kept"),
    ("--topic-hours", float, 72.0, "hours that logs-raw is kept"),
    ("--peak", float, 3.0, "peak load, as a multiple of the average"),
    ("--replicas", int, 1, "replicas of each shard"),
    ("--brokers", int, 3, "Kafka brokers"),
    ("--topic-replication", int, 3, "copies of each partition"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--nodes", type=int, required=True, metavar="N", help="nodes of the cluster")
    parser.add_argument(
        "--lines-per-second", type=float, required=True, metavar="R", help="lines of the whole cluster, on average"
    )
    for name, kind, default, meaning in _OPTIONS:
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{meaning} (default: {default:g})")
    parser.add_argument("--json", action="store_true", help="print the sizes as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0. Raises UsageError."""
    values = {name: value for name, value in vars(args).items() if name != "json"}
    for name, value in values.items():
        if not (value > 0 or (name == "replicas" and value == 0)) or value == float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value:g}: not a positive number")
    if args.topic_replication > args.brokers:
        raise UsageError(f"--topic-replication {args.topic_replication}: more than --brokers {args.brokers}")
    result = sizing.compute(Load(**values))
    if args.json:
        print(encode_json({"rows": [row.to_json() for row in result.rows], "limits": result.limits}))
    else:
        _show(result)
    return 0


def _show(result: Sizing) -> None:
    sizes = ((row.part, row.name, _number(row.value), row.unit, row.formula) for row in result.rows)
    _print_table(("part", "size", "value", "unit", "formula"), sizes)
    output.console().print(output.plain("\nlimits: " + ("; ".join(result.limits) if result.limits else "none is near")))
    print()
    figures = ((figure.meaning, f"{figure.value:g}", figure.unit) for figure in MEASURED.values())
    _print_table(("measured figure", "value", "unit"), figures)


def _print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column == "value" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(output.plain, row))
    output.console().print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"

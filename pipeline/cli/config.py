"""`crisp config`: the effective settings, where each came from, and what it means."""

import argparse
import dataclasses
import os
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.config import settings

EXAMPLE = """examples:
  crisp config --changed
  crisp config --json | jq -r '.CRISP_ES_URLS.value'

exit code 0; 2 when a setting is refused: every fault is a line then"""
HIDDEN = "set, not shown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--changed", action="store_true", help="only what is not as it is by default")
    parser.add_argument(
        "--json", action="store_true", help="print value, default and origin of each as one JSON object"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0; raises SettingsError when a setting is refused."""
    rows = {name: row for name, row in _rows().items() if row["changed"] or not args.changed}
    if args.json:
        print(orjson.dumps(rows).decode())
    else:
        _show(rows)
    return 0


def _rows() -> dict[str, dict[str, Any]]:
    effective = settings.load()
    rows = {}
    for row in dataclasses.fields(effective):
        name, value = settings.env_name(row.name), getattr(effective, row.name)
        origin = "environment" if name in os.environ else "default"
        if row.metadata["secret"] and value:
            rows[name] = {"value": HIDDEN, "from": origin, "changed": True, "default": row.default}
        else:
            rows[name] = {"value": value, "from": origin, "changed": value != row.default, "default": row.default}
        rows[name]["meaning"] = row.metadata["meaning"]
    return rows


def _show(rows: dict[str, dict[str, Any]]) -> None:
    if not rows:
        print("every setting is as it is by default")
        return
    table = Table("variable", "value", "from", "meaning", box=None, pad_edge=False)
    for name, row in rows.items():
        before = f" (by default {row['default']})" if row["changed"] and row["default"] != "" else ""
        style = "bold" if row["changed"] else ""
        table.add_row(name, escape(f"{row['value']}{before}"), row["from"], row["meaning"], style=style)
    Console().print(table)

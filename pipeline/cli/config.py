"""`crisp config`: the effective settings with their origins and meanings."""

import argparse
import dataclasses
from typing import Any

import orjson
from rich.markup import escape
from rich.table import Table

from pipeline.cli.terminal import output
from pipeline.config.environment import DEFAULTS, format_value, load_settings, origins
from pipeline.config.settings import env_name, strip_credentials

EXAMPLE = """examples:
  crisp config --changed
  crisp config --json | jq -r '.CRISP_ES_URLS.value'

exit code 0; 2: a setting is invalid, each problem is one line"""
HIDDEN = "set, not shown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--changed", action="store_true", help="only settings that differ from their defaults")
    parser.add_argument(
        "--json", action="store_true", help="print value, default and origin of each setting as one JSON object"
    )


def run(args: argparse.Namespace) -> int:
    """Print the settings; return 0. Raises SettingsError for invalid settings."""
    rows = {name: row for name, row in _rows().items() if row["changed"] or not args.changed}
    if args.json:
        print(orjson.dumps(rows).decode())
    else:
        _show(rows)
    return 0


def _rows() -> dict[str, dict[str, Any]]:
    effective, places = load_settings(), origins()
    rows = {}
    for field in dataclasses.fields(effective):
        name, value = env_name(field.name), format_value(field, getattr(effective, field.name))
        default = format_value(field, getattr(DEFAULTS, field.name))
        changed = value != default
        value = strip_credentials(value) if isinstance(value, str) else value
        rows[name] = {
            "value": HIDDEN if field.metadata["secret"] and value else value,
            "from": places.get(name, "default"),
            "changed": changed,
            "default": default,
            "meaning": field.metadata["meaning"],
        }
    return rows


def _show(rows: dict[str, dict[str, Any]]) -> None:
    if not rows:
        print("all settings have their defaults")
        return
    table = Table("variable", "value", "from", "meaning", box=None, pad_edge=False)
    for name, row in rows.items():
        default = f" (default {row['default']})" if row["changed"] and row["default"] != "" else ""
        style = "bold" if row["changed"] else ""
        table.add_row(name, escape(f"{row['value']}{default}"), row["from"], row["meaning"], style=style)
    output.console().print(table)

"""`crisp config`: the effective settings with their origins and meanings."""

import argparse
import sys
from typing import Any

from rich.table import Table

from pipeline.cli.terminal import output
from pipeline.cli.terminal.json_text import encode_json
from pipeline.config import settings_file
from pipeline.config.environment import DEFAULTS, format_value, load_settings, origins
from pipeline.config.groups import grouped_settings
from pipeline.config.settings import env_name, strip_credentials
from pipeline.errors import UsageError

EXAMPLE = """examples:
  crisp config --changed
  crisp config --example > crisp.env
  CRISP_CONFIG_FILE=crisp.env crisp config
  crisp config --json | jq -r '.CRISP_ES_URLS.value'

exit code 0; 2: a setting is invalid, each problem is one line"""
HIDDEN = "set, not shown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--changed", action="store_true", help="only settings that differ from their defaults")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        action="store_true",
        help="print value, default, origin, group, readers, unit of each setting as one JSON object",
    )
    form.add_argument(
        "--example",
        action="store_true",
        help="print all settings with their defaults as a commented file for CRISP_CONFIG_FILE",
    )


def run(args: argparse.Namespace) -> int:
    """Print the settings; return 0. Raises SettingsError for invalid settings, UsageError."""
    if args.example:
        if args.changed:
            raise UsageError("--example has no --changed")
        print(example())
        return 0
    rows = {name: row for name, row in _rows().items() if row["changed"] or not args.changed}
    if args.json:
        print(encode_json(rows))
    else:
        _show(rows)
    return 0


def example() -> str:
    """Return a file of all settings with their defaults, each behind a `#`."""
    lines = [
        "# Settings of crisp, for CRISP_CONFIG_FILE. Each line shows a default: remove its # to change it.",
        "# A variable of the environment has precedence.",
    ]
    previous = ""
    for row, group, readers, unit in grouped_settings():
        if row.name == "config_file":  # a file cannot name another one
            continue
        if group != previous:
            lines += ["", f"# ===== {group} ====="]
            previous = group
        choices = ", ".join(row.metadata["choices"])
        notes = [
            f"read by: {readers}",
            *([f"unit: {unit}"] if unit else []),
            *([f"one of: {choices}"] if choices else []),
        ]
        value = settings_file.quote(str(format_value(row, getattr(DEFAULTS, row.name))))
        lines += ["", f"# {row.metadata['meaning']}", f"# {'; '.join(notes)}", f"#{env_name(row.name)}={value}"]
    return "\n".join(lines)


def _rows() -> dict[str, dict[str, Any]]:
    effective, places = load_settings(), origins()
    rows = {}
    for field, group, readers, unit in grouped_settings():
        name, value = env_name(field.name), format_value(field, getattr(effective, field.name))
        default = format_value(field, getattr(DEFAULTS, field.name))
        changed = value != default
        value = strip_credentials(value) if isinstance(value, str) else value
        rows[name] = {
            "value": HIDDEN if field.metadata["secret"] and value else value,
            "from": places.get(name, "default"),
            "changed": changed,
            "default": default,
            "group": group,
            "part": readers,
            "unit": unit,
            "meaning": field.metadata["meaning"],
        }
    return rows


def _show(rows: dict[str, dict[str, Any]]) -> None:
    if not rows:
        print("all settings have their defaults")
        return
    if sys.stdout.isatty():
        _show_groups(rows)
        return
    table = Table("variable", "value", "unit", "from", "group", "read by", "meaning", box=None, pad_edge=False)
    for name, row in rows.items():
        columns = (name, _value(row), row["unit"], row["from"], row["group"], row["part"], row["meaning"])
        table.add_row(*map(output.plain, columns))
    output.console().print(table)


def _show_groups(rows: dict[str, dict[str, Any]]) -> None:
    """Print a table for each group, which fits a terminal; no name and value is cut."""
    for group in dict.fromkeys(row["group"] for row in rows.values()):
        table = Table(box=None, pad_edge=False, title=f"{group} settings", title_justify="left")
        table.add_column("variable", no_wrap=True)
        table.add_column("value (from; default)", overflow="fold")
        table.add_column("meaning (read by)", overflow="fold")
        for name, row in rows.items():
            if row["group"] == group:
                columns = (name, _value_with_origin(row), f"{row['meaning']} ({row['part']})")
                table.add_row(*map(output.plain, columns), style="bold" if row["changed"] else "")
        output.console().print(table, "")


def _value(row: dict[str, Any]) -> str:
    return f"{row['value']}" + (f" (default {row['default']})" if row["changed"] and row["default"] != "" else "")


def _value_with_origin(row: dict[str, Any]) -> str:
    notes = [row["from"]] if row["from"] != "default" else []
    notes += [f"default {row['default']}"] if row["changed"] and row["default"] != "" else []
    return " ".join(
        [str(row["value"]), *([row["unit"]] if row["unit"] else []), *([f"({'; '.join(notes)})"] * bool(notes))]
    )

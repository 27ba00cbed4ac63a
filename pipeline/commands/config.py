"""`crisp config`: the effective settings, where each came from, and what it means."""

import argparse
import dataclasses
import os

import orjson
from rich.console import Console
from rich.table import Table

from pipeline import settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print name and value of each as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit code 0; raises SettingsError when a setting is refused."""
    effective = settings.load()
    rows = {settings.variable(row.name): row for row in dataclasses.fields(effective)}
    shown = {
        name: "set, not shown"
        if row.metadata["secret"] and getattr(effective, row.name)
        else getattr(effective, row.name)
        for name, row in rows.items()
    }
    if args.json:
        print(orjson.dumps(shown).decode())
        return 0
    table = Table("variable", "value", "from", "meaning")
    for name, row in rows.items():
        source = "environment" if name in os.environ else "default"
        table.add_row(name, str(shown[name]), source, row.metadata["meaning"])
    Console().print(table)
    return 0

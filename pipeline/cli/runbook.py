"""`crisp runbook NAME`: print a runbook on the terminal."""

import argparse
import re
import sys

from rich.console import Console
from rich.markdown import Markdown

from pipeline.monitoring import runbook

_LINK = re.compile(r"\[[^]]+]\(([\w-]+)\.md\)")
EXAMPLE = """examples:
  crisp runbook
  crisp runbook lag"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="named by an alert, `crisp status` or a status page (default: list all)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the runbook, or the list of all; return 0. Raises UsageError for an unknown name."""
    if not args.name:
        names = runbook.names()
        width = max(map(len, names))
        print("\n".join(f"{name:{width}}  {runbook.text(name).partition(chr(10))[0][2:]}" for name in names))
    elif sys.stdout.isatty():
        page = _LINK.sub(r"`crisp runbook \1`", runbook.text(args.name))
        Console(width=min(100, Console().width)).print(Markdown(page, hyperlinks=False))
    else:
        print(runbook.text(args.name), end="")
    return 0

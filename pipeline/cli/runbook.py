"""`crisp runbook NAME`: what to do, on the terminal on which it is needed."""

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
    """The command's options."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="as `crisp status`, pages and alerts name it; none: all"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0; raises UsageError for a name that is none."""
    if not args.name:
        print("\n".join(f"{name:16} {runbook.text(name).partition(chr(10))[0][2:]}" for name in runbook.names()))
    elif sys.stdout.isatty():
        page = _LINK.sub(r"`crisp runbook \1`", runbook.text(args.name))
        Console(width=min(100, Console().width)).print(Markdown(page, hyperlinks=False))
    else:
        print(runbook.text(args.name), end="")
    return 0

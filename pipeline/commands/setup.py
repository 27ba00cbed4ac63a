"""`crisp setup`: make topics and index template; safe to run again."""

import argparse
import asyncio

from pipeline import settings, setup


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--quiet", action="store_true", help="say nothing unless something fails")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when everything is there; raises SetupError else."""
    said = asyncio.run(setup.everything(settings.load()))
    if not args.quiet:
        print("\n".join(said))
    return 0

"""`crisp setup`: make topics and index template; safe to run again."""

import argparse
import asyncio

from pipeline import elasticsearch_client, settings, setup
from pipeline.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--quiet", action="store_true", help="say nothing unless something fails")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when everything is there; raises SetupError else."""
    said = asyncio.run(everything(settings.load()))
    if not args.quiet:
        print("\n".join(said))
    return 0


async def everything(effective: Settings) -> list[str]:
    """Topics and index template; returns what was done. Raises SetupError."""
    client = elasticsearch_client.connect(effective)
    try:
        return [*await setup.topics(effective), *await setup.index_template(client, effective)]
    finally:
        await client.close()

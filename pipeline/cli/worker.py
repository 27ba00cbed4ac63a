"""`crisp worker`: run one worker until SIGTERM, or until the lag is zero."""

import argparse
import asyncio

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.monitoring import log
from pipeline.worker import process
from pipeline.worker.worker import Worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", help="exit when the lag is zero and every record is acked")


def run(args: argparse.Namespace) -> int:
    """Run a worker. Return 0 after SIGTERM, with `--once` only if the lag is zero; 1 after a crash."""
    effective = load_settings()
    log.configure(effective.log_level)
    return asyncio.run(_run(effective, once=args.once))


async def _run(effective: Settings, *, once: bool) -> int:
    return await process.run(Worker(effective), once=once)

"""`crisp ship`: run the node shipper until SIGTERM, or once over the existing files."""

import argparse
import asyncio
import dataclasses
import gc
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.discovery import layouts
from agents.tailing.file_handles import raise_open_file_limit
from agents.tailing.standby_files import StandbyFiles
from pipeline import forced_exit
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.monitoring import log

if TYPE_CHECKING:
    from agents.shipper import Shipper

CLOSE_SECONDS = 15.0
"""After the grace: to close the connections and write the checkpoint."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", help="exit when every file is shipped and acknowledged")


def run(args: argparse.Namespace) -> int:
    """Ship. Return 0 after SIGTERM; with `--once` only if every line is shipped and acknowledged, else 1."""
    effective = load_settings()
    if not effective.node_name:
        effective = dataclasses.replace(effective, node_name=socket.gethostname())
    log.configure(effective.log_level)
    shipper = _start(effective)
    timers: list[threading.Timer] = []

    def stop() -> None:
        shipper.stop()
        message = "the shipper does not end in time: exiting; unacknowledged lines are sent again"
        seconds = effective.ship_grace_seconds + CLOSE_SECONDS
        timers.append(forced_exit.schedule(seconds, 1 if args.once else 0, message))

    shipped = asyncio.run(_run(shipper, stop, once=args.once))
    for timer in timers:
        timer.cancel()
    if not args.once:
        return 0
    problem = shipper.once_problem() if shipped else "stopped before every line was shipped and acknowledged"
    if problem:
        print(f"crisp ship: {problem}", file=sys.stderr)
    return 1 if problem else 0


def _start(settings: Settings) -> "Shipper":
    """Hold the log files open, then load the rest of the program: what is deleted meanwhile is not lost."""
    discovery, standby = layouts.create_discovery(settings), StandbyFiles(raise_open_file_limit())
    standby.hold(discovery.scan(), time.monotonic())
    from agents.shipper import Shipper  # imported here: it takes half a second of CPU, several on a busy node

    gc.freeze()
    return Shipper(settings, discovery, standby)


async def _run(shipper: "Shipper", stop: Callable[[], None], *, once: bool) -> bool:
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop)
    return await shipper.run(once=once)

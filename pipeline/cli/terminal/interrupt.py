"""Ctrl-C for commands with a graceful shutdown: the first requests it, the second exits at once."""

import asyncio
import signal
import sys
from collections.abc import Callable


def on_interrupt(stop: Callable[[], None]) -> None:
    """Call `stop` at the first Ctrl-C or SIGTERM. Needs a running event loop."""
    loop = asyncio.get_running_loop()

    def request_stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        print("stopping; press Ctrl-C again to exit at once", file=sys.stderr)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, request_stop)

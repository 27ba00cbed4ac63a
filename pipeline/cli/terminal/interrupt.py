"""Ctrl-C in a command that can stop in good order: the first asks it to, the second ends it at once."""

import asyncio
import signal
import sys
from collections.abc import Callable


def on_interrupt(stop: Callable[[], None]) -> None:
    """Call `stop` at the first Ctrl-C or SIGTERM. To be called on the running loop."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        print("stopping in good order; Ctrl-C again ends at once", file=sys.stderr)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first)

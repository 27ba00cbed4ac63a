"""How far a command has come, on standard error: live on a terminal, else a plain line now and then."""

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_INTERVAL_SECONDS = 5.0
LIVE_INTERVAL_SECONDS = 0.1


class Progress:
    """Shows one line. What is told too often is left out."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._next_update = 0.0 if self._console.is_terminal else time.monotonic() + PLAIN_INTERVAL_SECONDS

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    @property
    def due(self) -> bool:
        """Whether it is time to show something again."""
        return time.monotonic() >= self._next_update

    def update(self, text: str, *, now: bool = False) -> None:
        """Show where the work stands; `now`: also if something was shown just before."""
        if not now and not self.due:
            return
        if self._console.is_terminal:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
            self._next_update = time.monotonic() + LIVE_INTERVAL_SECONDS
        else:
            print(text, file=sys.stderr, flush=True)
            self._next_update = time.monotonic() + PLAIN_INTERVAL_SECONDS

    def print_lines(self, *lines: str) -> None:
        """Say something that stays."""
        for line in lines:
            self._console.print(line, highlight=False, soft_wrap=True)

"""Progress of a command on standard error: a live line on a terminal, else a plain line at intervals."""

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_INTERVAL_SECONDS = 5.0
LIVE_INTERVAL_SECONDS = 0.1


class Progress:
    """Shows one line; skips updates that come too fast."""

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
        """Whether the next update is shown."""
        return time.monotonic() >= self._next_update

    def update(self, text: str, *, now: bool = False) -> None:
        """Show the progress; `now`: even if the last update is recent."""
        if not now and not self.due:
            return
        if self._console.is_terminal:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
            self._next_update = time.monotonic() + LIVE_INTERVAL_SECONDS
        else:
            print(text, file=sys.stderr, flush=True)
            self._next_update = time.monotonic() + PLAIN_INTERVAL_SECONDS

    def print_lines(self, *lines: str) -> None:
        """Print lines that stay on the terminal."""
        for line in lines:
            self._console.print(line, highlight=False, soft_wrap=True)

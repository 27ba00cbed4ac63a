"""Keeps a demo that follows small: its pods are replaced now and then, and those that ended are compared and forgotten.

Else the ledger would hold every line of the night, and the disk every log.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.demo.container_log import ContainerLog
from pipeline.demo.ledger import Ledger
from pipeline.demo.log_generator import Feed
from pipeline.demo.searcher import Searcher

LINES = 250_000
AGAIN_SECONDS = 10.0


class Turnover:
    """One set of ended pods at a time; `look` is called now and then. What is read of them is read in a thread."""

    def __init__(self, feed: Feed, ledger: Ledger, searcher: Searcher) -> None:
        self._feed = feed
        self._ledger = ledger
        self._searcher = searcher
        self._reader = ThreadPoolExecutor(1)
        self._ended: Sequence[ContainerLog] = ()
        self._found: Future[Counter[bytes]] | None = None
        self._since = 0
        self._due = 0.0
        self.settled = 0

    def look(self, now: float) -> None:
        """Replace the pods, compare, or forget: whatever is due."""
        if self._found is not None:
            if self._found.done():
                self._compare(self._found.result(), now)
        elif self._ended and now >= self._due:
            self._found = self._reader.submit(self._searcher.keys, [log.uid for log in self._ended])
        elif not self._ended and self._ledger.lines - self._since >= LINES:
            self._ended, self._since, self._due = self._feed.replace(), self._ledger.lines, now + AGAIN_SECONDS

    def _compare(self, found: Counter[bytes], now: float) -> None:
        self._found = None
        uids = [log.uid for log in self._ended]
        if not self._ledger.settle(uids, found):
            self._due = now + AGAIN_SECONDS  # they are on their way; what is missing in the end is told at the end
            return
        self.settled += len(uids)
        for log in self._ended:
            shutil.rmtree(log.directory.parent)
        self._ended = ()

    def end(self) -> None:
        """Read no more; what is not settled stays in the ledger."""
        self._reader.shutdown(wait=True)

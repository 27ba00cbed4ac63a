"""Keeps a demo that follows small: its pods are replaced now and then, and those that ended are compared and forgotten.

Else the ledger would hold every line of the night, and the disk every log.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.demo.container_log import ContainerLog
from pipeline.demo.ledger import Ledger
from pipeline.demo.log_generator import LogGenerator
from pipeline.demo.searcher import Searcher

LINES_PER_POD_SET = 250_000
RETRY_SECONDS = 10.0


class PodReplacer:
    """One set of ended pods at a time; `look` is called now and then. What is read of them is read in a thread."""

    def __init__(self, generator: LogGenerator, ledger: Ledger, searcher: Searcher) -> None:
        self._generator = generator
        self._ledger = ledger
        self._searcher = searcher
        self._reader = ThreadPoolExecutor(1)
        self._ended: Sequence[ContainerLog] = ()
        self._search: Future[Counter[bytes]] | None = None
        self._replaced_at = 0
        self._due_at = 0.0
        self.finalised = 0

    def poll(self, now: float) -> None:
        """Replace the pods, compare, or forget: whatever is due."""
        if self._search is not None:
            if self._search.done():
                self._compare(self._search.result(), now)
        elif self._ended and now >= self._due_at:
            self._search = self._reader.submit(self._searcher.line_keys, [log.uid for log in self._ended])
        elif not self._ended and self._ledger.lines - self._replaced_at >= LINES_PER_POD_SET:
            self._ended, self._replaced_at, self._due_at = (
                self._generator.replace_pods(),
                self._ledger.lines,
                now + RETRY_SECONDS,
            )

    def _compare(self, searchable: Counter[bytes], now: float) -> None:
        self._search = None
        uids = [log.uid for log in self._ended]
        if not self._ledger.finalise(uids, searchable):
            self._due_at = now + RETRY_SECONDS  # they are on their way; what is missing in the end is told at the end
            return
        self.finalised += len(uids)
        for log in self._ended:
            shutil.rmtree(log.directory.parent)
        self._ended = ()

    def close(self) -> None:
        """Read no more; what is not settled stays in the ledger."""
        self._reader.shutdown(wait=True)

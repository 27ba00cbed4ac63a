"""Bounds memory and disk of a demo without end: replaces its pods, verifies the old ones, deletes their logs.

Otherwise the ledger would hold every line, and the disk every log.
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
    """Handles one set of exited pods at a time. Call `poll` regularly; the documents are read in a thread."""

    def __init__(self, generator: LogGenerator, ledger: Ledger, searcher: Searcher) -> None:
        self._generator = generator
        self._ledger = ledger
        self._searcher = searcher
        self._reader = ThreadPoolExecutor(1)
        self._exited: Sequence[ContainerLog] = ()
        self._search: Future[Counter[bytes]] | None = None
        self._replaced_at = 0
        self._due_at = 0.0
        self.finalised = 0

    def poll(self, now: float) -> None:
        """Replace the pods, start the search, or compare its result, as due."""
        if self._search is not None:
            if self._search.done():
                self._compare(self._search.result(), now)
        elif self._exited and now >= self._due_at:
            self._search = self._reader.submit(self._searcher.line_keys, [log.uid for log in self._exited])
        elif not self._exited and self._ledger.lines - self._replaced_at >= LINES_PER_POD_SET:
            self._exited, self._replaced_at, self._due_at = (
                self._generator.replace_pods(),
                self._ledger.lines,
                now + RETRY_SECONDS,
            )

    def _compare(self, searchable: Counter[bytes], now: float) -> None:
        self._search = None
        uids = [log.uid for log in self._exited]
        if not self._ledger.finalise(uids, searchable):
            self._due_at = now + RETRY_SECONDS  # still in flight; the final report counts missing lines
            return
        self.finalised += len(uids)
        for log in self._exited:
            shutil.rmtree(log.directory.parent)
        self._exited = ()

    def close(self) -> None:
        """Wait for the search; containers that are not finalised stay in the ledger."""
        self._reader.shutdown(wait=True)

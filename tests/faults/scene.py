"""Lines written on and on while something breaks; at the end each must be found exactly once."""

import time
from collections import Counter
from pathlib import Path

from pipeline.demo.feed import Feed
from pipeline.demo.ledger import Balance, Ledger, document_keys
from pipeline.local.stack import Stack
from tests.integration.flow import Flow


class Scene:
    """One flow under fire."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.flow = Flow(stack, directory)
        self.ledger = Ledger()
        self.feed = Feed(self.flow.logs, self.ledger, seed=7)

    def start(self) -> None:
        """Shipper and worker."""
        self.flow.shipper.start()
        self.flow.worker.start()

    def write(self, seconds: float, rate: int = 500) -> None:
        """Write for so long, at so many lines a second."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.feed.write(rate // 10)
            self.feed.copy()
            time.sleep(0.1)

    def balance(self) -> Balance:
        """What is found now."""
        found: Counter[bytes] = Counter()
        for hit in self.flow.documents():
            found.update(document_keys(hit["_source"]))
        return self.ledger.balance(found)

    def assert_all_found(self, seconds: float = 120) -> None:
        """Wait until nothing is missing; then nothing may be double either."""
        limit = time.monotonic() + seconds
        balance = self.balance()
        while balance.missing and time.monotonic() < limit:
            time.sleep(2)
            balance = self.balance()
        said = f"{self.flow.shipper.output.read_text()[-1500:]}\n{self.flow.worker.output.read_text()[-1500:]}"
        assert (balance.missing, balance.doubled) == (0, 0), f"{balance}\n{said}"

    def end(self) -> None:
        """End what is running."""
        self.flow.end()
        self.feed.close()

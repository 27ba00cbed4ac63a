"""`crisp worker`, quick to judge itself, harmed from within at SIGUSR1: `python -m tests.faults.harmed HARM worker`.

What is done to it has happened to Faust's users, or would be a bug of ours; the servers and all the rest are real.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from pipeline.cli import main
from pipeline.worker import liveness, monitor, worker

QUICK_SECONDS = 8.0


def _blocks(_: Any) -> None:
    """The loop turns no more."""
    time.sleep(3600)


def _loses_its_thread(harmed: Any) -> None:
    """The thread that speaks to Kafka ends."""
    loop = harmed._consumer._thread.thread_loop
    loop.call_soon_threadsafe(loop.stop)


def _lets_nothing_in(harmed: Any) -> None:
    """Faust's flow is stopped, as by a rebalance that hangs."""
    harmed._consumer.stop_flow()


def _rebalances_for_ever(harmed: Any) -> None:
    """Faust believes that the group is being divided anew."""
    harmed.app.rebalancing = True


def _forgets(harmed: Any) -> None:
    """What is taken is never settled."""
    harmed.indexer.submit = lambda *_: None


def _is_cancelled(harmed: Any) -> None:
    """A library lets a CancelledError out that nobody asked for."""
    harmed.indexer.bulks.answered = _raising(asyncio.CancelledError())


def _fails(harmed: Any) -> None:
    """A bug of our own in the middle of a bulk."""
    harmed.indexer.bulks.answered = _raising(KeyError("boom"))


def _raising(fault: BaseException) -> Callable[..., Any]:
    async def answered(*_: Any) -> None:
        raise fault

    return answered


def _nothing(_: Any) -> None:
    """It is only judged quickly."""


HARMS = (
    _blocks,
    _loses_its_thread,
    _lets_nothing_in,
    _rebalances_for_ever,
    _forgets,
    _is_cancelled,
    _fails,
    _nothing,
)


def _prepare(harm: Callable[[Any], None]) -> None:
    liveness.LOOP_SECONDS = liveness.FLOW_SECONDS = liveness.PROGRESS_SECONDS = QUICK_SECONDS
    worker.LOOK_SECONDS = 0.5
    monitor.ANSWER_SECONDS = 2.0
    keep_beat = worker.Worker._keep_beat

    async def harmed(self: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, harm, self)
        await keep_beat(self)

    worker.Worker._keep_beat = harmed  # type: ignore[method-assign]


if __name__ == "__main__":
    _prepare({harm.__name__: harm for harm in HARMS}[sys.argv[1]])
    sys.exit(main.main(sys.argv[2:]))

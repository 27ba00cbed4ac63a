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


def _block_loop(_: Any) -> None:
    """The loop turns no more."""
    time.sleep(3600)


def _stop_consumer_thread(harmed: Any) -> None:
    """The thread that speaks to Kafka ends."""
    loop = harmed._consumer._thread.thread_loop
    loop.call_soon_threadsafe(loop.stop)


def _pause_consumer(harmed: Any) -> None:
    """Faust's flow is stopped, as by a rebalance that hangs."""
    harmed._consumer.stop_flow()


def _rebalance_indefinitely(harmed: Any) -> None:
    """Faust believes that the group is being divided anew."""
    harmed.app.rebalancing = True


def _never_ack(harmed: Any) -> None:
    """What is taken is never settled."""
    harmed.indexer.submit = lambda *_: None


def _cancel_task(harmed: Any) -> None:
    """A library lets a CancelledError out that nobody asked for."""
    harmed.indexer.bulk_sender.send = _raising_coroutine(asyncio.CancelledError())


def _raise_exception(harmed: Any) -> None:
    """A bug of our own in the middle of a bulk."""
    harmed.indexer.bulk_sender.send = _raising_coroutine(KeyError("boom"))


def _raising_coroutine(fault: BaseException) -> Callable[..., Any]:
    async def answered(*_: Any) -> None:
        raise fault

    return answered


def _none(_: Any) -> None:
    """It is only judged quickly."""


FAULTS = (
    _block_loop,
    _stop_consumer_thread,
    _pause_consumer,
    _rebalance_indefinitely,
    _never_ack,
    _cancel_task,
    _raise_exception,
    _none,
)


def _prepare(inject: Callable[[Any], None]) -> None:
    liveness.LOOP_TIMEOUT_SECONDS = liveness.CONSUMER_TIMEOUT_SECONDS = liveness.PROGRESS_TIMEOUT_SECONDS = (
        QUICK_SECONDS
    )
    worker.HEALTH_SAMPLE_SECONDS = 0.5
    monitor.REQUEST_TIMEOUT_SECONDS = 2.0
    keep_beat = worker.Worker._heartbeat

    async def harmed(self: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, inject, self)
        await keep_beat(self)

    worker.Worker._heartbeat = harmed  # type: ignore[method-assign]


if __name__ == "__main__":
    _prepare({harm.__name__: harm for harm in FAULTS}[sys.argv[1]])
    sys.exit(main.main(sys.argv[2:]))

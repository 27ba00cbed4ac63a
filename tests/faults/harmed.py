"""`python -m tests.faults.harmed FAULT worker`: a worker with short liveness limits; SIGUSR1 injects the fault.

The faults have happened to users of Faust, or simulate a bug of crisp; servers and everything else are real.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from pipeline.cli import main
from pipeline.worker import liveness, monitor, worker, worker_health

LIVENESS_SECONDS = 8.0


def _block_loop(_: Any) -> None:
    """Block the event loop."""
    time.sleep(3600)


def _stop_consumer_thread(instance: Any) -> None:
    """Stop the thread of the Kafka client."""
    loop = instance.app._app.consumer._thread.thread_loop
    loop.call_soon_threadsafe(loop.stop)


def _pause_consumer(instance: Any) -> None:
    """Pause Faust's flow, as a hanging rebalance does."""
    instance.app.pause()


def _rebalance_indefinitely(instance: Any) -> None:
    """Make Faust wait for the end of a rebalance."""
    instance.app._app.rebalancing = True


def _never_ack(instance: Any) -> None:
    """Drop records without an ack."""
    instance.indexer.submit = lambda *_: None


def _cancel_task(instance: Any) -> None:
    """Raise a CancelledError without a cancellation, as a library may."""
    instance.indexer.bulk_sender.send = _raising_coroutine(asyncio.CancelledError())


def _raise_exception(instance: Any) -> None:
    """Raise an unexpected exception during a bulk request."""
    instance.indexer.bulk_sender.send = _raising_coroutine(KeyError("boom"))


def _raising_coroutine(error: BaseException) -> Callable[..., Any]:
    async def send(*_: Any) -> None:
        raise error

    return send


def _none(_: Any) -> None:
    """Inject nothing: only the liveness limits are short."""


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
        LIVENESS_SECONDS
    )
    worker_health.SAMPLE_SECONDS = 0.5
    monitor.REQUEST_TIMEOUT_SECONDS = 2.0
    original = worker.Worker._run

    async def run(self: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, inject, self)
        await original(self)

    worker.Worker._run = run  # type: ignore[method-assign]


if __name__ == "__main__":
    _prepare({fault.__name__: fault for fault in FAULTS}[sys.argv[1]])
    sys.exit(main.main(sys.argv[2:]))

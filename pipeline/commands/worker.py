"""`crisp worker`: run one worker until SIGTERM, or once over what the raw topic holds."""

import argparse
import asyncio
import contextlib
import logging
import signal

from aiokafka.errors import KafkaError

from pipeline import lag, ownlog, settings
from pipeline.settings import Settings
from pipeline.worker import Worker

LOOK_SECONDS = 0.5

log = logging.getLogger(__name__)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--once", action="store_true", help="end when the lag is zero and everything is settled")


def run(args: argparse.Namespace) -> int:
    """Work; exit code 0 after SIGTERM, or when `--once` has done its work; 1 after a crash."""
    effective = settings.load()
    ownlog.configure()
    return asyncio.run(_run(effective, once=args.once))


async def _run(effective: Settings, *, once: bool) -> int:
    worker = Worker(effective)
    app = worker.app
    app.finalize()
    app.worker_init()
    app.worker_init_post_autodiscover()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    ends = [asyncio.create_task(stopping.wait()), asyncio.create_task(app.wait_until_stopped())]
    if once:
        ends.append(asyncio.create_task(_drained(worker)))
    await app.start()
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    crashed = app.crashed
    await _drain(worker)
    await app.stop()
    for task in ends:
        task.cancel()
    return 1 if crashed else 0


async def _drain(worker: Worker) -> None:
    """After SIGTERM: take no more, let the bulks in flight end within the grace, commit."""
    consumer = worker.app.consumer
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(worker.settings.worker_grace_seconds):
            consumer.stop_flow()
            await consumer.commit()


async def _drained(worker: Worker) -> None:
    """Return when the group has committed to the end of every partition."""
    effective = worker.settings
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            left = await total_lag(effective)
        except KafkaError as fault:
            log.warning("the lag cannot be read, tried again: %s", fault)
            continue
        if left == 0 and not worker.acker.in_work():
            return


async def total_lag(effective: Settings) -> int:
    """Records of the raw topic that the group has not committed. Raises KafkaError."""
    return sum(part.records for part in (await lag.once(effective, ages=False)).values())

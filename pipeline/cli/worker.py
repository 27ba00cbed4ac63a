"""`crisp worker`: run one worker until SIGTERM, or once over what the raw topic holds."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import threading
import warnings

from aiokafka.errors import KafkaError
from faust.exceptions import AlreadyConfiguredWarning

from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.kafka import client, consumer_lag
from pipeline.monitoring import log as ownlog
from pipeline.worker import credentials
from pipeline.worker.worker import Worker

LAG_POLL_SECONDS = 0.5
COMMIT_TIMEOUT_SECONDS = 5.0
LEAVE_TIMEOUT_SECONDS = 10.0

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
        ends.append(asyncio.create_task(_wait_until_drained(worker)))
    worker.status_server.start(effective.status_host, effective.worker_port)
    if not await _wait_for_kafka(worker, stopping):
        return 0
    worker.create_consumer()
    await app.start()
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    crashed = app.crashed
    if not crashed:  # else what is in work is never settled
        await _drain(worker)
    code = 1 if crashed else 0
    _schedule_forced_exit(code)
    await app.stop()
    for task in ends:
        task.cancel()
    return code


def _schedule_forced_exit(code: int) -> None:
    """End the process after a while: Faust and its thread wait for a broker that does not answer, however long."""

    def end() -> None:
        log.warning("Kafka does not answer: ended without leaving the group, which will notice")
        os._exit(code)

    timer = threading.Timer(LEAVE_TIMEOUT_SECONDS, end)
    timer.daemon = True
    timer.start()


async def _wait_for_kafka(worker: Worker, stopping: asyncio.Event) -> bool:
    """Whether a broker lets us in: tried until one does, or until a stop. Faust would end the process."""
    while fault := await client.connection_problem(worker.settings):
        log.warning("Kafka cannot be used, tried again for ever: %s", fault)
        worker.record_heartbeat()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(worker.settings.retry_max_seconds):
                await stopping.wait()
        if stopping.is_set():
            return False
    # By now a file may have another password than when the app was built; nobody has connected with that one yet.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlreadyConfiguredWarning)
        worker.app.conf.broker_credentials = credentials.broker_credentials(worker.settings)
    return True


async def _drain(worker: Worker) -> None:
    """After SIGTERM: take no more, let what is in work be settled within the grace, commit."""
    worker.pause()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(worker.settings.worker_grace_seconds):
            await worker.acker.wait_until_empty()
    # Not by `timeout`: while another commit is under way, Faust swallows the end of the wait and begins a commit anew.
    await asyncio.wait([asyncio.create_task(worker.app.consumer.commit())], timeout=COMMIT_TIMEOUT_SECONDS)


async def _wait_until_drained(worker: Worker) -> None:
    """Return when the group has committed to the end of every partition."""
    effective = worker.settings
    while True:
        await asyncio.sleep(LAG_POLL_SECONDS)
        if worker.acker.pending():
            continue
        try:
            left = await total_lag(effective)
        except KafkaError as fault:
            log.warning("the lag cannot be read, tried again: %s", fault)
            continue
        if left == 0 and not worker.acker.pending():
            return


async def total_lag(effective: Settings) -> int:
    """Records of the raw topic that the group has not committed. Raises KafkaError."""
    return sum(part.records for part in (await consumer_lag.read_lag(effective, ages=False)).values())

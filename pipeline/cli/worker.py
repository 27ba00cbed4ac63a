"""`crisp worker`: run one worker until SIGTERM, or until the lag is zero."""

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
from pipeline.monitoring import log as process_log
from pipeline.worker import credentials
from pipeline.worker.worker import Worker

LAG_POLL_SECONDS = 0.5
COMMIT_TIMEOUT_SECONDS = 5.0
LEAVE_TIMEOUT_SECONDS = 10.0

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", help="exit when the lag is zero and every record is acked")


def run(args: argparse.Namespace) -> int:
    """Run a worker. Return 0 after SIGTERM, or when `--once` is done; 1 after a crash."""
    effective = settings.load()
    process_log.configure()
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
    stop_tasks = [asyncio.create_task(stopping.wait()), asyncio.create_task(app.wait_until_stopped())]
    if once:
        stop_tasks.append(asyncio.create_task(_wait_until_drained(worker)))
    worker.status_server.start(effective.status_host, effective.worker_port)
    if not await _wait_for_kafka(worker, stopping):
        return 0
    worker.create_consumer()
    await app.start()
    await asyncio.wait(stop_tasks, return_when=asyncio.FIRST_COMPLETED)
    crashed = app.crashed
    if not crashed:  # after a crash, pending records are never acked
        await _drain(worker)
    code = 1 if crashed else 0
    _schedule_forced_exit(code)
    await app.stop()
    for task in stop_tasks:
        task.cancel()
    return code


def _schedule_forced_exit(code: int) -> None:
    """Exit after LEAVE_TIMEOUT_SECONDS: Faust and its thread wait without limit for a broker that does not answer."""

    def force_exit() -> None:
        log.warning("Kafka does not answer: exiting; the group removes this member after the session timeout")
        os._exit(code)

    timer = threading.Timer(LEAVE_TIMEOUT_SECONDS, force_exit)
    timer.daemon = True
    timer.start()


async def _wait_for_kafka(worker: Worker, stopping: asyncio.Event) -> bool:
    """Retry until a broker accepts the connection (True) or a stop is requested (False). Faust would exit instead."""
    while problem := await client.connection_problem(worker.settings):
        log.warning("cannot use Kafka, retrying until it succeeds: %s", problem)
        worker.record_heartbeat()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(worker.settings.retry_max_seconds):
                await stopping.wait()
        if stopping.is_set():
            return False
    # The password file may have changed since the app was built, and no client has connected yet.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlreadyConfiguredWarning)
        worker.app.conf.broker_credentials = credentials.broker_credentials(worker.settings)
    return True


async def _drain(worker: Worker) -> None:
    """Shut down gracefully: pause consumption, wait for pending records within the grace period, commit."""
    worker.pause()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(worker.settings.worker_grace_seconds):
            await worker.acker.wait_until_empty()
    # Not with `timeout`: during another commit, Faust swallows the cancellation and starts a new commit.
    await asyncio.wait([asyncio.create_task(worker.app.consumer.commit())], timeout=COMMIT_TIMEOUT_SECONDS)


async def _wait_until_drained(worker: Worker) -> None:
    """Return when the group has committed to the end of every partition."""
    effective = worker.settings
    while True:
        await asyncio.sleep(LAG_POLL_SECONDS)
        if worker.acker.pending():
            continue
        try:
            lag = await total_lag(effective)
        except KafkaError as error:
            log.warning("cannot read the consumer lag, retrying: %s", error)
            continue
        if lag == 0 and not worker.acker.pending():
            return


async def total_lag(effective: Settings) -> int:
    """Return the number of records of the raw topic beyond the committed offsets. Raises KafkaError."""
    return sum(partition.records for partition in (await consumer_lag.read_lag(effective, ages=False)).values())

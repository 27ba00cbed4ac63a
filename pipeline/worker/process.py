"""The life of a worker process: wait for Kafka, run until a stop is requested, drain, leave the group."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from pipeline import __version__, forced_exit
from pipeline.config.settings import KafkaSettings, Settings
from pipeline.errors import SettingsError
from pipeline.kafka import client, consumer_lag
from pipeline.worker.worker import Worker

LAG_POLL_SECONDS = 0.5
COMMIT_TIMEOUT_SECONDS = 5.0
LEAVE_TIMEOUT_SECONDS = 10.0

log = logging.getLogger(__name__)


async def run(worker: Worker, *, once: bool) -> int:
    """Run a worker until SIGTERM, SIGINT or a crash; with `once` also until the lag is zero.

    Return the exit code: 0 after a stop request, with `once` only if the lag is zero.
    """
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()

    def request_stop() -> None:
        stop_requested.set()
        seconds = worker.settings.worker_grace_seconds + COMMIT_TIMEOUT_SECONDS + LEAVE_TIMEOUT_SECONDS
        forced_exit.schedule(seconds, 1 if once else 0, "the worker does not end in time: exiting")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_stop)
    worker.status_server.start(worker.settings.status_host, worker.settings.worker_port)
    log_start(worker.settings)
    if not await wait_for_kafka(worker, stop_requested):
        log.info("worker stopped before it could use Kafka")
        return 1 if once else 0
    await worker.start()
    complete = await _wait_for_end(worker, stop_requested, once=once)
    if not worker.app.crashed:  # after a crash, pending records are never acked
        await drain(worker)
    code = 1 if worker.app.crashed or not complete else 0  # it can crash while it drains, too
    # Faust and its thread wait without limit for a broker that does not answer.
    message = "Kafka does not answer: exiting; the group removes this member after the session timeout"
    forced_exit.schedule(LEAVE_TIMEOUT_SECONDS, code, message)
    await worker.app.stop()
    log.info("worker stopped%s", " after a crash" if worker.app.crashed else "")
    return code


def log_start(settings: Settings) -> None:
    """Log what a worker reads and writes."""
    log.info(
        "crisp %s: worker started: topic %s at %s as group %s, to Elasticsearch at %s, rules %s",
        __version__,
        settings.topic_raw,
        settings.kafka_address,
        settings.kafka_group,
        settings.es_address,
        settings.rules_file or "none",
    )


async def _wait_for_end(worker: Worker, stop_requested: asyncio.Event, *, once: bool) -> bool:
    """Wait for a stop request, a crash, or with `once` for a lag of zero; return False if that was not reached."""
    conditions: list[Coroutine[Any, Any, Any]] = [stop_requested.wait(), worker.app.wait_until_stopped()]
    if once:
        conditions.append(wait_until_drained(worker))
    tasks = [asyncio.create_task(condition) for condition in conditions]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        if (error := task.exception()) is not None:
            log.error("unexpected error, the worker ends: %r", error, exc_info=error)
            return False
    if once and tasks[-1] not in done:
        log.warning("stopped before the lag was zero")
        return False
    return True


async def wait_for_kafka(worker: Worker, stop_requested: asyncio.Event) -> bool:
    """Retry until a broker accepts the connection (True) or a stop is requested (False). Faust would exit instead."""
    while problem := await _connection_problem(worker.settings, stop_requested):
        if stop_requested.is_set():
            return False
        log.warning("cannot use Kafka, retrying until it succeeds: %s", problem)
        worker.health.record_heartbeat()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(worker.settings.retry_max_seconds):
                await stop_requested.wait()
        if stop_requested.is_set():
            return False
    return True


async def _connection_problem(settings: Settings, stop_requested: asyncio.Event) -> str:
    """Return why Kafka cannot be used; do not wait for brokers that never answer once a stop is requested."""
    attempt = asyncio.create_task(client.connection_problem(settings))
    stopped = asyncio.create_task(stop_requested.wait())
    try:
        await asyncio.wait({attempt, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return await attempt if attempt.done() else "stopped before it answered"
    finally:
        attempt.cancel()
        stopped.cancel()


async def wait_until_drained(worker: Worker) -> None:
    """Return when the group has committed to the end of every partition."""
    while True:
        await asyncio.sleep(LAG_POLL_SECONDS)
        if worker.acker.pending():
            continue
        try:
            lag = await total_lag(worker.settings)
        except (KafkaError, SettingsError) as error:  # SettingsError: a secret's file is being replaced
            log.warning("cannot read the consumer lag, retrying: %s", error)
            continue
        if lag == 0 and not worker.acker.pending():
            return


async def total_lag(settings: KafkaSettings) -> int:
    """Return the number of records of the raw topic beyond the committed offsets. Raises KafkaError."""
    return sum(partition.records for partition in (await consumer_lag.read_lag(settings, ages=False)).values())


async def drain(worker: Worker) -> None:
    """Shut down gracefully: pause consumption, wait for pending records within the grace period, commit."""
    worker.pause()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(worker.settings.worker_grace_seconds):
            await worker.acker.wait_until_empty()
    # Not with `timeout`: during another commit, Faust swallows the cancellation and starts a new commit.
    await asyncio.wait([asyncio.create_task(worker.app.commit())], timeout=COMMIT_TIMEOUT_SECONDS)

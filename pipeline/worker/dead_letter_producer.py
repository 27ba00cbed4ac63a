"""Sends dead letters to their topic through the worker's producer, retrying until Kafka acknowledges them.

A dead-letter topic that is unavailable, full, forbidden or missing is a dependency failure: it is reported and
retried. The worker does not exit, and no record after the dead letter is acked meanwhile.
"""

import asyncio
import itertools
import logging

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError
from faust.types import TopicT

from pipeline.backoff import Backoff
from pipeline.contract.dead_letter import DeadLetter, encode
from pipeline.contract.record import Headers

FIRST_PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


class DeadLetterProducer:
    """Sends to a Faust `topic`. `pending`: sends in progress."""

    def __init__(self, topic: TopicT, retry_max_seconds: float) -> None:
        self._topic = topic
        self._retry_max_seconds = retry_max_seconds
        self.pending = 0
        self._problems: dict[int, str] = {}  # of the sends in progress that failed, by number
        self._send_numbers = itertools.count()

    @property
    def problem(self) -> str:
        """Why the oldest failing send fails; empty when none fails now."""
        return next(iter(self._problems.values()), "")

    async def send(self, dead_letter: DeadLetter, key: bytes | None = None) -> None:
        """Send a dead letter; return when Kafka has acknowledged it."""
        position = "/".join(map(str, dead_letter.origin[:3]))
        source = f"{dead_letter.index}/{dead_letter.id}" if dead_letter.id else position
        headers = encode(dead_letter)
        backoff = Backoff(FIRST_PAUSE_SECONDS, self._retry_max_seconds)
        number = next(self._send_numbers)
        self.pending += 1
        try:
            while error := await self._try_send(key or dead_letter.id.encode(), dead_letter.value, headers):
                problem = f"cannot write to dead-letter topic {self._topic.get_topic_name()}: {error}"
                self._problems[number] = problem
                log.error("%s; retrying until it succeeds", problem)
                await asyncio.sleep(backoff.next_pause())
        finally:
            self.pending -= 1
            self._problems.pop(number, None)
        log.error("dead-lettered: %s", dead_letter.reason, extra={"crisp.dead": source})

    async def _try_send(self, key: bytes, value: bytes, headers: Headers) -> str:
        """Return the error; empty on success."""
        try:
            await (await self._topic.send(key=key, value=value, headers=headers))
        except (KafkaError, FaustError) as error:
            return str(error) or repr(error)
        return ""

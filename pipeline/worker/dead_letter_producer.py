"""Sends dead letters to their topic through the worker's producer, retrying until Kafka acknowledges them.

A dead-letter topic that is unavailable, full, forbidden or missing is a dependency failure: it is reported and
retried. The worker does not exit, and no record after the dead letter is acked meanwhile.
"""

import asyncio
import itertools
import logging

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from faust.exceptions import FaustError
from faust.types import TopicT

from pipeline.backoff import Backoff
from pipeline.contract.dead_letter import REASON_MAX_CHARACTERS, DeadLetter, encode

FIRST_PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


class DeadLetterProducer:
    """Sends to a Faust `topic`. `pending`: sends in progress."""

    def __init__(self, topic: TopicT, retry_max_seconds: float, max_bytes: int) -> None:
        """`max_bytes`: what the topic must accept; only a larger dead letter is made smaller if it is rejected."""
        self._topic = topic
        self._max_bytes = max_bytes
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
        key = key or dead_letter.id.encode()
        backoff = Backoff(FIRST_PAUSE_SECONDS, self._retry_max_seconds)
        number = next(self._send_numbers)
        self.pending += 1
        try:
            while error := await self._try_send(key, dead_letter):
                smaller = dead_letter.smaller() if _is_too_large(error) and dead_letter.size > self._max_bytes else None
                if smaller is not None:
                    log.warning("a dead letter of %d bytes is too large: it is sent without a part", dead_letter.size)
                    dead_letter = smaller
                    continue
                topic = self._topic.get_topic_name()
                problem = f"cannot write to dead-letter topic {topic}: {str(error) or repr(error)}"
                self._problems[number] = problem
                log.error("%s; retrying until it succeeds", problem)
                await asyncio.sleep(backoff.next_pause())
        finally:
            self.pending -= 1
            self._problems.pop(number, None)
        reason = dead_letter.reason[:REASON_MAX_CHARACTERS]
        log.error("dead-lettered: %s", reason, extra={"crisp.dead": source})

    async def _try_send(self, key: bytes, dead_letter: DeadLetter) -> Exception | None:
        """Return the error; None on success."""
        try:
            await (await self._topic.send(key=key, value=dead_letter.value, headers=encode(dead_letter)))
        except (KafkaError, FaustError) as error:
            return error
        return None


def _is_too_large(error: BaseException) -> bool:
    """Return whether the client or the broker rejected a record for its size. Faust wraps errors of the client."""
    return isinstance(error.__cause__ or error, MessageSizeTooLargeError | RecordListTooLargeError)

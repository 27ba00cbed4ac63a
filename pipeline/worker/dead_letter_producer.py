"""Puts dead letters into their topic through the worker's producer, tried until Kafka has them.

A dead-letter topic that is away, full, forbidden or missing is a neighbour that is away: said, waited for, never a
reason to end, and nothing behind the letter is acknowledged.
"""

import asyncio
import logging
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from pipeline.config.settings import Settings
from pipeline.contract import dead_letter
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import Headers
from pipeline.elasticsearch.retrying_client import Backoff

log = logging.getLogger(__name__)


class DeadLetterProducer:
    """`topic` is Faust's. `trouble` is why it takes nothing now, empty while it does; `waiting` letters are in work."""

    def __init__(self, topic: Any, settings: Settings) -> None:
        self._topic = topic
        self._settings = settings
        self.problem = ""
        self.pending = 0

    async def send(self, letter: DeadLetter, key: bytes | None = None) -> None:
        """Return when a letter is acknowledged in the topic."""
        what = f"{letter.index}/{letter.id}" if letter.id else "/".join(map(str, letter.origin[:3]))
        headers = dead_letter.encode(letter)
        pauses = Backoff(self._settings.retry_max_seconds)
        self.pending += 1
        while fault := await self._try_send(key or letter.id.encode(), letter.value, headers):
            self.problem = f"the topic {self._settings.topic_dead} takes no dead letters: {fault}"
            log.error("%s; tried again for ever", self.problem)
            await asyncio.sleep(next(pauses))
        self.pending -= 1
        self.problem = ""
        log.error("dead-lettered: %s", letter.reason, extra={"crisp.dead": what})

    async def _try_send(self, key: bytes, value: bytes, headers: Headers) -> str:
        """Why the topic did not take a letter; empty when it did."""
        try:
            await (await self._topic.send(key=key, value=value, headers=headers))
        except (KafkaError, FaustError) as fault:
            return str(fault) or repr(fault)
        return ""

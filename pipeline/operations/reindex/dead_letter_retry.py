"""Dead letters sent again, as a worker would send them; what is searchable by now is not."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.builder import Parcel
from pipeline.documents.record_processor import Intake
from pipeline.errors import RecordError
from pipeline.kafka import dead_letter_topic
from pipeline.operations.reindex import dead_letter_summary
from pipeline.operations.reindex.reindexer import Refill

Tell = Callable[[int, dict[str, int], str], None]
"""Shows the progress: letters read, documents by outcome, and what is in the way."""


class Retry:
    """One run. `stop` ends it early. The topic stays as it is."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, intake: Intake, tell: Tell) -> None:
        self._settings = settings
        self._client = client
        self._intake = intake
        self._tell = tell
        self._again: Counter[str] = Counter()
        self.stop = asyncio.Event()

    async def run(self, since: int | None) -> dict[str, Any]:
        """Send every letter again that is not searchable; what became of them. Raises KafkaError, LookupFailure."""
        read, met, strange = 0, set[tuple[str, ...]](), 0
        async with Refill(self._settings, self._client, self._bury) as refill:
            async for letter, _ in dead_letter_topic.letters(self._settings, since):
                if letter is None:
                    strange += 1
                elif not dead_letter_summary.known(letter, met):
                    read += 1
                    await self._letter(refill, letter)
                self._tell(read, refill.outcomes(), refill.trouble)
                if self.stop.is_set():
                    break
        return {
            "letters": read,
            "strange": strange,
            **{name: number for name, number in refill.outcomes().items() if name != "dead_lettered"},
            "refused_again": self._again.total(),
            "reasons": dict(self._again),
            "interrupted": self.stop.is_set(),
        }

    async def _letter(self, refill: Refill, letter: DeadLetter) -> None:
        if letter.id:
            await refill.take(_parcel(letter))
            return
        try:
            parcel, _ = self._intake.of(letter.value, letter.headers, letter.origin, time.time_ns())
        except RecordError as fault:
            self._again[dead_letter_summary.kind(str(fault))] += 1
            return
        await refill.take(parcel)

    async def _bury(self, letter: DeadLetter) -> None:
        """Refused again: its letter lies there already."""
        self._again[dead_letter_summary.kind(letter.reason)] += 1


def _parcel(letter: DeadLetter) -> Parcel:
    """A document's letter as the worker had it."""
    action = orjson.dumps({"create": {"_index": letter.index, "_id": letter.id}})
    document = b"%b\n%b\n" % (action, letter.value)
    indices = frozenset({letter.index})
    return Parcel([document], len(document), indices, {}, Counter(), origin=letter.origin, headers=letter.headers)

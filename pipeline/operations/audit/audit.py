"""One audit: sources read, documents made by the worker's own code, and judged."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.record import Headers, LogSlice, Origin
from pipeline.documents.builder import Documents, Parcel
from pipeline.documents.record_processor import Intake
from pipeline.elasticsearch.id_lookup import Lookup, document_id
from pipeline.errors import RecordError
from pipeline.grouping.grouper import events_of
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.topic_reader import TopicRange, committed
from pipeline.operations.audit.log_directory import Directory, Source
from pipeline.operations.audit.log_reader import Unjudged
from pipeline.operations.audit.tally import Account
from pipeline.operations.audit.verifier import Doubt, Judge
from pipeline.parsing import timestamp
from pipeline.rules import loader

PATIENCE_SECONDS = 10.0
GAPS_SHOWN = 1000

Tell = Callable[[str, float, float, int], None]
"""Shows the progress: what is read, how much of how much, and the documents looked up so far."""


class Audit:
    """Keeps the accounts. `stop` ends the reading early; what was read until then is judged."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, tell: Tell, young: float) -> None:
        self._settings = settings
        self._lookup = Lookup(client, settings)
        self._tell = tell
        self._young = young
        self._rules = loader.load(settings)
        self._bounds = self._rules.bounds() if self._rules else None
        self._judge = Judge(self._lookup, set())
        self._accounts: dict[str, Account] = {}
        self.stop = asyncio.Event()

    def _account(self, name: str) -> Account:
        return self._accounts.setdefault(name, Account(name))

    async def of_directory(self, root: Path, pods: dict[str, dict[str, Any]], since: float) -> list[Account]:
        """Every file below. `since`, seconds since the epoch: lines before are not looked up."""
        directory = Directory(root, self._settings, pods, since)
        told = Documents(self._settings, self._rules)
        untold = [Documents(self._settings, rules) for rules in self._bounds or (self._rules, self._rules)]
        done = 0
        start = timestamp.text(round(since * 1e9)).encode()
        for source in directory.sources():
            for part in source.log.slices():
                if isinstance(part, Unjudged):
                    self._account(part.path).unjudged[part.reason] += part.amount
                    continue
                done += len(part.value)
                self._tell(part.files[-1].path, done, directory.size, self._judge.looked_up)
                if not since or _last_time(part) >= start:
                    await self._take(part, source, [told, told] if source.told else untold)
                if self.stop.is_set():
                    break
            if self.stop.is_set():
                break
        await self._judge.settle(PATIENCE_SECONDS)
        await self._gaps_of(directory)
        return list(self._accounts.values())

    async def _take(self, part: LogSlice, source: Source, bounds: list[Documents]) -> None:
        accounts = {file.identity: self._account(file.path) for file in part.files}
        other = accounts[part.files[part.segments[0].file].identity]
        if source.rule:
            number = len(events_of(part))
            other.events += number
            other.dropped[source.rule] += number
        else:
            most, least = bounds
            parcel = most.of(part, part.read)
            excuses = _excuses(parcel, least.of(part, part.read)) if least is not most and self._bounds else {}
            await self._judge.take(parcel, accounts, other, Doubt(self._young, excuses=excuses))

    async def _gaps_of(self, directory: Directory) -> None:
        """Gaps are told by the shipper, no file tells them: look which there are of these pods."""
        query = {
            "bool": {"filter": [{"term": {"log.flags": "gap"}}, {"terms": {"kubernetes.pod.uid": directory.uids}}]}
        }
        fields = ["log.file.path", "crisp.gap.reason"]
        body = {"size": GAPS_SHOWN, "query": query, "_source": fields, "sort": ["_doc"]}
        for hit in (await self._lookup.search(body))["hits"]["hits"] if directory.uids else ():
            account = self._account(str(hit["_source"].get("log.file.path", "")))
            account.events += 1
            account.gaps += 1

    async def of_kafka(self, since: int | None) -> list[Account]:
        """Every record that the raw topic holds, from `since` on, milliseconds since the epoch."""
        settings = self._settings
        self._judge = Judge(self._lookup, await dead_letter_topic.ids(settings, since))
        intake, taken = Intake(settings, self._rules), await committed(settings)
        async with TopicRange(settings, settings.topic_raw, since) as held:
            async for value, headers, origin in held:
                self._tell(f"{origin.topic}/{origin.partition}", held.read, held.size, self._judge.looked_up)
                doubt = Doubt(self._young, waiting=origin.offset >= taken.get(origin.partition, 0))
                await self._record(intake, value, headers, origin, doubt)
                if self.stop.is_set():
                    break
        await self._judge.settle(PATIENCE_SECONDS)
        return list(self._accounts.values())

    async def _record(self, intake: Intake, value: bytes, headers: Headers, origin: Origin, doubt: Doubt) -> None:
        partition = f"{origin.topic}/{origin.partition}"
        try:
            parcel, kind = intake.of(value, headers, origin, origin.timestamp * 1_000_000)
        except RecordError as fault:
            self._account(partition).unjudged[f"records that break the contract ({fault})"] += 1
            return
        files = orjson.loads(dict(headers)["files"]) if kind != "third_party" else ()
        accounts = {name: self._account(path) for name, path in files}
        other = next(iter(accounts.values())) if accounts else self._account(partition)
        await self._judge.take(parcel, accounts, other, doubt)


def _excuses(parcel: Parcel, least: Parcel) -> dict[str, str]:
    """By document, the rules that would drop it if only the labels, which nobody told, were so."""
    rules = ", ".join(sorted((least.dropped - parcel.dropped).keys()))
    kept = set(map(document_id, least.documents))
    return {name: rules for name in map(document_id, parcel.documents) if name not in kept}


def _last_time(part: LogSlice) -> bytes:
    """The time of the slice's last line; of docker's lines unknown, so they are always judged."""
    last = part.value.rstrip(b"\n").rpartition(b"\n")[2]
    return last.partition(b" ")[0] if not last.startswith(b"{") else b"~"

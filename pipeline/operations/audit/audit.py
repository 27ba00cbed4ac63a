"""One audit: sources read, documents made by the worker's own code, and judged."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.record import Headers, KafkaPosition, LogSlice
from pipeline.documents.builder import DocumentBatch, DocumentBuilder
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.id_lookup import DocumentLookup, document_id
from pipeline.errors import RecordError
from pipeline.grouping.grouper import group_slice
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.topic_reader import TopicReader, committed_offsets
from pipeline.operations.audit.log_directory import LogDirectory, LogSource
from pipeline.operations.audit.log_reader import Unverifiable
from pipeline.operations.audit.tally import Tally
from pipeline.operations.audit.verifier import Tolerance, Verifier
from pipeline.parsing import timestamp
from pipeline.rules import loader

FINAL_LOOKUP_SECONDS = 10.0
MAX_GAPS = 1000

OnProgress = Callable[[str, float, float, int], None]
"""Shows the progress: what is read, how much of how much, and the documents looked up so far."""


class Audit:
    """Keeps the accounts. `stop` ends the reading early; what was read until then is judged."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, on_progress: OnProgress, min_age: float) -> None:
        self._settings = settings
        self._lookup = DocumentLookup(client, settings)
        self._on_progress = on_progress
        self._min_age = min_age
        self._rules = loader.load(settings)
        self._rule_bounds = self._rules.bounds() if self._rules else None
        self._verifier = Verifier(self._lookup, set())
        self._tallies: dict[str, Tally] = {}
        self.stop = asyncio.Event()

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally(name))

    async def audit_directory(self, root: Path, pods: dict[str, dict[str, Any]], since: float) -> list[Tally]:
        """Every file below. `since`, seconds since the epoch: lines before are not looked up."""
        directory = LogDirectory(root, self._settings, pods, since)
        told = DocumentBuilder(self._settings, self._rules)
        untold = [DocumentBuilder(self._settings, rules) for rules in self._rule_bounds or (self._rules, self._rules)]
        done = 0
        start = timestamp.format_utc(round(since * 1e9)).encode()
        for source in directory.sources():
            for part in source.log.slices():
                if isinstance(part, Unverifiable):
                    self._tally(part.path).unjudged[part.reason] += part.amount
                    continue
                done += len(part.value)
                self._on_progress(part.files[-1].path, done, directory.size, self._verifier.looked_up)
                if not since or _last_line_time(part) >= start:
                    await self._verify_slice(part, source, [told, told] if source.labels_known else untold)
                if self.stop.is_set():
                    break
            if self.stop.is_set():
                break
        await self._verifier.finish(FINAL_LOOKUP_SECONDS)
        await self._count_gaps(directory)
        return list(self._tallies.values())

    async def _verify_slice(self, log_slice: LogSlice, source: LogSource, bounds: list[DocumentBuilder]) -> None:
        accounts = {file.identity: self._tally(file.path) for file in log_slice.files}
        other = accounts[log_slice.files[log_slice.segments[0].file].identity]
        if source.excluded_by:
            number = len(group_slice(log_slice))
            other.events += number
            other.dropped[source.excluded_by] += number
        else:
            most, least = bounds
            parcel = most.build(log_slice, log_slice.read_at)
            excuses = (
                _possible_drops(parcel, least.build(log_slice, log_slice.read_at))
                if least is not most and self._rule_bounds
                else {}
            )
            await self._verifier.add(parcel, accounts, other, Tolerance(self._min_age, possible_drops=excuses))

    async def _count_gaps(self, directory: LogDirectory) -> None:
        """Gaps are told by the shipper, no file tells them: look which there are of these pods."""
        query = {
            "bool": {"filter": [{"term": {"log.flags": "gap"}}, {"terms": {"kubernetes.pod.uid": directory.pod_uids}}]}
        }
        fields = ["log.file.path", "crisp.gap.reason"]
        body = {"size": MAX_GAPS, "query": query, "_source": fields, "sort": ["_doc"]}
        for hit in (await self._lookup.search(body))["hits"]["hits"] if directory.pod_uids else ():
            account = self._tally(str(hit["_source"].get("log.file.path", "")))
            account.events += 1
            account.gaps += 1

    async def audit_kafka(self, since: int | None) -> list[Tally]:
        """Every record that the raw topic holds, from `since` on, milliseconds since the epoch."""
        settings = self._settings
        self._verifier = Verifier(self._lookup, await dead_letter_topic.read_document_ids(settings, since))
        intake, taken = RecordProcessor(settings, self._rules), await committed_offsets(settings)
        async with TopicReader(settings, settings.topic_raw, since) as held:
            async for value, headers, origin in held:
                self._on_progress(
                    f"{origin.topic}/{origin.partition}", held.records_read, held.record_count, self._verifier.looked_up
                )
                doubt = Tolerance(self._min_age, pending=origin.offset >= taken.get(origin.partition, 0))
                await self._verify_record(intake, value, headers, origin, doubt)
                if self.stop.is_set():
                    break
        await self._verifier.finish(FINAL_LOOKUP_SECONDS)
        return list(self._tallies.values())

    async def _verify_record(
        self, processor: RecordProcessor, value: bytes, headers: Headers, origin: KafkaPosition, tolerance: Tolerance
    ) -> None:
        partition = f"{origin.topic}/{origin.partition}"
        try:
            parcel, kind = processor.process(value, headers, origin, origin.timestamp * 1_000_000)
        except RecordError as fault:
            self._tally(partition).unjudged[f"records that break the contract ({fault})"] += 1
            return
        files = orjson.loads(dict(headers)["files"]) if kind != "third_party" else ()
        accounts = {name: self._tally(path) for name, path in files}
        other = next(iter(accounts.values())) if accounts else self._tally(partition)
        await self._verifier.add(parcel, accounts, other, tolerance)


def _possible_drops(batch: DocumentBatch, least: DocumentBatch) -> dict[str, str]:
    """By document, the rules that would drop it if only the labels, which nobody told, were so."""
    rules = ", ".join(sorted((least.dropped - batch.dropped).keys()))
    kept = set(map(document_id, least.documents))
    return {name: rules for name in map(document_id, batch.documents) if name not in kept}


def _last_line_time(log_slice: LogSlice) -> bytes:
    """The time of the slice's last line; of docker's lines unknown, so they are always judged."""
    last = log_slice.value.rstrip(b"\n").rpartition(b"\n")[2]
    return last.partition(b" ")[0] if not last.startswith(b"{") else b"~"

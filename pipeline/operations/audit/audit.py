"""One audit run: reads the sources, builds the documents by the worker's own code, and verifies them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import Headers, KafkaPosition, LogSlice
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.builder import DocumentBuilder
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.errors import RecordError
from pipeline.grouping.grouper import group_slice
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.topic_reader import TopicReader, committed_offsets
from pipeline.operations.audit import rules_in_force
from pipeline.operations.audit.log_directory import LogDirectory, LogSource
from pipeline.operations.audit.log_reader import Unverifiable
from pipeline.operations.audit.rules_in_force import RulesInForce, SliceJudge
from pipeline.operations.audit.tally import Tally
from pipeline.operations.audit.verifier import Tolerance, Verifier
from pipeline.parsing import timestamp
from pipeline.rules import loader
from pipeline.rules.ruleset import Ruleset

FINAL_LOOKUP_SECONDS = 10.0
MAX_GAPS = 1000

OnProgress = Callable[[str, float, float, int], None]
"""Called with the current source, the amount read, the total amount, and the number of documents looked up."""


class Audit:
    """Tallies events by source. `stop` ends reading early; events read until then are verified.

    `min_age`, in seconds: absent events younger than that count as pending. `earlier_rules`: those that were in force
    before the rules of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        client: AsyncElasticsearch,
        on_progress: OnProgress,
        min_age: float,
        earlier_rules: Sequence[Ruleset] = (),
    ) -> None:
        self._settings = settings
        self._lookup = DocumentLookup(client, settings)
        self._on_progress = on_progress
        self._min_age = min_age
        self._rules = loader.load(settings)
        self._rule_bounds = self._rules.bounds() if self._rules else None
        self._rulesets: dict[str, Ruleset | None] = {"": None, **{rules.digest: rules for rules in earlier_rules}}
        if self._rules is not None:
            self._rulesets[self._rules.digest] = self._rules
        self._in_force = RulesInForce("", {})
        self._verifier = Verifier(self._lookup, set())
        self._tallies: dict[str, Tally] = {}
        self.stop = asyncio.Event()

    async def _read_rules_in_force(self, since: float) -> bool:
        """Return whether events may have been indexed by other rules than those of the settings."""
        digest = self._rules.digest if self._rules else ""
        self._in_force = await rules_in_force.read(self._lookup, since, digest)
        return self._in_force.differ

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally(name))

    async def audit_directory(self, root: Path, pods: dict[str, JsonObject], since: float) -> list[Tally]:
        """Audit every log file below `root`. Lines before `since`, seconds since the epoch, are not looked up."""
        directory = LogDirectory(root, self._settings, pods, since)
        judged = SliceJudge(self._settings, self._rulesets) if await self._read_rules_in_force(since) else None
        exact = DocumentBuilder(self._settings, self._rules)
        bounds = [DocumentBuilder(self._settings, rules) for rules in self._rule_bounds or (self._rules, self._rules)]
        bytes_read = 0
        start = timestamp.format_utc(round(since * 1e9)).encode()
        for source in directory.sources():
            for item in source.log.slices():
                if isinstance(item, Unverifiable):
                    self._tally(item.path).unverifiable[item.reason] += item.amount
                    continue
                bytes_read += len(item.value)
                self._on_progress(item.files[-1].path, bytes_read, directory.size, self._verifier.looked_up)
                if not since or _last_line_time(item) >= start:
                    await self._verify_slice(item, source, [exact, exact] if source.labels_known else bounds, judged)
                if self.stop.is_set():
                    break
            if self.stop.is_set():
                break
        await self._verifier.finish(FINAL_LOOKUP_SECONDS)
        await self._count_gaps(directory)
        return list(self._tallies.values())

    async def _verify_slice(
        self, log_slice: LogSlice, source: LogSource, bounds: list[DocumentBuilder], judged: SliceJudge | None
    ) -> None:
        tallies = {file.identity: self._tally(file.path) for file in log_slice.files}
        default = tallies[log_slice.files[log_slice.segments[0].file].identity]
        if source.excluded_by:
            count = len(group_slice(log_slice))
            default.events += count
            default.dropped[source.excluded_by] += count
        elif judged is not None:
            candidates = self._in_force.at((cri.first_time(log_slice.value) or 0) / 1e9)
            verdicts = judged.judge(log_slice, candidates, labels_known=source.labels_known)
            await self._verifier.add_judged(verdicts, tallies, default, Tolerance(self._min_age))
        else:
            most, least = bounds
            batch = most.build(log_slice, log_slice.read_at)
            possible_drops = (
                _possible_drops(batch, least.build(log_slice, log_slice.read_at))
                if least is not most and self._rule_bounds
                else {}
            )
            tolerance = Tolerance(self._min_age, possible_drops=possible_drops)
            await self._verifier.add(batch, tallies, default, tolerance)

    async def _count_gaps(self, directory: LogDirectory) -> None:
        """Count the indexed gaps of the directory's pods: the shipper reports gaps, log files do not contain them."""
        query = {
            "bool": {"filter": [{"term": {"log.flags": "gap"}}, {"terms": {"kubernetes.pod.uid": directory.pod_uids}}]}
        }
        fields = ["log.file.path", "crisp.gap.reason"]
        body = {"size": MAX_GAPS, "query": query, "_source": fields, "sort": ["_doc"]}
        for hit in requests.read_hits(await self._lookup.search(body)) if directory.pod_uids else ():
            tally = self._tally(str(hit["_source"].get("log.file.path", "")))
            tally.events += 1
            tally.gaps += 1

    async def audit_kafka(self, since: int | None) -> list[Tally]:
        """Audit every record of the raw topic from `since` on, milliseconds since the epoch."""
        settings = self._settings
        self._verifier = Verifier(self._lookup, await dead_letter_topic.read_document_ids(settings, since))
        processors, committed = [RecordProcessor(settings, self._rules)], await committed_offsets(settings)
        digests: list[str] = []
        if await self._read_rules_in_force((since or 0) / 1000):
            digests = list(self._rulesets)
            processors = [RecordProcessor(settings, rules) for rules in self._rulesets.values()]
        async with TopicReader(settings, settings.topic_raw, since) as reader:
            async for value, headers, origin in reader.slices():
                partition = f"{origin.topic}/{origin.partition}"
                self._on_progress(partition, reader.records_read, reader.record_count, self._verifier.looked_up)
                tolerance = Tolerance(self._min_age, pending=origin.offset >= committed.get(origin.partition, 0))
                await self._verify_record(processors, digests, (value, headers, origin), tolerance)
                if self.stop.is_set():
                    break
        await self._verifier.finish(FINAL_LOOKUP_SECONDS)
        return list(self._tallies.values())

    async def _verify_record(
        self,
        processors: list[RecordProcessor],
        digests: list[str],
        record: tuple[bytes, Headers, KafkaPosition],
        tolerance: Tolerance,
    ) -> None:
        """Verify a record's documents; with `digests` of several rulesets, by those of its time."""
        value, headers, origin = record
        partition = f"{origin.topic}/{origin.partition}"
        written_ns = origin.timestamp * 1_000_000
        try:
            results = [processor.process(value, headers, origin, written_ns) for processor in processors]
        except RecordError as error:
            self._tally(partition).unverifiable[f"records that violate the contract ({error})"] += 1
            return
        (batch, kind), *_ = results
        files = orjson.loads(dict(headers)["files"]) if kind != "third_party" else ()
        tallies = {identity: self._tally(path) for identity, path in files}
        default = next(iter(tallies.values())) if tallies else self._tally(partition)
        if not digests:
            await self._verifier.add(batch, tallies, default, tolerance)
            return
        by_rules = {digest: (documents, documents) for digest, (documents, _) in zip(digests, results, strict=True)}
        verdicts = rules_in_force.judge(by_rules[""][0], by_rules, self._in_force.at(written_ns / 1e9))
        await self._verifier.add_judged(verdicts, tallies, default, tolerance)


def _possible_drops(batch: DocumentBatch, least: DocumentBatch) -> dict[str, str]:
    """Return by document id the rules that drop it for some values of the unknown pod labels."""
    rules = ", ".join(sorted((least.dropped - batch.dropped).keys()))
    kept = set(least.ids)
    return {document_id.decode(): rules for document_id in batch.ids if document_id not in kept}


def _last_line_time(log_slice: LogSlice) -> bytes:
    """Return the time of the slice's last line. Docker's lines sort after any time, so they are always verified."""
    last = log_slice.value.rstrip(b"\n").rpartition(b"\n")[2]
    return last.partition(b" ")[0] if not last.startswith(b"{") else b"~"

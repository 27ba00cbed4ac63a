"""Compares two rulesets over the records of the raw topic: which events each would drop, route or change. Read-only.

Both rulesets build the documents of every slice by the worker's own code. Only a slice whose documents differ is
explained event by event, so that the rules that make the difference can be named.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import Headers, KafkaPosition, LogSlice
from pipeline.documents.builder import DocumentBuilder
from pipeline.documents.explain import Explainer, Explanation
from pipeline.documents.record_processor import read_slices
from pipeline.errors import RecordError
from pipeline.kafka.topic_reader import TopicReader
from pipeline.rules.ruleset import Ruleset

CHANGES = ("dropped", "sampled", "kept", "routed", "changed")
"""What the new rules do to an event in comparison with the old ones: drop it, drop it by a sample, index it although
the old ones dropped it, index it elsewhere, index other fields."""

MAX_GROUPS = 2000
OTHERS = "others"
MAX_SAMPLE_FIELDS = 5
MAX_SAMPLE_CHARACTERS = 200
_RULE_ORIGIN = "rule "

OnProgress = Callable[[int, int, int], None]
"""Called with the number of records read, their total, and the number of events that differ."""


@dataclass(slots=True)
class Difference:
    """Events of one workload with the same change by the same rule; `sample` is the first of them."""

    change: str
    rule: str
    workload: str
    events: int = 0
    sample: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """Return the JSON object of `crisp rules diff --json`."""
        return {
            "change": self.change,
            "rule": self.rule,
            "workload": self.workload,
            "events": self.events,
            "sample": self.sample,
        }


class RulesDiff:
    """One comparison. `stop` ends it early. `events` counts all events, `differing` those that differ in any way."""

    def __init__(self, settings: Settings, old: Ruleset | None, new: Ruleset | None) -> None:
        # With equal digests, documents differ only if the rules change them.
        self._rules = [replace(rules, digest="") if rules else Ruleset((), "") for rules in (old, new)]
        self._kinds = {rule.name: rule.kind for rules in self._rules for rule in rules.rules}
        self._builders = [DocumentBuilder(settings, rules) for rules in self._rules]
        self._explainers = [Explainer(settings, rules) for rules in self._rules]
        self._settings = settings
        self._groups: dict[tuple[str, str, str], Difference] = {}
        self.totals: Counter[str] = Counter()
        self.events = self.differing = self.records = self.invalid_records = 0
        self.stop = asyncio.Event()

    async def run(self, since: int, until: int | None, on_progress: OnProgress) -> None:
        """Compare the records from `since` to `until`, milliseconds since the epoch. Raises KafkaError."""
        async with TopicReader(self._settings, self._settings.topic_raw, since, until) as reader:
            async for value, headers, origin in reader.slices():
                self.add(value, headers, origin)
                self.records = reader.records_read
                on_progress(reader.records_read, reader.record_count, self.differing)
                if self.stop.is_set():
                    break

    def add(self, value: bytes, headers: Headers, origin: KafkaPosition) -> None:
        """Compare the documents of one record; an invalid record, which a worker dead-letters, is only counted."""
        try:
            for log_slice in read_slices(value, headers, origin, self._settings.grouping):
                self._compare_slice(log_slice, origin.timestamp * 10**6)
        except RecordError:
            self.invalid_records += 1

    def differences(self) -> list[Difference]:
        """Return the groups, by change in the order of `CHANGES`, then the largest first."""
        return sorted(self._groups.values(), key=lambda group: (CHANGES.index(group.change), -group.events))

    def _compare_slice(self, log_slice: LogSlice, now_ns: int) -> None:
        old, new = (builder.build(log_slice, now_ns) for builder in self._builders)
        self.events += len(old) + old.dropped.total()
        if (old.ids, old.indices, old.sources) == (new.ids, new.indices, new.sources):
            return
        workload = pod_metadata.workload_name(log_slice.pod)
        pairs = zip(*(explainer.explain(log_slice, now_ns) for explainer in self._explainers), strict=True)
        for before, after in pairs:
            changes = list(self._compare_events(before, after))
            for change, rule, sample in changes:
                self._count(change, rule, workload, sample)
            self.totals.update({change for change, _, _ in changes})
            self.differing += bool(changes)

    def _compare_events(self, before: Explanation, after: Explanation) -> Iterator[tuple[str, str, JsonObject]]:
        """Return each change of an event with the rule that makes it and a sample."""
        if before.hit is None or after.hit is None:
            hit = before.hit or after.hit
            if hit is not None:
                rule = before.rule or after.rule
                dropped = "sampled" if self._kinds.get(rule) == "sample" else "dropped"
                yield (dropped if after.hit is None else "kept"), rule, _sample(hit)
            return
        if before.hit["_index"] != after.hit["_index"]:
            sample = {**_sample(after.hit), "old_index": before.hit["_index"]}
            for rule in self._rules_of_kind("route", before, after):
                yield "routed", rule, sample
        old, new = before.hit["_source"], after.hit["_source"]
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if names:
            values = {name: [_shorten(old.get(name)), _shorten(new.get(name))] for name in names[:MAX_SAMPLE_FIELDS]}
            for rule in _changing_rules(names, before, after):
                yield "changed", rule, {**_sample(after.hit), "fields": values}

    def _rules_of_kind(self, kind: str, before: Explanation, after: Explanation) -> list[str]:
        for rules in (set(after.applied_rules) - set(before.applied_rules), after.applied_rules, before.applied_rules):
            names = sorted(rule for rule in rules if self._kinds.get(rule) == kind)
            if names:
                return names
        return [OTHERS]

    def _count(self, change: str, rule: str, workload: str, sample: JsonObject) -> None:
        if len(self._groups) >= MAX_GROUPS and (change, rule, workload) not in self._groups:
            workload = OTHERS
        group = self._groups.setdefault((change, rule, workload), Difference(change, rule, workload))
        group.events += 1
        group.sample = group.sample or sample


def _changing_rules(names: list[str], before: Explanation, after: Explanation) -> list[str]:
    """Return the rules that set the named fields in the new or else in the old document."""
    rules = set[str]()
    for name in names:
        origins = [explanation.origins.get(name, "") for explanation in (after, before)]
        rules.update(
            next(([origin.removeprefix(_RULE_ORIGIN)] for origin in origins if origin.startswith(_RULE_ORIGIN)), [])
        )
    return sorted(rules or set(after.applied_rules) ^ set(before.applied_rules)) or [OTHERS]


def _sample(hit: JsonObject) -> JsonObject:
    return {"id": hit["_id"], "index": hit["_index"], "message": _shorten(hit["_source"].get("message"))}


def _shorten(value: Any) -> Any:
    text = value if isinstance(value, str) else None
    return value if text is None or len(text) <= MAX_SAMPLE_CHARACTERS else f"{text[:MAX_SAMPLE_CHARACTERS]}…"

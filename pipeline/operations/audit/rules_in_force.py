"""Which rules were in force when events were indexed, by the digests that documents carry; and what follows for events.

An event that is in no index is missing only if the rules of its time would have kept it. Those need not be the rules
that the audit has: after a change of the rules, or in a shell without the rules file, they are others.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from pipeline.config.settings import DocumentSettings
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import LogSlice
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.builder import DocumentBuilder
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.rules.ruleset import Ruleset

CHANGE_SECONDS = 600.0
"""Upper bound of the time from a change of the rules to its use by every worker, and of clocks that differ."""

MAX_DIGESTS = 1000
UNJUDGED = "events that cannot be judged by today's rules"


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """The digests of the rules of all documents, empty for none; `today` is that of the audit's.

    `until`: the time after which other rules were in force, in seconds since the epoch, inf if none were.
    """

    today: str
    until: Mapping[str, float]

    @property
    def differ(self) -> bool:
        """Whether documents were indexed by other rules than the audit's."""
        return bool(self.until.keys() - {self.today})

    def at(self, written: float) -> frozenset[str]:
        """Return the rules by which an event may have been handled that was written to Kafka or a file at this time.

        Today's are always among them: rules that drop everything leave no document.
        """
        used = {digest for digest, until in self.until.items() if until >= written - CHANGE_SECONDS}
        return frozenset(used | {self.today})


async def read(lookup: DocumentLookup, since: float, today: str) -> RulesInForce:
    """Read the rules of all documents that were indexed since a time. Raises DocumentLookupError."""
    times = {name: {name: {"field": "event.ingested"}} for name in ("min", "max")}
    rules = {"terms": {"field": "crisp.rules", "missing": "", "size": MAX_DIGESTS}, "aggs": times}
    query = {"range": {"event.ingested": {"gte": round(since * 1000), "format": "epoch_millis"}}}
    response = await lookup.search({"size": 0, "query": query, "aggs": {"rules": rules}})
    buckets = requests.read_buckets(response, "rules")
    seen = sorted(
        (_time(bucket, "min", 0.0), _time(bucket, "max", inf), requests.read_member(bucket, str, "key"))
        for bucket in buckets
    )
    until: dict[str, float] = {}
    for number, (_, last, digest) in enumerate(seen):
        later = [begin for begin, _, _ in seen[number + 1 :]]
        until[digest] = max(last, later[0]) if later else inf
    return RulesInForce(today, until)


def _time(bucket: JsonObject, name: str, unknown: float) -> float:
    """Return a time of a bucket in seconds; it is null without any document that has the field."""
    value = (bucket.get(name) or {}).get("value") if isinstance(bucket.get(name) or {}, dict) else None
    return value / 1000 if isinstance(value, int | float) else unknown


@dataclass(slots=True)
class Verdicts:
    """What follows for the events of one record, if they are in no index, by document id.

    `sources`: every event that any of the rules keeps; `dropped`: by the rules' names; `unjudged`: by the reason.
    Other events of `sources` are missing. `never_built` counts the events that all of the rules drop, by name.
    """

    sources: dict[str, bytes] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)
    never_built: dict[str, int] = field(default_factory=dict)


Bounds = tuple[DocumentBatch, DocumentBatch]
"""The documents of a record by some rules: at most these, and at least those, where labels are not known."""


def judge(all_events: DocumentBatch, by_rules: Mapping[str, Bounds], candidates: Collection[str]) -> Verdicts:
    """Judge the events of a record that may have been indexed by any of the candidates.

    `all_events` are its documents without rules, `by_rules` those by each ruleset that the audit has, by digest.
    """
    verdicts = Verdicts()
    for batch in (all_events, *(most for most, _ in by_rules.values())):
        for raw_id, source in zip(batch.ids, batch.sources, strict=True):
            verdicts.sources.setdefault(raw_id.decode(), source)
    unknown = sorted(set(candidates) - by_rules.keys())
    kept = {digest: _ids(by_rules[digest][1]) for digest in candidates if digest in by_rules}
    possible = {digest: _ids(by_rules[digest][0]) for digest in kept}
    names = _rule_names(all_events, [by_rules[digest][0] for digest in kept])
    by_labels = {digest: _label_rules(*by_rules[digest]) for digest in kept}
    for identifier in verdicts.sources:
        label_rules = {by_labels[digest] for digest in kept if identifier in possible[digest] - kept[digest]}
        if label_rules:
            verdicts.unjudged[identifier] = may_be_dropped(", ".join(sorted(label_rules)))
        elif unknown:
            verdicts.unjudged[identifier] = f"{UNJUDGED}: indexed by {', '.join(map(_describe, unknown))}, see --rules"
        elif not any(identifier in ids for ids in possible.values()):
            verdicts.dropped[identifier] = names
        elif not all(identifier in ids for ids in kept.values()):
            digests = ", ".join(map(_describe, sorted(kept)))
            verdicts.unjudged[identifier] = f"{UNJUDGED}: only some of {digests} keep them"
    remaining = len(all_events) + all_events.dropped.total() - len(verdicts.sources)
    for name, count in all_events.dropped.items():
        verdicts.never_built[name] = min(count, remaining)
        remaining -= verdicts.never_built[name]
    return verdicts


class SliceJudge:
    """Judges the slices of log files by the rules that may have been in force."""

    def __init__(self, settings: DocumentSettings, rulesets: dict[str, Ruleset | None]) -> None:
        self._exact = {digest: DocumentBuilder(settings, rules) for digest, rules in rulesets.items()}
        self._bounds = {
            digest: tuple(DocumentBuilder(settings, bound) for bound in (rules and rules.bounds()) or (rules, rules))
            for digest, rules in rulesets.items()
        }

    def judge(self, log_slice: LogSlice, candidates: Collection[str], *, labels_known: bool) -> Verdicts:
        """Judge the events of a slice; the labels of its pod may be unknown."""
        by_rules: dict[str, Bounds] = {}
        for digest, builder in self._exact.items():
            most, least = (builder, builder) if labels_known else self._bounds[digest]
            documents = most.build(log_slice, log_slice.read_at)
            fewest = documents if least is most else least.build(log_slice, log_slice.read_at)
            by_rules[digest] = documents, fewest
        return judge(by_rules[""][0], by_rules, candidates)


def may_be_dropped(rules: str) -> str:
    """Return the reason why an event of a log file cannot be judged, of whose pod the labels are not known."""
    return f"events that the rule {rules} may have dropped (pod labels unknown)"


def _label_rules(most: DocumentBatch, least: DocumentBatch) -> str:
    """Return the names of the rules that drop events for some values of the unknown pod labels."""
    return ", ".join(sorted((least.dropped - most.dropped).keys()))


def _ids(batch: DocumentBatch) -> frozenset[str]:
    return frozenset(map(bytes.decode, batch.ids))


def _rule_names(all_events: DocumentBatch, batches: list[DocumentBatch]) -> str:
    """Return the names of the rules that drop events of a record."""
    names = {name for batch in batches for name, count in batch.dropped.items() if count > all_events.dropped[name]}
    return ", ".join(sorted(names))


def _describe(digest: str) -> str:
    return f"the rules {digest}" if digest else "no rules"

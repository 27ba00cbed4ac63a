"""Absent events are judged by the rules that may have been in force: never a false alarm, never a false peace."""

from collections import Counter
from math import inf

import pytest

from pipeline.documents.batch import DocumentBatch
from pipeline.operations.audit.rules_in_force import CHANGE_SECONDS, UNJUDGED, RulesInForce, judge

HOUR = 3600.0


def batch(*ids: str, **dropped: int) -> DocumentBatch:
    """Documents with these ids, and events dropped by rules of these names."""
    return DocumentBatch(
        ["i"] * len(ids), [identifier.encode() for identifier in ids], [b"{}"] * len(ids), {}, Counter(dropped)
    )


def verdicts(candidates: set[str], **others: DocumentBatch) -> dict[str, str]:
    """The verdict on each event of a record of three, by rules `drops` that drop c, `keeps`, and other ones."""
    by_rules = {"drops": batch("a", "b", noise=1), "keeps": batch("a", "b", "c"), "": batch("a", "b", "c"), **others}
    result = judge(by_rules[""], {name: (docs, docs) for name, docs in by_rules.items()}, candidates)
    assert result.sources.keys() == {"a", "b", "c"}
    assert result.never_built == {}
    return {
        identifier: "unjudged"
        if identifier in result.unjudged
        else f"dropped by {result.dropped[identifier]}"
        if identifier in result.dropped
        else "missing"
        for identifier in result.sources
    }


def test_event_that_every_candidate_keeps_is_missing() -> None:
    assert verdicts({"keeps", ""}) == dict.fromkeys("abc", "missing")


def test_event_that_every_candidate_drops_is_dropped() -> None:
    assert verdicts({"drops"}) == {"a": "missing", "b": "missing", "c": "dropped by noise"}
    assert verdicts({"drops", "other"}, other=batch("a", "b", debug=1))["c"] == "dropped by debug, noise"


def test_event_that_only_some_candidates_drop_cannot_be_judged() -> None:
    assert verdicts({"drops", "keeps"}) == {"a": "missing", "b": "missing", "c": "unjudged"}


def test_no_event_can_be_judged_by_rules_that_the_audit_does_not_have() -> None:
    assert verdicts({"unknown"}) == dict.fromkeys("abc", "unjudged")
    assert verdicts({"unknown", "keeps"}) == dict.fromkeys("abc", "unjudged")


def test_reason_names_the_rules_that_are_needed() -> None:
    docs = batch("a")

    reasons = set(judge(docs, {"": (docs, docs)}, {"0abc", "1def"}).unjudged.values())

    assert reasons == {f"{UNJUDGED}: indexed by the rules 0abc, the rules 1def, see --rules"}


def test_event_that_unknown_labels_may_drop_cannot_be_judged() -> None:
    both = batch("a", "b"), batch("a", noise=1)

    result = judge(batch("a", "b"), {"": (batch("a", "b"),) * 2, "labels": both}, {"labels"})

    assert result.unjudged == {"b": "events that the rule noise may have dropped (pod labels unknown)"}
    assert not result.dropped


def test_health_probe_that_rules_keep_is_an_event_of_its_own() -> None:
    without = batch("a", **{"health probe": 2})
    keeps = batch("a", "p", **{"health probe": 1})

    result = judge(without, {"": (without, without), "keeps": (keeps, keeps)}, {"keeps"})

    assert (set(result.sources), result.never_built, result.dropped) == ({"a", "p"}, {"health probe": 1}, {})


@pytest.mark.parametrize(
    ("written", "candidates"),
    [
        (0.0, {"", "old", "new"}),
        (5 * HOUR, {"old", "new"}),
        (9 * HOUR + CHANGE_SECONDS - 1, {"old", "new"}),
        (9 * HOUR + CHANGE_SECONDS + 1, {"new"}),
        (99 * HOUR, {"new"}),
    ],
)
def test_rules_of_an_event_are_those_in_force_when_it_was_written_or_later(
    written: float, candidates: set[str]
) -> None:
    in_force = RulesInForce("new", {"": 3 * HOUR, "old": 9 * HOUR, "new": inf})

    assert in_force.at(written) == candidates


def test_todays_rules_may_be_in_force_without_a_document() -> None:
    in_force = RulesInForce("drops everything", {"old": inf})

    assert in_force.differ
    assert in_force.at(0.0) == {"drops everything", "old"}
    assert not RulesInForce("old", {"old": inf}).differ
    assert not RulesInForce("old", {}).differ

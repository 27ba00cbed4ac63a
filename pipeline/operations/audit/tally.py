"""The tally of one source's events: a log file, or the third-party records of a partition. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_EXAMPLES = 10
COUNTERS = ("events", "found", "gaps", "dead", "waiting", "missing", "doubled")


@dataclass(slots=True)
class Tally:
    """The events of one source by verdict.

    `events` = `found` + `gaps` + `dropped` (by the rule's name) + `dead` (dead-lettered) + `waiting` (in flight)
    + `missing` + the unverifiable events of `unjudged`. The keys of `unjudged` are reasons that name their unit;
    `doubled` counts events in more than one index, `sample` has examples of missing and duplicated events.
    """

    name: str
    events: int = 0
    found: int = 0
    gaps: int = 0
    dead: int = 0
    waiting: int = 0
    missing: int = 0
    doubled: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, Any]] = field(default_factory=list)

    def count_with_example(self, verdict: str, example: dict[str, Any]) -> None:
        """Count a missing or duplicated event, and keep up to MAX_EXAMPLES examples."""
        setattr(self, verdict, getattr(self, verdict) + 1)
        if len(self.sample) < MAX_EXAMPLES:
            self.sample.append({"verdict": verdict, **example})

    @property
    def is_clean(self) -> bool:
        """Whether every event is indexed, or dropped by a rule."""
        return not (self.gaps or self.dead or self.waiting or self.missing or self.doubled or self.unjudged)

    def as_dict(self) -> dict[str, Any]:
        """Return the tally as a JSON object."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"dropped": dict(self.dropped), "unjudged": dict(self.unjudged)}


def total(tallies: list[Tally]) -> Tally:
    """Return the sum of all tallies, without examples."""
    result = Tally("all")
    for tally in tallies:
        for name in COUNTERS:
            setattr(result, name, getattr(result, name) + getattr(tally, name))
        result.dropped += tally.dropped
        result.unjudged += tally.unjudged
    return result

"""What became of the events of one source: a log file, or a partition's foreign records. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_EXAMPLES = 10
COUNTERS = ("events", "found", "gaps", "dead", "waiting", "missing", "doubled")


@dataclass(slots=True)
class Tally:
    """The events of one source by verdict.

    `events` = `found` + `gaps` + `dropped` (by the rule's name) + `dead` (dead-lettered) + `waiting` (on their way)
    + `missing` + those `unjudged`. `unjudged` has reasons, each with its unit in its words; `doubled` are events
    found in more than one index, `sample` some of the missing and doubled.
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
        """Count a missing or doubled event, and keep some of them as examples."""
        setattr(self, verdict, getattr(self, verdict) + 1)
        if len(self.sample) < MAX_EXAMPLES:
            self.sample.append({"verdict": verdict, **example})

    @property
    def is_clean(self) -> bool:
        """Whether all of it is found, or absent by a rule."""
        return not (self.gaps or self.dead or self.waiting or self.missing or self.doubled or self.unjudged)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"dropped": dict(self.dropped), "unjudged": dict(self.unjudged)}


def total(tallies: list[Tally]) -> Tally:
    """All accounts as one, without examples."""
    whole = Tally("all")
    for account in tallies:
        for name in COUNTERS:
            setattr(whole, name, getattr(whole, name) + getattr(account, name))
        whole.dropped += account.dropped
        whole.unjudged += account.unjudged
    return whole

"""The tally of one source's events: a log file, or the third-party records of a partition. Pure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.contract.json_types import JsonObject

MAX_EXAMPLES = 10


@dataclass(slots=True)
class Tally:
    """The events of one source by verdict.

    `events` = `indexed` + `gaps` + `dropped` (by the rule's name) + `dead_lettered` + `pending` (in flight) + `missing`
    + the events of `unverifiable`. The keys of `unverifiable` are reasons that name their unit; `duplicated` counts
    events in more than one index, `examples` has missing and duplicated events.
    """

    name: str
    events: int = 0
    indexed: int = 0
    gaps: int = 0
    dead_lettered: int = 0
    pending: int = 0
    missing: int = 0
    duplicated: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unverifiable: Counter[str] = field(default_factory=Counter)
    examples: list[JsonObject] = field(default_factory=list)

    def count_missing(self, example: JsonObject) -> None:
        """Count a missing event."""
        self.missing += 1
        self._add_example("missing", example)

    def count_duplicated(self, example: JsonObject) -> None:
        """Count an event that is in more than one index."""
        self.duplicated += 1
        self._add_example("duplicated", example)

    def _add_example(self, verdict: str, example: JsonObject) -> None:
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append({"verdict": verdict, **example})

    @property
    def is_clean(self) -> bool:
        """Whether every event is indexed, or dropped by a rule."""
        return not (
            self.gaps or self.dead_lettered or self.pending or self.missing or self.duplicated or self.unverifiable
        )

    def as_json(self) -> JsonObject:
        """Return the tally as a JSON object."""
        return {
            "name": self.name,
            "events": self.events,
            "indexed": self.indexed,
            "gaps": self.gaps,
            "dead_lettered": self.dead_lettered,
            "pending": self.pending,
            "missing": self.missing,
            "duplicated": self.duplicated,
            "dropped": dict(self.dropped),
            "unverifiable": dict(self.unverifiable),
            "examples": self.examples,
        }


def total(tallies: list[Tally]) -> Tally:
    """Return the sum of all tallies, without examples."""

    def add(count: Callable[[Tally], int]) -> int:
        return sum(map(count, tallies))

    return Tally(
        "all",
        events=add(lambda tally: tally.events),
        indexed=add(lambda tally: tally.indexed),
        gaps=add(lambda tally: tally.gaps),
        dead_lettered=add(lambda tally: tally.dead_lettered),
        pending=add(lambda tally: tally.pending),
        missing=add(lambda tally: tally.missing),
        duplicated=add(lambda tally: tally.duplicated),
        dropped=sum((tally.dropped for tally in tallies), Counter()),
        unverifiable=sum((tally.unverifiable for tally in tallies), Counter()),
    )

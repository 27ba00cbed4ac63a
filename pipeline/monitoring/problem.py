"""Problems of a process, as its page and `crisp status` show them: severity, consequence for the lines, runbook."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeVar


class Severity(Enum):
    """Severity of a problem, in ascending order; the values are its names in JSON. Critical: lines wait or are lost."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"

    def __lt__(self, other: Self) -> bool:
        order = list(Severity)
        return order.index(self) < order.index(other)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one process or server; `runbook` is the name of its runbook."""

    severity: Severity
    message: str
    runbook: str


def critical(message: str, runbook: str) -> Problem:
    """A problem that needs action now."""
    return Problem(Severity.CRITICAL, message, runbook)


def warning(message: str, runbook: str) -> Problem:
    """A problem that can wait for working hours."""
    return Problem(Severity.WARNING, message, runbook)


def worst_severity(problems: Iterable[Problem]) -> Severity:
    """The highest severity; OK if there is no problem."""
    return max((problem.severity for problem in problems), default=Severity.OK)


AnyProblem = TypeVar("AnyProblem", bound=Problem)


def worst_first(problems: Iterable[AnyProblem]) -> tuple[AnyProblem, ...]:
    """The problems, by descending severity."""
    return tuple(sorted(problems, key=lambda problem: problem.severity, reverse=True))

"""The result of one check. Pure."""

from typing import NamedTuple

OK, WARNING, FAILED = "ok", "warning", "failed"


class CheckResult(NamedTuple):
    """A result: the subject, its state (ok, warning, failed), the observation, and the remedy."""

    what: str
    state: str
    seen: str
    todo: str = ""

    def line(self) -> str:
        """Return the result as text."""
        label = {OK: "OK", WARNING: "WARN", FAILED: "FAIL"}[self.state]
        return f"{label:4}  {self.what}: {self.seen}" + (f"\n      -> {self.todo}" if self.todo else "")


def ok(what: str, seen: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(what, OK, seen)


def warning(what: str, seen: str, todo: str = "") -> CheckResult:
    """Return the result of a check that passed with a problem, or could not be made."""
    return CheckResult(what, WARNING, seen, todo)


def failed(what: str, seen: str, todo: str) -> CheckResult:
    """Return the result of a check that failed: crisp will not work."""
    return CheckResult(what, FAILED, seen, todo)

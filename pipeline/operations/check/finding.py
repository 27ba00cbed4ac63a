"""One finding of a check. Pure."""

from typing import NamedTuple

OK, WARNING, FAILED = "ok", "warning", "failed"


class CheckResult(NamedTuple):
    """What was looked at, how it is (ok, warning, failed), what was seen, and what to do."""

    what: str
    state: str
    seen: str
    todo: str = ""

    def line(self) -> str:
        """As a line of text."""
        sign = {OK: "OK", WARNING: "look", FAILED: "FAIL"}[self.state]
        return f"{sign:4}  {self.what}: {self.seen}" + (f"\n      -> {self.todo}" if self.todo else "")


def ok(what: str, seen: str) -> CheckResult:
    """It is as it should be."""
    return CheckResult(what, OK, seen)


def warning(what: str, seen: str, todo: str = "") -> CheckResult:
    """It works, or it could not be seen whether it does."""
    return CheckResult(what, WARNING, seen, todo)


def failed(what: str, seen: str, todo: str) -> CheckResult:
    """It will not work."""
    return CheckResult(what, FAILED, seen, todo)

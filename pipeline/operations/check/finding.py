"""The result of one check. Pure."""

from typing import NamedTuple

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"


class CheckResult(NamedTuple):
    """A result: the subject, its status (ok, warning, failed, skipped), the observation, and the remedy."""

    subject: str
    status: str
    observed: str
    remedy: str = ""

    def line(self) -> str:
        """Return the result as text."""
        label = {OK: "OK", WARNING: "WARN", FAILED: "FAIL", SKIPPED: "SKIP"}[self.status]
        return f"{label:4}  {self.subject}: {self.observed}" + (f"\n      -> {self.remedy}" if self.remedy else "")


def ok(subject: str, observed: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(subject, OK, observed)


def warning(subject: str, observed: str, remedy: str = "") -> CheckResult:
    """Return the result of a check that passed with a problem, or could not be made."""
    return CheckResult(subject, WARNING, observed, remedy)


def failed(subject: str, observed: str, remedy: str) -> CheckResult:
    """Return the result of a check that failed: crisp will not work."""
    return CheckResult(subject, FAILED, observed, remedy)


def skipped(subject: str, observed: str) -> CheckResult:
    """Return the result of a check that was not made, as there is nothing here to check; `observed` says why."""
    return CheckResult(subject, SKIPPED, observed)

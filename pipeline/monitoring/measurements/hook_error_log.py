"""Failures of rules' hooks: counted by rule, the traceback logged at most once a minute, kept for the status page."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import HookErrors

LOG_INTERVAL_SECONDS = 60.0
MAX_RULES = 100
METRIC = "crisp_worker_hook_errors"

log = logging.getLogger(__name__)


class HookErrorLog:
    """The failures since the start; times are in seconds since the epoch."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._errors: dict[str, HookErrors] = {}
        self._logged_at: dict[str, float] = {}

    def expect(self, rules: Iterable[str]) -> None:
        """Begin to count for these rules with 0: an alert on the increase needs the first failure too."""
        for rule in rules:
            self._metrics.inc(METRIC, 0, rule=rule)

    def add(self, counts: Mapping[str, int], tracebacks: Mapping[str, str], now: float) -> None:
        """Add failed events by rule, each with the traceback of one of them."""
        for rule, count in counts.items():
            self._metrics.inc(METRIC, count, rule=rule)
            traceback = tracebacks.get(rule, "").rstrip()
            self._log(rule, count, traceback, now)
            known = self._errors.pop(rule, None) or HookErrors(rule, 0, now, now, "")
            self._errors[rule] = replace(known, count=known.count + count, last_at=now, error=_summary(traceback))
            if len(self._errors) > MAX_RULES:
                oldest = next(iter(self._errors))
                del self._errors[oldest]
                self._logged_at.pop(oldest, None)

    def _log(self, rule: str, count: int, traceback: str, now: float) -> None:
        logged_at = self._logged_at.get(rule)
        if logged_at is not None and 0 <= now - logged_at < LOG_INTERVAL_SECONDS:
            return
        self._logged_at[rule] = now
        total = count + (self._errors[rule].count if rule in self._errors else 0)
        log.error('the hook of the rule "%s" failed, %d events so far, indexed without it: %s', rule, total, traceback)

    def snapshot(self) -> tuple[HookErrors, ...]:
        """Return the failures by rule, the most recent first."""
        return tuple(reversed(list(self._errors.values())))


def _summary(traceback: str) -> str:
    """Return the type of the error and the last place in the code; its message may have log content."""
    lines = traceback.splitlines()
    places = [line.strip().removeprefix("File ").partition(", in ")[0] for line in lines if line.startswith("  File ")]
    kind = lines[-1].partition(":")[0].strip() if lines else "unknown error"
    return f"{kind} at {places[-1]}" if places else kind

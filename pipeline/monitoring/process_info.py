"""The status fields of every process: kind, name, version, start time, settings, health."""

import time
from typing import Any

from pipeline import __version__
from pipeline.config.environment import non_defaults
from pipeline.config.settings import Settings
from pipeline.monitoring import health

_STARTED = time.time()


def snapshot(kind: str, name: str, healthy_message: str, effective: Settings) -> dict[str, Any]:
    """The common status fields; `healthy_message` is the text shown without problems."""
    return {
        "kind": kind,
        "name": name,
        "version": __version__,
        "started": _STARTED,
        "well": healthy_message,
        "settings": non_defaults(effective),
    }


def with_health(status: dict[str, Any]) -> dict[str, Any]:
    """The status with its problems and the worst severity."""
    problems = health.find_problems(status, time.time())
    state = health.worst_severity(problem.severity for problem in problems)
    return {**status, "state": state.label, "troubles": [problem.as_dict() for problem in problems]}

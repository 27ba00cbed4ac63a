"""What every process tells of itself, whatever it is: kind, name, version, since when, settings, and the verdict."""

import time
from typing import Any

from pipeline import __version__
from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.monitoring import health

_STARTED = time.time()


def snapshot(kind: str, name: str, healthy_message: str, effective: Settings) -> dict[str, Any]:
    """The first of the facts; `well`: what to say when nothing is wrong."""
    return {
        "kind": kind,
        "name": name,
        "version": __version__,
        "started": _STARTED,
        "well": healthy_message,
        "settings": settings.non_defaults(effective),
    }


def with_health(status: dict[str, Any]) -> dict[str, Any]:
    """The facts with what follows from them."""
    troubles = health.find_problems(status, time.time())
    state = health.worst_severity(trouble.severity for trouble in troubles)
    return {**status, "state": state.label, "troubles": [trouble.as_dict() for trouble in troubles]}

"""What every process tells of itself, whatever it is: kind, name, version, since when, settings, and the verdict."""

import time
from typing import Any

from pipeline import __version__
from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.monitoring import health

_STARTED = time.time()


def facts(kind: str, name: str, well: str, effective: Settings) -> dict[str, Any]:
    """The first of the facts; `well`: what to say when nothing is wrong."""
    return {
        "kind": kind,
        "name": name,
        "version": __version__,
        "started": _STARTED,
        "well": well,
        "settings": settings.changed(effective),
    }


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """The facts with what follows from them."""
    troubles = health.of(found, time.time())
    state = health.level(trouble.level for trouble in troubles)
    return {**found, "state": state.label, "troubles": [trouble.as_dict() for trouble in troubles]}

"""What every process tells of itself, whatever it is: kind, name, version, since when, settings, and the verdict."""

import time
from typing import Any

from pipeline import __version__, settings
from pipeline.settings import Settings
from pipeline.status import verdict

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
    troubles = verdict.of(found, time.time())
    return {**found, "state": verdict.level(troubles), "troubles": [trouble._asdict() for trouble in troubles]}

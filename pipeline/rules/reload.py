"""The rules in force in a running process, read again when their file changes.

A ConfigMap changes by a swap of links, an editor by a rename: so the content is compared, never a time or an inode. A
file that is broken, or gone, is refused: the rules before it stay, and the faults are told.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import RulesError
from pipeline.rules import loader
from pipeline.rules.ruleset import Ruleset

log = logging.getLogger(__name__)


class Renewal:
    """Holds the rules and hands them to `use`; `look` reads them again. Raises RulesError at the start only."""

    def __init__(self, settings: Settings, use: Callable[[Ruleset | None], None]) -> None:
        self._settings = settings
        self._use = use
        self._seen = self._content()
        self.rules = loader.load(settings)
        self.refused: list[str] = []
        use(self.rules)

    def _content(self) -> tuple[bytes, ...]:
        """The file's bytes and those of the modules that it may name. Raises RulesError."""
        if not self._settings.rules_file:
            return ()
        modules = sorted(Path(self._settings.rules_python_dir).rglob("*.py")) if self._settings.rules_python_dir else []
        return (loader.contents(self._settings), *(_bytes(path) for path in modules))

    def look(self) -> None:
        """Take what the file says now, if it says something new and is without faults."""
        try:
            before, self._seen = self._seen, ()
            self._seen = self._content()
            if self._seen == before:
                return
            rules = loader.load(self._settings)
        except RulesError as refusal:
            if refusal.faults != self.refused:
                log.error("the new rules are refused, those before stay: %s", "; ".join(refusal.faults))
            self.refused = refusal.faults
            return
        self.rules, self.refused = rules, []
        self._use(rules)
        log.info("new rules are in force", extra={"crisp.rules": rules.digest if rules else ""})

    def facts(self) -> dict[str, Any]:
        """What is in force, for the status."""
        names = [rule.name for rule in self.rules.rules] if self.rules else []
        return {
            "file": self._settings.rules_file,
            "digest": self.rules.digest if self.rules else "",
            "rules": names,
            "refused": self.refused,
        }


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # gone between the listing and now: another content, so it is looked at again

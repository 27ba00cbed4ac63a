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


class RulesReloader:
    """Holds the rules and hands them to `use`; `look` reads them again. Raises RulesError at the start only."""

    def __init__(self, settings: Settings, on_reload: Callable[[Ruleset | None], None]) -> None:
        self._settings = settings
        self._on_reload = on_reload
        self._last_content = self._read_content()
        self.rules = loader.load(settings)
        self.problems: list[str] = []
        on_reload(self.rules)

    def _read_content(self) -> tuple[bytes, ...]:
        """The file's bytes and those of the modules that it may name. Raises RulesError."""
        if not self._settings.rules_file:
            return ()
        modules = sorted(Path(self._settings.rules_python_dir).rglob("*.py")) if self._settings.rules_python_dir else []
        return (loader.read_bytes(self._settings), *(_read_or_empty(path) for path in modules))

    def poll(self) -> None:
        """Take what the file says now, if it says something new and is without faults."""
        try:
            before, self._last_content = self._last_content, ()
            self._last_content = self._read_content()
            if self._last_content == before:
                return
            rules = loader.load(self._settings)
        except RulesError as refusal:
            if refusal.problems != self.problems:
                log.error("the new rules are refused, those before stay: %s", "; ".join(refusal.problems))
            self.problems = refusal.problems
            return
        self.rules, self.problems = rules, []
        self._on_reload(rules)
        log.info("new rules are in force", extra={"crisp.rules": rules.digest if rules else ""})

    def snapshot(self) -> dict[str, Any]:
        """What is in force, for the status."""
        names = [rule.name for rule in self.rules.rules] if self.rules else []
        return {
            "file": self._settings.rules_file,
            "digest": self.rules.digest if self.rules else "",
            "rules": names,
            "refused": self.problems,
        }


def _read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # gone between the listing and now: another content, so it is looked at again

"""Reload of the rules in a running process when their file changes.

A ConfigMap update replaces a symbolic link, an editor renames a file: so the content is compared, never a time or an
inode. An invalid or missing file is rejected: the previous rules stay in force, and the problems are reported.
"""

import logging
from pathlib import Path

from pipeline.config.settings import RulesSettings
from pipeline.errors import RulesError
from pipeline.monitoring.worker_status import RulesStatus
from pipeline.rules import loader
from pipeline.rules.ruleset import Ruleset

log = logging.getLogger(__name__)


class RulesReloader:
    """Holds the rules in force. Only the constructor raises RulesError."""

    def __init__(self, settings: RulesSettings) -> None:
        self._settings = settings
        self._last_content = self._read_content()
        self.rules = self._load()
        self.problems: list[str] = []

    def _read_content(self) -> tuple[bytes, ...]:
        """Read the bytes of the file and of the modules that it may refer to. Raises RulesError."""
        if not self._settings.rules_file:
            return ()
        modules = sorted(Path(self._settings.rules_python_dir).rglob("*.py")) if self._settings.rules_python_dir else []
        return (loader.read_bytes(self._settings), *(_read_or_empty(path) for path in modules))

    def _load(self) -> Ruleset | None:
        """Load the rules, and log their warnings. Raises RulesError."""
        if not self._settings.rules_file:
            return None
        parsed = loader.load_file(self._settings)
        for warning in parsed.warnings:
            log.warning("rules file: %s", warning)
        return parsed.ruleset

    def poll(self) -> bool:
        """Reload the file if it changed; invalid rules are rejected. Return whether `rules` are new."""
        try:
            previous, self._last_content = self._last_content, ()
            self._last_content = self._read_content()
            if self._last_content == previous:
                return False
            rules = self._load()
        except RulesError as error:
            if error.problems != self.problems:
                log.error("invalid rules file, the previous rules stay in force: %s", "; ".join(error.problems))
            self.problems = error.problems
            return False
        self.rules, self.problems = rules, []
        log.info("reloaded rules", extra={"crisp.rules": rules.digest if rules else ""})
        return True

    def snapshot(self) -> RulesStatus:
        """Return the rules in force, for the status."""
        return RulesStatus(
            file=self._settings.rules_file,
            digest=self.rules.digest if self.rules else "",
            names=tuple(rule.name for rule in self.rules.rules) if self.rules else (),
            problems=tuple(self.problems),
        )


def _read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # deleted after the listing: the content differs, so the next poll reloads

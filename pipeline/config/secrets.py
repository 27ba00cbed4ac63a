"""Secrets that stand in files, and certificates: read when needed, so that whoever changes them need not restart us.

A secret never leaves here but to the client that needs it: it is in no log, no status, no error.
"""

import os
from pathlib import Path

from pipeline.config.settings import Settings, env_name
from pipeline.errors import SettingsError

SECRET_SETTINGS = ("kafka_password", "es_password", "es_api_key")
_FILES = (
    *(f"{name}_file" for name in SECRET_SETTINGS),
    "kafka_ca_file",
    "kafka_cert_file",
    "kafka_key_file",
    "es_ca_file",
)


def read(settings: Settings, name: str) -> str:
    """The present value of a secret, by the setting's name. Raises SettingsError when its file cannot be read."""
    path = getattr(settings, f"{name}_file")
    if not path:
        return str(getattr(settings, name))
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError([f"{env_name(name + '_file')}: {path} cannot be read: {fault}"]) from fault


class SecretFileWatcher:
    """The files that the settings name, as they were when last looked at."""

    def __init__(self, settings: Settings) -> None:
        self._paths = {name: getattr(settings, name) for name in _FILES if getattr(settings, name)}
        self._seen = {name: _signature(path) for name, path in self._paths.items()}

    def poll(self) -> list[str]:
        """The variables whose file is another one than when last asked; one that is away for a moment is none."""
        now = {name: _signature(path) for name, path in self._paths.items()}
        changed = [name for name, mark in now.items() if mark and mark != self._seen[name]]
        self._seen |= {name: now[name] for name in changed}
        return [env_name(name) for name in changed]


def _signature(path: str) -> tuple[int, ...]:
    """Differs whenever the file does; a mounted Secret changes by a link to another directory."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

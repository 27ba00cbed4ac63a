"""Secrets in files, and certificates: read on use, so that a change needs no restart.

A secret is passed only to the client that needs it; no log, status or error contains it.
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
    """Return the current value of a secret, by the setting's name. Raises SettingsError if its file cannot be read."""
    path = getattr(settings, f"{name}_file")
    if not path:
        return str(getattr(settings, name))
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{env_name(name + '_file')}: {path} cannot be read: {error}"]) from error


class SecretFileWatcher:
    """Watches the files of secrets and certificates in the settings for changes."""

    def __init__(self, settings: Settings) -> None:
        self._paths = {name: getattr(settings, name) for name in _FILES if getattr(settings, name)}
        self._signatures = {name: _signature(path) for name, path in self._paths.items()}

    def poll(self) -> list[str]:
        """Return the variables whose file changed since the last call; a missing file counts as unchanged."""
        current = {name: _signature(path) for name, path in self._paths.items()}
        changed = [name for name, signature in current.items() if signature and signature != self._signatures[name]]
        self._signatures |= {name: current[name] for name in changed}
        return [env_name(name) for name in changed]


def _signature(path: str) -> tuple[int, ...]:
    """A value that changes with the file; a mounted Secret changes by a link to another directory."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

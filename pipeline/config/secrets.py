"""Secrets in files, and certificates: read on use, so that a change needs no restart.

A secret is passed only to the client that needs it; no log, status or error contains it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.config.settings import ElasticsearchSettings, KafkaSettings, Settings, env_name
from pipeline.errors import SettingsError


class Secret(NamedTuple):
    """A secret in the settings: its value, or the file that has it; `name` is the setting's."""

    name: str
    value: str
    file: str

    @property
    def file_name(self) -> str:
        """The setting of the file."""
        return f"{self.name}_file"

    @property
    def is_set(self) -> bool:
        """Whether there is a value or a file."""
        return bool(self.value or self.file)

    def read(self) -> str:
        """Return the current value. Raises SettingsError if the file cannot be read."""
        if not self.file:
            return self.value
        try:
            return Path(self.file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError([f"{env_name(self.file_name)}: {self.file} cannot be read: {error}"]) from error


def kafka_password(settings: KafkaSettings) -> Secret:
    """Return the SASL password."""
    return Secret("kafka_password", settings.kafka_password, settings.kafka_password_file)


def es_password(settings: ElasticsearchSettings) -> Secret:
    """Return the password for basic authentication."""
    return Secret("es_password", settings.es_password, settings.es_password_file)


def es_api_key(settings: ElasticsearchSettings) -> Secret:
    """Return the API key."""
    return Secret("es_api_key", settings.es_api_key, settings.es_api_key_file)


def all_secrets(settings: Settings) -> tuple[Secret, ...]:
    """Return every secret in the settings."""
    return kafka_password(settings), es_password(settings), es_api_key(settings)


def kafka_files(settings: KafkaSettings) -> dict[str, str]:
    """Return the files of the connection to Kafka, by the name of their setting; empty if they are not set."""
    return {
        "kafka_password_file": settings.kafka_password_file,
        "kafka_ca_file": settings.kafka_ca_file,
        "kafka_cert_file": settings.kafka_cert_file,
        "kafka_key_file": settings.kafka_key_file,
    }


def elasticsearch_files(settings: ElasticsearchSettings) -> dict[str, str]:
    """Return the files of the connection to Elasticsearch, by the name of their setting; empty if they are not set."""
    return {
        "es_password_file": settings.es_password_file,
        "es_api_key_file": settings.es_api_key_file,
        "es_ca_file": settings.es_ca_file,
    }


class SecretFileWatcher:
    """Watches the files of secrets and certificates for changes."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Watch files, by the name of their setting."""
        self._paths = {name: path for name, path in files.items() if path}
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

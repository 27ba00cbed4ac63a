"""Reloads secrets and certificates whose files change into the worker's clients, without a restart."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from elasticsearch import AsyncElasticsearch

from pipeline.config.secrets import SecretFileWatcher
from pipeline.config.settings import Settings
from pipeline.elasticsearch import client as elasticsearch_client
from pipeline.errors import SettingsError
from pipeline.kafka import client as kafka_client

POLL_SECONDS = 5.0

log = logging.getLogger(__name__)

KafkaClients = Callable[[], list[Any]]
"""Returns the aiokafka clients of the running producers and consumers."""


async def run(
    settings: Settings, watcher: SecretFileWatcher, elasticsearch: AsyncElasticsearch, kafka_clients: KafkaClients
) -> None:
    """Poll until cancelled. Create `watcher` before the clients, so that no change is missed in between."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        changed = watcher.poll()
        if not changed:
            continue
        try:
            kafka_client.reload(settings, *kafka_clients())
            elasticsearch_client.reload(elasticsearch, settings)
        except (SettingsError, OSError, ssl.SSLError) as error:
            log.error("cannot reload %s: %s", ", ".join(changed), error)
        else:
            log.info("reloaded %s", ", ".join(changed))

"""Has the worker's clients use a secret or certificate whose file has changed, without a restart."""

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
"""The aiokafka clients of producers and consumers that run now."""


async def run(
    settings: Settings, watcher: SecretFileWatcher, elasticsearch: AsyncElasticsearch, kafka_clients: KafkaClients
) -> None:
    """Look until cancelled. `watched` is older than the clients, so that no change falls between."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        changed = watcher.poll()
        if not changed:
            continue
        try:
            kafka_client.reload(settings, *kafka_clients())
            elasticsearch_client.reload(elasticsearch, settings)
        except (SettingsError, OSError, ssl.SSLError) as fault:
            log.error("%s changed, but cannot be used: %s", ", ".join(changed), fault)
        else:
            log.info("%s changed, and is used from now on", ", ".join(changed))

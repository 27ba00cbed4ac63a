"""Has the worker's clients use a secret or certificate whose file has changed, without a restart."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from elasticsearch import AsyncElasticsearch

from pipeline.config.secrets import Watched
from pipeline.config.settings import Settings
from pipeline.elasticsearch import client as elasticsearch_client
from pipeline.errors import SettingsError
from pipeline.kafka import client as kafka_client

LOOK_SECONDS = 5.0

log = logging.getLogger(__name__)

KafkaClients = Callable[[], list[Any]]
"""The aiokafka clients of producers and consumers that run now."""


async def run(
    settings: Settings, watched: Watched, elasticsearch: AsyncElasticsearch, kafka_clients: KafkaClients
) -> None:
    """Look until cancelled. `watched` is older than the clients, so that no change falls between."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        changed = watched.changed()
        if not changed:
            continue
        try:
            kafka_client.renew(settings, *kafka_clients())
            elasticsearch_client.renew(elasticsearch, settings)
        except (SettingsError, OSError, ssl.SSLError) as fault:
            log.error("%s changed, but cannot be used: %s", ", ".join(changed), fault)
        else:
            log.info("%s changed, and is used from now on", ", ".join(changed))

"""Creates what the pipeline requires: topics, lifecycle policies, index templates, Kibana objects. Idempotent."""

import asyncio
import time
from collections.abc import Callable

from pipeline.backoff import Backoff
from pipeline.config.settings import Settings, env_name
from pipeline.elasticsearch.client import connect
from pipeline.errors import SetupError, UnavailableError
from pipeline.operations.setup.index_templates import IndexSetup
from pipeline.operations.setup.kibana_import import KibanaClient
from pipeline.operations.setup.topics import create_topics

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 10.0

OnWait = Callable[[str, float], None]
"""Called before each pause with the problem and the seconds that remain."""


async def create_all(settings: Settings) -> list[str]:
    """Create everything; return a message each. Raises SetupError."""
    client = connect(settings)
    try:
        messages = [*await create_topics(settings), *await IndexSetup(client, settings).run()]
    finally:
        await client.close()
    return [*messages, *([await import_kibana_objects(settings)] if settings.kibana_url else [])]


async def create_all_when_available(settings: Settings, wait_seconds: float, on_wait: OnWait) -> list[str]:
    """As `create_all`, but retry for a time while a server cannot be used. Raises SetupError."""
    deadline = time.monotonic() + wait_seconds
    backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
    while True:
        try:
            return await create_all(settings)
        except UnavailableError as error:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise
            on_wait(str(error), remaining)
            await asyncio.sleep(min(backoff.next_pause(), remaining))


async def import_kibana_objects(settings: Settings) -> str:
    """Import the Kibana objects; return a message. Raises SetupError."""
    if not settings.kibana_url:
        raise SetupError(f"{env_name('kibana_url')} is not set")
    return await asyncio.to_thread(KibanaClient(settings).import_objects)

"""Creates what the pipeline requires: topics, lifecycle policies, index templates, Kibana objects. Idempotent."""

import asyncio

from pipeline.config.settings import Settings, env_name
from pipeline.elasticsearch.client import connect
from pipeline.errors import SetupError
from pipeline.operations.setup.index_templates import IndexSetup
from pipeline.operations.setup.kibana_import import KibanaClient
from pipeline.operations.setup.topics import create_topics


async def create_all(settings: Settings) -> list[str]:
    """Create everything; return a message each. Raises SetupError."""
    client = connect(settings)
    try:
        messages = [*await create_topics(settings), *await IndexSetup(client, settings).run()]
    finally:
        await client.close()
    return [*messages, *([await import_kibana_objects(settings)] if settings.kibana_url else [])]


async def import_kibana_objects(settings: Settings) -> str:
    """Import the Kibana objects; return a message. Raises SetupError."""
    if not settings.kibana_url:
        raise SetupError(f"{env_name('kibana_url')} is not set")
    return await asyncio.to_thread(KibanaClient(settings).import_objects)

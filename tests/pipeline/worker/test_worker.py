"""The worker without servers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pipeline.config.environment import load_settings
from pipeline.worker.worker import Worker


async def test_status_request_before_the_start_does_not_create_the_consumer() -> None:
    worker = Worker(load_settings({"CRISP_WORKER_PORT": "0"}))
    with ThreadPoolExecutor(1) as thread:
        status = await asyncio.get_running_loop().run_in_executor(thread, worker.status)

    assert status.partitions == ()
    assert worker.app._consumer is None

"""The worker without servers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pipeline.config.settings import load
from pipeline.worker.worker import Worker


async def test_status_request_before_the_start_does_not_create_the_consumer() -> None:
    worker = Worker(load({"CRISP_WORKER_PORT": "0"}))
    worker.app.finalize()
    with ThreadPoolExecutor(1) as thread:
        assert await asyncio.get_running_loop().run_in_executor(thread, worker.partitions) == []
    worker.create_consumer()
    assert worker.app.consumer.loop is asyncio.get_running_loop()

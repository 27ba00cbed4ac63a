"""The floor of the shipper's cost: files read in blocks and sent to Kafka as they are, and nothing else done.

With the same client, acknowledgements, compression and size of records; the Kubernetes client is loaded, as in the
shipper. What the shipper takes beyond it is what it costs to lose nothing; and the ratio of the two says the same on
every machine. Run as a program: directory, brokers, topic.
"""

import asyncio
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer
from kubernetes import config

from agents.delivery import compression
from pipeline.config.settings import KIB, MIB

SLICE_BYTES = 256 * KIB
IN_FLIGHT = 4 * MIB // SLICE_BYTES


async def _send(path: Path, producer: AIOKafkaProducer, topic: str, room: asyncio.Semaphore) -> None:
    with path.open("rb") as file:
        rest = b""
        while fresh := file.read(SLICE_BYTES - len(rest)):
            data = rest + fresh
            stop = data.rfind(b"\n") + 1
            rest = data[stop:]
            await room.acquire()
            sent = await producer.send(topic, data[:stop], key=str(path).encode())
            sent.add_done_callback(lambda _: room.release())


async def _run(paths: list[Path], brokers: str, topic: str) -> None:
    compression.use_fast_levels()
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        max_batch_size=SLICE_BYTES + 16 * KIB,
    )
    await producer.start()
    room = asyncio.Semaphore(IN_FLIGHT)
    await asyncio.gather(*(_send(path, producer, topic, room) for path in paths))
    await producer.stop()


if __name__ == "__main__":
    assert config  # loaded for what it costs
    asyncio.run(_run(sorted(Path(sys.argv[1]).rglob("*.log")), *sys.argv[2:]))

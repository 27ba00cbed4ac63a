"""The baseline of the shipper's cost: files are read in blocks and sent to Kafka unchanged, and nothing else.

With the same client, acknowledgements, compression and record size. The shipper's cost above this baseline is the cost
of losing nothing; the ratio of the two does not depend on the machine. Run as a program: directory, brokers, topic.
"""

import asyncio
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer

from agents.delivery import compression
from pipeline.config.settings import KIB, MIB

SLICE_BYTES = 256 * KIB
IN_FLIGHT = 4 * MIB // SLICE_BYTES


async def _send(path: Path, producer: AIOKafkaProducer, topic: str, capacity: asyncio.Semaphore) -> None:
    with path.open("rb") as file:
        rest = b""
        while block := file.read(SLICE_BYTES - len(rest)):
            data = rest + block
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            await capacity.acquire()
            future = await producer.send(topic, data[:end], key=str(path).encode())
            future.add_done_callback(lambda _: capacity.release())


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
    capacity = asyncio.Semaphore(IN_FLIGHT)
    await asyncio.gather(*(_send(path, producer, topic, capacity) for path in paths))
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(_run(sorted(Path(sys.argv[1]).rglob("*.log")), *sys.argv[2:]))

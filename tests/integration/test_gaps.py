"""A gap record becomes one document in Elasticsearch, however often it is sent."""

import asyncio
import time

from aiokafka import AIOKafkaProducer

from pipeline.contract import gap, pod_metadata, record
from pipeline.contract.gap import Gap, GapRecord
from pipeline.contract.pod_metadata import Instance
from tests.integration.flow import Flow


async def send(flow: Flow, headers: record.Headers) -> None:
    async with AIOKafkaProducer(bootstrap_servers=flow.settings.kafka_brokers) as producer:
        for _ in range(2):
            await producer.send_and_wait(flow.settings.topic_raw, value=b"", key=b"u-1/pay/0", headers=headers)


def test_repeated_gap_record_is_one_document_of_its_container(flow: Flow) -> None:
    now = time.time_ns()
    metadata = pod_metadata.from_path(Instance("shop", "pay-1", "u-1", "pay", 0), "node-1")
    lost = Gap(record.identity("u-1", "pay", 0, b""), 10, "/x/0.log", 77, gap.DISK_LIMIT, since=now - 10**9, until=now)
    asyncio.run(send(flow, gap.encode(GapRecord(lost, "node-1", now, metadata))))

    flow.run_once(flow.worker)

    (hit,) = flow.documents()
    assert hit["_id"] == gap.document_id(lost)
    assert hit["_source"]["crisp.gap.bytes"] == 77
    body = {"query": {"bool": {"filter": [{"term": {"log.flags": "gap"}}, {"range": {"crisp.gap.until": {"gt": 0}}}]}}}
    (result,) = flow.request(f"{flow.prefix}-*/_search", body)["hits"]["hits"]
    assert result["_source"]["kubernetes.pod.name"] == "pay-1"

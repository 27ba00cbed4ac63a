"""Errors of the Kafka client in words."""

import socket

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError

from pipeline.kafka.error_text import describe_error

ADDRESSES = "[('10.0.0.1', 9092, <AddressFamily.AF_INET: 2>), ('::1', 9093, <AddressFamily.AF_INET6: 10>)]"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KafkaConnectionError(f"Unable to bootstrap from {ADDRESSES}"), "no connection to 10.0.0.1:9092, ::1:9093"),
        (KafkaError("at ('h', 1, <AddressFamily.AF_UNSPEC: 0>)"), "at h:1"),
        (KafkaConnectionError(), "KafkaConnectionError"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("Multiple exceptions: refused, refused"), "Multiple exceptions: refused, refused"),
        (UnknownTopicOrPartitionError("logs-raw"), "logs-raw"),
        (KafkaTimeoutError(), "no answer in time"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_error_is_described_in_words(error: BaseException, text: str) -> None:
    assert describe_error(error).endswith(text)
    assert "<" not in describe_error(error)

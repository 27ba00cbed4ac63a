"""What each error of a sent record means."""

import asyncio

import pytest
from aiokafka import errors

from agents.delivery.classification import DeliveryError, classify

TABLE = [
    (errors.ProducerClosed(), DeliveryError.CLOSED),
    (errors.MessageSizeTooLargeError(), DeliveryError.TOO_LARGE),
    (errors.RecordListTooLargeError(), DeliveryError.REJECTED),
    (errors.OutOfOrderSequenceNumber(), DeliveryError.REJECTED),
    (errors.TopicAuthorizationFailedError(), DeliveryError.REJECTED),
    (errors.ProducerFenced(), DeliveryError.REJECTED),
    (errors.KafkaTimeoutError(), DeliveryError.REJECTED),
    (asyncio.CancelledError(), DeliveryError.REJECTED),
    (AssertionError("a bug"), DeliveryError.REJECTED),
]


@pytest.mark.parametrize(("error", "meaning"), TABLE, ids=[type(error).__name__ for error, _ in TABLE])
def test_error_has_its_meaning(error: BaseException, meaning: DeliveryError) -> None:
    assert classify(error) is meaning

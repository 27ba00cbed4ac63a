"""What an error of a sent record means for its delivery. Pure."""

import enum

from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed


class DeliveryError(enum.Enum):
    """Why Kafka has not acknowledged a record; in each case it is read again."""

    CLOSED = "the producer was closed before Kafka responded"
    TOO_LARGE = "the record exceeds the limit of the topic or of the producer"
    REJECTED = "Kafka does not accept the record, or the producer failed"


def classify(error: BaseException) -> DeliveryError:
    """Return what the error of a record means; any unknown one counts as a rejection."""
    if isinstance(error, ProducerClosed):
        return DeliveryError.CLOSED
    if isinstance(error, MessageSizeTooLargeError):
        return DeliveryError.TOO_LARGE
    return DeliveryError.REJECTED

"""Errors of the Kafka client in words, without its notation of classes and addresses."""

import re

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

_ADDRESS = re.compile(r"\('([^']*)', (\d+), <AddressFamily\.\w+: \d+>\)")


def describe_error(error: BaseException) -> str:
    """Return what an error of the client means."""
    if isinstance(error, TimeoutError | KafkaTimeoutError):
        return "no answer in time"
    text = str(error).removeprefix(f"{type(error).__name__}: ")
    addresses = _ADDRESS.findall(text)
    if isinstance(error, KafkaConnectionError) and addresses:
        return "no connection to " + ", ".join(f"{host}:{port}" for host, port in addresses)
    return _ADDRESS.sub(r"\1:\2", text) or type(error).__name__

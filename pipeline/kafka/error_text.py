"""Errors of the Kafka client in words, without its notation of classes and addresses."""

import os
import ssl

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from pipeline.config.addresses import CLIENT_ADDRESS


def describe_error(error: BaseException) -> str:
    """Return what an error of the client means."""
    if isinstance(error, TimeoutError | KafkaTimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # below 0: a name is not resolved
    text = str(error).removeprefix(f"{type(error).__name__}: ")
    addresses = CLIENT_ADDRESS.findall(text)
    if isinstance(error, KafkaConnectionError) and addresses:
        return "no connection to " + ", ".join(f"{host}:{port}" for host, port in addresses)
    return CLIENT_ADDRESS.sub(r"\1:\2", text) or type(error).__name__

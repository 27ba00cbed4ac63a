"""Converts the Kafka credentials in the settings to Faust's form."""

import faust
from faust.types.auth import CredentialsT

from pipeline.config import secrets
from pipeline.config.settings import KafkaSettings
from pipeline.kafka import client


def broker_credentials(settings: KafkaSettings) -> CredentialsT | None:
    """Return Faust's TLS and SASL credentials; None for a plaintext connection."""
    context = client.tls_context(settings)
    if settings.kafka_sasl != "none":
        return faust.SASLCredentials(
            username=settings.kafka_user,
            password=secrets.kafka_password(settings).read(),
            mechanism=settings.kafka_sasl,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None

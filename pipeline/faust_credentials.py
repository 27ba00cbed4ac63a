"""Faust's form of the Kafka credentials in the settings."""

import faust
from faust.types.auth import CredentialsT

from pipeline import kafka_client, secretfile
from pipeline.settings import Settings


def credentials(settings: Settings) -> CredentialsT | None:
    """TLS and SASL as Faust wants them; None for a plain connection."""
    context = kafka_client.tls_context(settings)
    if settings.kafka_sasl != "none":
        return faust.SASLCredentials(
            username=settings.kafka_user,
            password=secretfile.read(settings, "kafka_password"),
            mechanism=settings.kafka_sasl,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None

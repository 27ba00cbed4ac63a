"""The worker of crisp: from raw CRI lines on Kafka to documents in Elasticsearch."""

__version__ = "0.1.0"

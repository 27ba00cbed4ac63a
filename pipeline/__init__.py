"""The pipeline of crisp: raw CRI lines from Kafka to documents in Elasticsearch, and parts shared with the shipper."""

__version__ = "0.1.0"

"""Slices to Kafka: producer, retries, compression."""

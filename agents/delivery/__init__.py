"""Delivery of slices to Kafka: producer, retries, compression."""

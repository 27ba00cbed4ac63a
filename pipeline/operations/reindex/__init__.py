"""Indexing again what Kafka holds: a time range of the raw topic, or dead letters."""

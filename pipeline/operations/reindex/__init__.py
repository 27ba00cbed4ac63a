"""Re-indexing of records in Kafka: a time range of the raw topic, or dead letters."""

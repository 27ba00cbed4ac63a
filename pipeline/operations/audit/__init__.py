"""Audit: proves that every event is indexed. Ids are recomputed from log files or from Kafka, and looked up."""

"""Proof that every event is there: ids are computed again from files or from Kafka, and looked up."""

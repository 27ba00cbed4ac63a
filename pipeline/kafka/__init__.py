"""aiokafka: client arguments, topic reader, consumer lag, the dead-letter topic, authorized operations."""

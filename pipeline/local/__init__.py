"""A real Kafka and a real Elasticsearch on this machine, without Docker: for the demo, the tests, the benchmarks."""

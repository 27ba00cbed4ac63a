"""The checks of `crisp check --connect` on Kafka and Elasticsearch: each result is OK, or names a remedy."""

"""What `crisp check --connect` asks Kafka and Elasticsearch: each finding is OK, or says what to do."""

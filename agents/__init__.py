"""The node shipper of crisp: from container log files to raw CRI lines on Kafka."""

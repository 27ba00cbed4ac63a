"""One container's log files, read into slices of whole events."""

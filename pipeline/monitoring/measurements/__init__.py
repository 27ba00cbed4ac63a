"""What a process measures of itself, between its counters and its status."""

"""Records and events into ECS documents. Pure."""

"""What a JSON object says: its fields by their ECS names. Pure."""

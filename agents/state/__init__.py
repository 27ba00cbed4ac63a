"""State that survives a restart: the checkpoint, the known files, the recorded losses."""

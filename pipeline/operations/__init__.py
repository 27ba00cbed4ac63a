"""What operators run: audit, check, setup, reindexing, inspection."""

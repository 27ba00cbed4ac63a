"""Operator commands: audit, check, setup, reindexing, inspection."""

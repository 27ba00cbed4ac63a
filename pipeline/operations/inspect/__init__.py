"""Inspection of indexed documents and running processes: search, follow, trace, overview."""

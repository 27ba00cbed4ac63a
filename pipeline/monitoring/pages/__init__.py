"""The status pages as HTML."""

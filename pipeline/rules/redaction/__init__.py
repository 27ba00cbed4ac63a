"""Redaction of secrets by kind and by pattern."""

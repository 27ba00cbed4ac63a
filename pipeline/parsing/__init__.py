"""Parsers for the text of a message: JSON bodies, text formats, levels, timestamps, exceptions. Pure."""

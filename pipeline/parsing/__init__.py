"""What the text of a message says: JSON bodies, text formats, levels, times, probes. Pure."""

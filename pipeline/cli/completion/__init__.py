"""`crisp completion`: scripts for shells, made from the parsers of the commands."""

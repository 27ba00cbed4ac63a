"""Rules: what becomes of a line beyond what crisp does by itself, as data in one YAML file."""

"""Rules: a user's own filters, redaction, routes and fields, as data in one YAML file."""

"""Lines into events: partials, stack traces, start patterns. Pure."""

"""The whole pipeline on one machine, with a report whether every line arrived exactly once."""

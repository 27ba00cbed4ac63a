"""The whole pipeline on one machine, and a report that says whether every line arrived exactly once."""

"""Stack traces of every language, from `traces.txt` in this directory."""

from pathlib import Path


def read_traces() -> dict[str, str]:
    """Return the traces by name; each follows a line `=== name`."""
    text = "\n" + (Path(__file__).parent / "traces.txt").read_text("utf-8").removesuffix("\n")
    return {name: trace for name, _, trace in (part.partition("\n") for part in text.split("\n=== ")[1:])}

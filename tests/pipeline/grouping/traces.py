"""Stack traces of every language, from `traces.txt` beside this file."""

from pathlib import Path


def read_traces() -> dict[str, str]:
    """By name, as they stand behind `=== name`."""
    text = "\n" + (Path(__file__).parent / "traces.txt").read_text("utf-8").removesuffix("\n")
    return {name: trace for name, _, trace in (part.partition("\n") for part in text.split("\n=== ")[1:])}

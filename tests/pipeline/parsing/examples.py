"""Example lines of loggers and servers, each with its expected fields, from `formats.jsonl` and `loggers.jsonl` in this
directory: an object per line with `format`, `line` and `fields`. The README's tables are generated from them.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Example(NamedTuple):
    """One event of a format, and its expected fields."""

    format: str
    line: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.format}: {self.line[:30]}"


def _read(name: str) -> list[Example]:
    lines = (Path(__file__).parent / name).read_text("utf-8").splitlines()
    return [Example(**json.loads(line)) for line in lines]


TEXTS = _read("formats.jsonl")
LOOKALIKES = _read("lookalikes.jsonl")
"""Lines that resemble a format; `fields` are those that are certain all the same."""
LOGGERS = _read("loggers.jsonl")

"""A Dockerfile as a list of instructions, and which files its context holds."""

import fnmatch
import json
import re
from pathlib import Path
from typing import NamedTuple

from tests.deploy.manifests import ROOT

DOCKERFILE = ROOT / "deploy" / "images" / "Dockerfile"


class Instruction(NamedTuple):
    """One instruction of a stage; `stage` is its name."""

    stage: str
    word: str
    rest: str


def instructions(path: Path = DOCKERFILE) -> list[Instruction]:
    """Every instruction, lines joined, comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", path.read_text())
    stage, found = "", []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stage = rest.partition(" AS ")[2]
        if word:
            found.append(Instruction(stage, word, rest))
    return found


def copied(stage: str) -> list[tuple[list[str], str]]:
    """What a stage copies from the context: sources and where to."""
    rows = [row.rest.split() for row in instructions() if row.stage == stage and row.word == "COPY"]
    return [(row[:-1], row[-1]) for row in rows if not row[0].startswith("--from")]


def in_context(name: str) -> bool:
    """Whether `.dockerignore` lets a path into the context; only the patterns that ours uses are known."""
    inside = True
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        if pattern == "*" or name == pattern or name.startswith(f"{pattern}/") or fnmatch.fnmatch(name, pattern):
            inside = line.startswith("!")
    return inside


def exec_form(rest: str) -> list[str] | None:
    """The words of a command that needs no shell; None where one is."""
    try:
        words = json.loads(rest)
    except ValueError:
        return None
    return words if isinstance(words, list) else None

"""The text of a rules file as YAML nodes that know where they stand, and the faults found in it. Pure.

Nodes are composed, never constructed: no tag makes an object, and a plain scalar is a number, true, false or null as
in JSON, else text (`no` is the text "no", `12:30` is no number). Faults are collected, so that all are told at once.
"""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

import yaml

MAX_NODES = 20_000
MAX_DEPTH = 20

Scalar = str | int | float | bool | None

_WHOLE = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})", re.ASCII)
_FRACTION = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})?\.\d{1,17}(?:[eE][-+]?\d{1,2})?", re.ASCII)
_BOOLEANS: dict[str, Scalar] = {"true": True, "True": True, "false": False, "False": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_STANDARD_TAG = "tag:yaml.org,2002:"


class Diagnostic(NamedTuple):
    """One thing to mend; line and column count from 1. A `warning` refuses nothing."""

    line: int
    column: int
    message: str
    warning: bool = False


class Diagnostics:
    """The faults of one file, in the order of their places."""

    def __init__(self, name: str) -> None:
        self.file_name = name
        self._diagnostics: set[Diagnostic] = set()

    def add(self, node: yaml.Node, words: str, *, warning: bool = False) -> None:
        """Note what is wrong with a node."""
        mark = node.start_mark
        self._diagnostics.add(Diagnostic(mark.line + 1, mark.column + 1, words, warning))

    def add_at(self, line: int, column: int, words: str) -> None:
        """Note what is wrong at a place, both counted from 0."""
        self._diagnostics.add(Diagnostic(line + 1, column + 1, words))

    def lines(self, *, warning: bool = False) -> list[str]:
        """`FILE:LINE:COLUMN what is wrong`, each."""
        found = sorted(fault for fault in self._diagnostics if fault.warning == warning)
        return [f"{self.file_name}:{fault.line}:{fault.column} {fault.message}" for fault in found]


def suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names as a question to the user, empty when none is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{found[0]}"?)' if found else ""


def compose(text: bytes, faults: Diagnostics) -> yaml.Node | None:
    """The file's one document; None, with a fault, when it is not YAML."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        words = ": ".join(part for part in (fault.context, fault.problem) if part)
        faults.add_at(mark.line if mark else 0, mark.column if mark else 0, f"not YAML: {words}")
        return None
    except (yaml.YAMLError, UnicodeError) as fault:
        before = text[: getattr(fault, "position", None) or 0]
        column = len(before) - before.rfind(b"\n") - 1
        faults.add_at(before.count(b"\n"), column, f"not YAML: {str(fault).splitlines()[0]}")
        return None
    except (ValueError, OverflowError, RecursionError) as fault:
        # PyYAML lets these out of broken escapes and of thousands of brackets.
        mark = loader.get_mark() if loader else None
        words = "too deep" if isinstance(fault, RecursionError) else str(fault)
        faults.add_at(mark.line if mark else 0, mark.column if mark else 0, f"not YAML: {words}")
        return None
    return node if node is None or _is_bounded(node, faults) else None


def _is_bounded(root: yaml.Node, faults: Diagnostics) -> bool:
    """Whether the tree, aliases followed, is of a size that a person writes; an alias may hold itself."""
    waiting = [(root, 0)]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            words = f"deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
            faults.add(node, f"{words}, aliases followed")
            return False
        if isinstance(node, yaml.MappingNode):
            waiting += [(inner, depth + 1) for pair in node.value for inner in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(inner, depth + 1) for inner in node.value]
    return True


def mapping(node: yaml.Node, faults: Diagnostics, expected: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key and value nodes by the key's text; empty, with a fault, when it is no mapping."""
    if not isinstance(node, yaml.MappingNode):
        faults.add(node, f"expected {expected}, found {describe(node)}")
        return {}
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            faults.add(key, f"expected a name, found {describe(key)}")
        elif key.value in pairs:
            first = pairs[key.value][0].start_mark.line + 1
            faults.add(key, f'"{key.value}" comes twice (first in line {first})')
        else:
            pairs[key.value] = (key, value)
    return pairs


def sequence(node: yaml.Node) -> list[yaml.Node]:
    """The entries of a list; anything else is a list of one."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def scalar(node: yaml.Node, faults: Diagnostics, expected: str) -> Scalar:
    """The value of a scalar node; None, with a fault, for anything else."""
    if not isinstance(node, yaml.ScalarNode):
        faults.add(node, f"expected {expected}, found {describe(node)}")
        return None
    if not node.tag.startswith(_STANDARD_TAG):
        faults.add(node, f"expected {expected}, found the tag {node.tag}")
        return None
    return _plain(node.value) if node.style is None else str(node.value)


def _plain(text: str) -> Scalar:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else text


def text_of(node: yaml.Node, faults: Diagnostics, expected: str) -> str:
    """The text of a scalar node as it was written; empty, with a fault, for anything else and for nothing."""
    value = scalar(node, faults, expected)
    if isinstance(node, yaml.ScalarNode) and value in (None, ""):
        faults.add(node, f"expected {expected}, found nothing")
    return "" if value is None else str(node.value)


def describe(node: yaml.Node) -> str:
    """A node in words."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f'"{node.value[:60]}"' if node.value else "nothing"

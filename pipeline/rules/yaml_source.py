"""The text of a rules file as YAML nodes with line and column, and its diagnostics. Pure.

Nodes are composed, never constructed: no tag makes an object, and a plain scalar is a number, true, false or null as
in JSON, else text (`no` is the text "no", `12:30` is not a number). Diagnostics are collected and reported together.
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
    """One problem; line and column count from 1. A `warning` does not invalidate the file."""

    line: int
    column: int
    message: str
    warning: bool = False


class Diagnostics:
    """The diagnostics of one file, in the order of their positions."""

    def __init__(self, name: str) -> None:
        self.file_name = name
        self._diagnostics: set[Diagnostic] = set()

    def add(self, node: yaml.Node, message: str, *, warning: bool = False) -> None:
        """Add a problem, or a warning, at the start of a node."""
        mark = node.start_mark
        self._diagnostics.add(Diagnostic(mark.line + 1, mark.column + 1, message, warning))

    def add_at(self, line: int, column: int, message: str) -> None:
        """Add a problem at a line and column, both counted from 0."""
        self._diagnostics.add(Diagnostic(line + 1, column + 1, message))

    def lines(self, *, warning: bool = False) -> list[str]:
        """Return the problems, or the warnings, as `FILE:LINE:COLUMN message`."""
        diagnostics = sorted(diagnostic for diagnostic in self._diagnostics if diagnostic.warning == warning)
        return [
            f"{self.file_name}:{diagnostic.line}:{diagnostic.column} {diagnostic.message}" for diagnostic in diagnostics
        ]


def check_no_placeholder(node: yaml.Node, text: str, diagnostics: Diagnostics, *, warning: bool = False) -> None:
    """Report a placeholder in a text in which none is replaced."""
    if "${" in text:
        message = f'"{text}" is used as it is: placeholders are replaced in the values of set only'
        diagnostics.add(node, message, warning=warning)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the most similar known name as a question to the user; empty when none is similar."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{matches[0]}"?)' if matches else ""


def compose(text: bytes, diagnostics: Diagnostics) -> yaml.Node | None:
    """Parse the file's one document; None, with a diagnostic, when it is not YAML."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ": ".join(part for part in (error.context, error.problem) if part)
        diagnostics.add_at(mark.line if mark else 0, mark.column if mark else 0, f"not YAML: {message}")
        return None
    except (yaml.YAMLError, UnicodeError) as error:
        before = text[: getattr(error, "position", None) or 0]
        column = len(before) - before.rfind(b"\n") - 1
        diagnostics.add_at(before.count(b"\n"), column, f"not YAML: {str(error).splitlines()[0]}")
        return None
    except (ValueError, OverflowError, RecursionError) as error:
        # PyYAML raises these for invalid escapes and for thousands of brackets.
        mark = loader.get_mark() if loader else None
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        diagnostics.add_at(mark.line if mark else 0, mark.column if mark else 0, f"not YAML: {message}")
        return None
    return node if node is None or _is_bounded(node, diagnostics) else None


def _is_bounded(root: yaml.Node, diagnostics: Diagnostics) -> bool:
    """Return whether the tree, aliases followed, is within the limits; an alias may contain itself."""
    stack = [(root, 0)]
    seen = 0
    while stack:
        node, depth = stack.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            message = f"deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
            diagnostics.add(node, f"{message}, aliases followed")
            return False
        if isinstance(node, yaml.MappingNode):
            stack += [(inner, depth + 1) for pair in node.value for inner in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(inner, depth + 1) for inner in node.value]
    return True


def mapping(node: yaml.Node, diagnostics: Diagnostics, expected: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return key and value nodes by the key's text; empty, with a diagnostic, for any other node."""
    if not isinstance(node, yaml.MappingNode):
        diagnostics.add(node, f"expected {expected}, got {describe(node)}")
        return {}
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            diagnostics.add(key, f"expected a name, got {describe(key)}")
        elif key.value in pairs:
            first = pairs[key.value][0].start_mark.line + 1
            diagnostics.add(key, f'duplicate key "{key.value}" (first in line {first})')
        else:
            pairs[key.value] = (key, value)
    return pairs


def sequence(node: yaml.Node) -> list[yaml.Node]:
    """Return the entries of a list; any other node as a list of one."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def scalar(node: yaml.Node, diagnostics: Diagnostics, expected: str) -> Scalar:
    """Return the value of a scalar node; None, with a diagnostic, for any other node."""
    if not isinstance(node, yaml.ScalarNode):
        diagnostics.add(node, f"expected {expected}, got {describe(node)}")
        return None
    if not node.tag.startswith(_STANDARD_TAG):
        diagnostics.add(node, f"expected {expected}, got the tag {node.tag}")
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


def text_of(node: yaml.Node, diagnostics: Diagnostics, expected: str) -> str:
    """Return the text of a scalar node as written; empty, with a diagnostic, for any other node and for empty text."""
    value = scalar(node, diagnostics, expected)
    if isinstance(node, yaml.ScalarNode) and value in (None, ""):
        diagnostics.add(node, f"expected {expected}, got nothing")
    return "" if value is None else str(node.value)


def describe(node: yaml.Node) -> str:
    """Describe a node for a message."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f'"{node.value[:60]}"' if node.value else "nothing"

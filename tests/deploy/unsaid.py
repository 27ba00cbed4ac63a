"""What a module of checks can say, read off its source, and was never made to say."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType


def unsaid(module: ModuleType, said: set[str]) -> list[str]:
    """The sentences of a module's checks that no fault of `said` is: branches that no broken manifest has shown."""
    return [
        " … ".join(parts)
        for parts in _sentences(ast.parse(inspect.getsource(module)))
        if not any(_is(parts, fault) for fault in said)
    ]


def _is(parts: list[str], fault: str) -> bool:
    """Whether a fault has all the fixed parts of a sentence, in their order."""
    place = 0
    for part in parts:
        place = fault.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


def _sentences(tree: ast.Module) -> Iterator[list[str]]:
    """The fixed parts of every text that is yielded, by itself or by a generator."""
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Yield | ast.YieldFrom) else None
        value = value.elt if isinstance(value, ast.GeneratorExp) else value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield [value.value]
        if isinstance(value, ast.JoinedStr):
            yield [str(part.value) for part in value.values if isinstance(part, ast.Constant)]

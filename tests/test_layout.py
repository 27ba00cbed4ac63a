"""The limits of the layout that CONTRIBUTING.md gives: modules in a folder, lines of a function."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES_IN_A_FOLDER = 16
LINES_OF_A_FUNCTION = 40


def modules() -> Iterator[Path]:
    for package in ("agents", "pipeline"):
        yield from (path for path in (ROOT / package).rglob("*.py") if not path.name.startswith("__"))


def test_no_folder_has_more_modules_than_a_reader_can_overlook() -> None:
    folders = Counter(str(path.parent.relative_to(ROOT)) for path in modules())

    assert {folder: number for folder, number in folders.items() if number > MODULES_IN_A_FOLDER} == {}


def test_every_function_fits_in_the_eye() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LINES_OF_A_FUNCTION
    ]

    assert long == []

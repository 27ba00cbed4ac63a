"""Mutation tests of the pure modules: a module is mutated, one change at a time, and its tests must fail.

`python -m tests.benchmarks.mutants [MODULE …]`; no server. Each mutant changes or removes a comparison, an operator, a
constant, `not`, a branch or a call; the tests of the module run in a fork of this process, with a fixed seed and few
examples. Survivors are printed with their line, to be killed by a better test or explained. Minutes per module.
"""

import argparse
import ast
import contextlib
import importlib
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_SECONDS = 90  # a test that takes longer has killed the mutant
TESTS: dict[str, list[str]] = {
    "pipeline.contract.cri": ["tests/pipeline/contract/test_cri.py", "tests/pipeline/grouping/test_grouper.py"],
    "pipeline.grouping.stack_trace": ["tests/pipeline/grouping/test_stack_trace.py"],
    "pipeline.grouping.frames": ["tests/pipeline/grouping/test_stack_trace.py"],
    "pipeline.grouping.frames_python": ["tests/pipeline/grouping/test_stack_trace.py"],
    "pipeline.grouping.frames_java": ["tests/pipeline/grouping/test_stack_trace.py"],
    **{
        f"pipeline.grouping.{module}": [
            "tests/pipeline/grouping/test_grouper.py",
            "tests/pipeline/grouping/test_stack_trace.py",
        ]
        for module in ("grouper", "stream_grouper", "event_builder", "oversized_line")
    },
    "pipeline.parsing.json.flatten": [
        "tests/pipeline/parsing/json/test_json_body.py",
        "tests/pipeline/documents/test_event_reader.py",
    ],
    "pipeline.parsing.json.json_body": [
        "tests/pipeline/parsing/json/test_json_body.py",
        "tests/pipeline/documents/test_event_reader.py",
    ],
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


class _Mutation(ast.NodeTransformer):
    """Applies the mutation with index `wanted`; without one, counts the possible mutations."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted = wanted
        self.count = 0
        self.description = ""

    def _is_wanted(self, node: ast.AST, change: str) -> bool:
        """Count a possible mutation; return whether it is the wanted one."""
        self.count += 1
        if self.count - 1 != self.wanted:
            return False
        self.description = f"line {getattr(node, 'lineno', 0)}: {change}"
        return True

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        for index, operator in enumerate(node.ops):
            other = _COMPARISONS.get(type(operator))
            if other and self._is_wanted(node, f"{ast.unparse(node)}: {other.__name__}"):
                node.ops[index] = other()
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        if self._is_wanted(node, f"{ast.unparse(node)}: and/or swapped"):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if isinstance(node.op, ast.Not) and self._is_wanted(node, f"{ast.unparse(node)}: not removed"):
            return node.operand
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        other = _OPERATORS.get(type(node.op))
        if other and self._is_wanted(node, f"{ast.unparse(node)}: {other.__name__}"):
            node.op = other()
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        changes: dict[type, Callable[[Any], Any]] = {
            bool: lambda value: not value,
            int: lambda value: value + 1,
            bytes: lambda value: b"XX" + value,
            str: lambda value: "XX" + value,
        }
        change = changes.get(type(node.value))
        if change and self._is_wanted(node, f"{node.value!r:.60}: changed"):
            return ast.copy_location(ast.Constant(change(node.value)), node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name | ast.Attribute | ast.Call) and self._is_wanted(
            node, f"if {ast.unparse(node.test)}: negated"
        ):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node  # docstring
        if self._is_wanted(node, f"{ast.unparse(node)}: removed"):
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return ast.copy_location(ast.Break(), node) if self._is_wanted(node, "continue: break") else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.body = [self.visit(statement) for statement in node.body]
        return node


def _is_killed(name: str, tree: ast.Module, file: Path) -> bool:
    """Run the tests of a mutated module in a fork; return whether they fail."""
    child = os.fork()
    if child == 0:
        os._exit(0 if _tests_pass(name, tree, file) else 1)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _tests_pass(name: str, tree: ast.Module, file: Path) -> bool:
    hypothesis.settings.register_profile(
        "mutants", max_examples=60, derandomize=True, database=None, phases=[hypothesis.Phase.generate]
    )
    hypothesis.settings.load_profile("mutants")
    module = types.ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    setattr(importlib.import_module(parent), own, module)
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        try:
            exec(compile(tree, str(file), "exec"), module.__dict__)  # noqa: S102 - runs the mutant
        except Exception:  # noqa: BLE001 - the mutant cannot be imported: killed
            return False
        filter_ = "-Wignore::pytest.PytestAssertRewriteWarning"  # hypothesis is imported already
        return pytest.main(["-x", "-q", "-p", "no:cacheprovider", filter_, *TESTS[name]]) == pytest.ExitCode.OK


def mutants(name: str) -> Iterator[tuple[str, bool]]:
    """Yield every mutant of a module, and whether it was killed."""
    file = ROOT / f"{name.replace('.', '/')}.py"
    original = ast.parse(file.read_text())
    counter = _Mutation()
    counter.visit(deepcopy(original))
    if _is_killed(name, deepcopy(original), file):
        raise SystemExit(f"{name}: its tests fail without a mutation")
    for number in range(counter.count):
        mutation = _Mutation(number)
        tree = ast.fix_missing_locations(mutation.visit(deepcopy(original)))
        yield mutation.description, _is_killed(name, tree, file)


def main() -> None:
    """Print the survivors, and a summary line for each module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    os.chdir(ROOT)
    for name in parser.parse_args().modules:
        total = killed = 0
        for description, is_killed in mutants(name):
            total += 1
            killed += is_killed
            if not is_killed:
                print(f"{name}, {description}", flush=True)
        print(f"{name}: {killed} of {total} killed", flush=True)


if __name__ == "__main__":
    main()

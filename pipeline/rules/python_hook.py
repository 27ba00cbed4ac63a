"""Python functions of users, loaded from the directory that a setting names and from nowhere else."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def load(directory: str, reference: str) -> tuple[Callable[..., Any], bytes]:
    """The function of `package.module:function`, and its module's source. Raises ValueError in words.

    The module is loaded anew each time, so that a changed one counts when the rules are read again.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f'expected module:function, found "{reference[:60]}"')
    if not directory:
        raise ValueError("a hook needs CRISP_RULES_PYTHON_DIR, the directory of its module")
    path = Path(directory, *match[1].split(".")).with_suffix(".py")
    try:
        source = path.read_bytes()
    except OSError as fault:
        raise ValueError(f"the module {match[1]} cannot be read: {path}: {fault.strerror}") from fault
    spec = importlib.util.spec_from_file_location(f"crisp_rules.{match[1]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the setting names whose code runs
    except (Exception, SystemExit) as fault:
        raise ValueError(f"the module {match[1]} cannot be loaded: {type(fault).__name__}: {fault}") from fault
    function = getattr(module, match[2], None)
    if not callable(function):
        raise ValueError(f"the module {match[1]} has no function {match[2]}")
    return function, source

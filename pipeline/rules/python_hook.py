"""Python hooks of users, loaded only from the directory of a setting."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def load(directory: str, reference: str) -> tuple[Callable[..., Any], bytes]:
    """Return the function of `package.module:function` and its module's source. Raises ValueError.

    The module is loaded again at every call, so that a reload of the rules uses changed modules.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f'expected module:function, got "{reference[:60]}"')
    if not directory:
        raise ValueError("a hook needs CRISP_RULES_PYTHON_DIR, the directory of its module")
    path = Path(directory, *match[1].split(".")).with_suffix(".py")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the module {match[1]} cannot be read: {path}: {error.strerror}") from error
    spec = importlib.util.spec_from_file_location(f"crisp_rules.{match[1]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - only code of the setting's directory
    except (Exception, SystemExit) as error:
        raise ValueError(f"the module {match[1]} cannot be loaded: {type(error).__name__}: {error}") from error
    function = getattr(module, match[2], None)
    if not callable(function):
        raise ValueError(f"the module {match[1]} has no function {match[2]}")
    return function, source

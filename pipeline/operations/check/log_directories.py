"""Checks of the log directories of this machine, as the shipper would read them. Read-only; nothing is sent."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.config.settings import ShipperSettings
from pipeline.operations.check import finding
from pipeline.operations.check.finding import CheckResult

DEFAULT_DIRECTORY = ShipperSettings().logs_dir
REMEDY = "crisp runbook unreadable-logs; run the check as the shipper's user, on its node"


class LogDirectory(NamedTuple):
    """A directory of a setting, and the depth of its log files below it."""

    setting: str
    path: str
    depth: int


def run_checks(settings: ShipperSettings) -> list[CheckResult]:
    """Check every log directory; the default one may be missing on a machine that is no node."""
    directories = [LogDirectory("CRISP_LOGS_DIR", settings.logs_dir, 3)]
    directories += [LogDirectory("CRISP_PLAIN_DIRS", directory, 1) for directory in settings.plain_dirs]
    directories += [LogDirectory("CRISP_DOCKER_DIR", settings.docker_dir, 2)] if settings.docker_dir else []
    return [_check(directory, settings.docker_dir) for directory in directories]


def _check(directory: LogDirectory, docker_dir: str) -> CheckResult:
    subject = f"log directory {directory.path}"
    if directory.path == DEFAULT_DIRECTORY and not os.path.lexists(directory.path):
        return finding.skipped(subject, "does not exist on this machine; not checked")
    problems, readable = [], 0
    for path, problem in _try_files(directory, docker_dir):
        if problem:
            problems.append(f"{path}: {problem}")
        else:
            readable += 1
    if problems:
        number = f"{len(problems)} {'path' if len(problems) == 1 else 'paths'}"
        return finding.failed(subject, f"{number} cannot be read, {readable} can; {problems[0]}", REMEDY)
    if not readable:
        return finding.warning(subject, "has no log file", f"is {directory.setting} the right directory?")
    return finding.ok(subject, f"{readable} log {'file is' if readable == 1 else 'files are'} readable")


def _try_files(directory: LogDirectory, docker_dir: str) -> Iterator[tuple[str, str]]:
    """Yield each log file, and each directory that cannot be listed, with the problem; empty: it is readable."""
    pending = [(os.path.realpath(directory.path), 0)]
    while pending:
        path, depth = pending.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            yield path, error.strerror or str(error)
            continue
        for entry in entries:
            if depth + 1 < directory.depth and entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, depth + 1))
            elif depth + 1 < directory.depth and entry.is_symlink():
                yield entry.path, "symbolic link, not followed"
            elif depth + 1 == directory.depth and ".log" in entry.name:
                yield entry.path, _open_problem(entry.path, docker_dir if directory.depth > 1 else "")


def _open_problem(path: str, docker_dir: str) -> str:
    """Return why a log file cannot be opened; empty if it can. A link may lead into docker's directory only."""
    target = path
    if Path(path).is_symlink():
        target = os.path.realpath(path)
        if not docker_dir:
            return "symbolic link, not followed (docker's logs need CRISP_DOCKER_DIR)"
        if not target.startswith(f"{os.path.realpath(docker_dir)}/"):
            return f"symbolic link to {target}, which is not in CRISP_DOCKER_DIR"
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror or str(error)
    try:
        return "" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "not a regular file"
    finally:
        os.close(descriptor)

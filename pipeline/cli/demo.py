"""`crisp demo`: run the whole pipeline on this machine, and print a report."""

import argparse
import math
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.cli.terminal.progress import Progress
from pipeline.demo import existing_logs, report
from pipeline.demo.existing_logs import ExistingLogs
from pipeline.demo.run import OnProgress, Plan, Run
from pipeline.errors import UsageError
from pipeline.local import artifacts, stack
from pipeline.local.stack import Stack

EXAMPLE = """examples:
  crisp demo
  crisp demo --lines 100000 --chaos
  crisp demo --follow                  until Ctrl-C, with the status pages
  crisp demo --logs /var/log/pods      your own logs, read-only

exit code 0: every line is indexed exactly once; 1: not so, or a server failed; 130: Ctrl-C before the first line"""

DemoTask = Callable[[Stack, OnProgress, Callable[..., None]], Callable[[], bool]]
"""Runs a demo on servers; returns the function that prints its report, which returns whether the run succeeded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--lines", type=int, metavar="N", help="lines to write (20000)")
    parser.add_argument("--rate", type=float, metavar="R", help="lines per second (2000); 0: unlimited")
    parser.add_argument("--follow", action="store_true", help="continue until Ctrl-C")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="ship the logs in DIR instead of generated ones")
    parser.add_argument("--chaos", action="store_true", help="kill -9 shipper and worker repeatedly during the run")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object on the last line")
    parser.add_argument(
        "--es-version",
        default=stack.DEFAULT_VERSION,
        choices=artifacts.ELASTICSEARCH_VERSIONS,
        help="Elasticsearch version to run",
    )
    parser.add_argument("--seed", type=int, default=1, help="random seed of the lines and the kills (1)")


def run(args: argparse.Namespace) -> int:
    """Return 0 if no line is missing or duplicated, else 1."""
    _validate(args)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore SIGINT
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    directory = Path(tempfile.mkdtemp(prefix="crisp-demo-"))
    succeeded = None
    try:
        succeeded = _run_generated_logs(args, directory) if args.logs is None else _run_existing_logs(args, directory)
    except KeyboardInterrupt:
        succeeded = True  # no logs to inspect
        raise
    finally:
        if succeeded:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"the logs of crisp are kept in {directory}", file=sys.stderr)
    return 0 if succeeded else 1


def _validate(args: argparse.Namespace) -> None:
    """Reject invalid combinations of options. Raises UsageError, StackError."""
    if args.lines is not None and args.lines < 1:
        raise UsageError("--lines must be 1 or more")
    if args.rate is not None and not 0 <= args.rate < math.inf:
        raise UsageError("--rate must be a number from 0")
    if args.logs is not None:
        others = [name for name in ("lines", "rate", "chaos") if getattr(args, name)]
        if others:
            raise UsageError(f"--logs ships existing logs: it excludes --{others[0]}")
        existing_logs.require_log_files(args.logs)


def _exit_on_signal(number: int, _: Any) -> None:
    """Exit, so that `finally` blocks stop the child processes."""
    raise SystemExit(128 + number)


def _run_generated_logs(args: argparse.Namespace, directory: Path) -> bool:
    plan = Plan(
        0 if args.follow else args.lines or 20_000, 2000 if args.rate is None else args.rate, args.chaos, args.seed
    )

    def task(servers: Stack, on_progress: OnProgress, print_lines: Callable[..., None]) -> Callable[[], bool]:
        demo = Run(servers, directory, plan, on_progress)
        try:
            demo.start()
            print_lines(
                "meanwhile, in another shell: crisp status, crisp tail, crisp trace, or the status pages",
                demo.export_command(),
            )
            demo.write()
            result = demo.report(demo.wait_until_searchable())
        finally:
            demo.stop()
        return lambda: report.show_run(result, plan, as_json=args.json)

    return _run_with_servers(args, task)


def _run_existing_logs(args: argparse.Namespace, directory: Path) -> bool:
    def task(servers: Stack, on_progress: OnProgress, _: Callable[..., None]) -> Callable[[], bool]:
        demo = ExistingLogs(servers, directory, args.logs, on_progress)
        try:
            audit = demo.run(follow=args.follow)
            examples = demo.examples()
        finally:
            demo.stop()
        return lambda: report.show_existing_logs(audit, examples, as_json=args.json)

    return _run_with_servers(args, task)


def _run_with_servers(args: argparse.Namespace, task: DemoTask) -> bool:
    """Run the task on temporary servers; print its report after they have stopped."""
    with Progress() as progress:
        last = ""

        def show_progress(activity: str, written: int, searchable: int) -> None:
            nonlocal last
            counts = [f"{written:,} lines written"] if written else []
            counts += [f"{searchable:,} documents searchable"] if written or searchable else []
            progress.update(f"{activity}: {', '.join(counts)}" if counts else activity, now=activity != last)
            last = activity

        with stack.temporary_stack(args.es_version, lambda activity: show_progress(activity, 0, 0)) as servers:
            show_report = task(servers, show_progress, progress.print_lines)
    return show_report()

"""`crisp demo`: the whole pipeline on this machine, and a report. Exit code 0 only if every line is there once."""

import argparse
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
  crisp demo --follow                  until Ctrl-C, with the pages to look at
  crisp demo --logs /var/log/pods      your own logs, which are only read

exit code 0: every line is there exactly once; 1: not, or a server does not run; 130: Ctrl-C before the writing began"""


DemoTask = Callable[[Stack, OnProgress, Callable[..., None]], Callable[[], bool]]
"""Does its work with servers that run; returns what shows the report."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--lines", type=int, metavar="N", help="lines to write (20000)")
    parser.add_argument("--rate", type=float, metavar="R", help="lines a second (2000); 0: as fast as it goes")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="ship this directory of logs instead of written ones")
    parser.add_argument("--chaos", action="store_true", help="kill -9 shipper and worker again and again meanwhile")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object, on the last line")
    parser.add_argument("--es-version", default=stack.DEFAULT_VERSION, choices=artifacts.ELASTICSEARCH_VERSIONS)
    parser.add_argument("--seed", type=int, default=1, help="of the generated lines and of the chaos")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if nothing is missing or double, else 1."""
    _validate(args)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    directory = Path(tempfile.mkdtemp(prefix="crisp-demo-"))
    good = None
    try:
        good = _run_generated_logs(args, directory) if args.logs is None else _run_existing_logs(args, directory)
    except KeyboardInterrupt:
        good = True  # there is nothing to look into
        raise
    finally:
        if good:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"the logs of crisp itself are left in {directory}", file=sys.stderr)
    return 0 if good else 1


def _validate(args: argparse.Namespace) -> None:
    """Refuse what does not go together. Raises UsageError, StackError."""
    if args.lines is not None and args.lines < 1:
        raise UsageError("--lines must be 1 or more")
    if args.rate is not None and args.rate < 0:
        raise UsageError("--rate must be 0 or more")
    if args.logs is not None:
        others = [name for name in ("lines", "rate", "chaos") if getattr(args, name)]
        if others:
            raise UsageError(f"--logs ships what is there: it does not go with --{others[0]}")
        existing_logs.require_log_files(args.logs)


def _exit_on_signal(number: int, _: Any) -> None:
    """A request to end is one to end everything that was started."""
    raise SystemExit(128 + number)


def _run_generated_logs(args: argparse.Namespace, directory: Path) -> bool:
    plan = Plan(
        0 if args.follow else args.lines or 20_000, 2000 if args.rate is None else args.rate, args.chaos, args.seed
    )

    def work(servers: Stack, tell: OnProgress, note: Callable[..., None]) -> Callable[[], bool]:
        demo = Run(servers, directory, plan, tell)
        try:
            demo.start()
            note(
                "meanwhile, in another shell: crisp status, crisp tail, crisp trace, or the pages",
                demo.export_command(),
            )
            demo.write()
            found = demo.report(demo.wait_until_searchable())
        finally:
            demo.stop()
        return lambda: report.show_run(found, plan, as_json=args.json)

    return _run_with_servers(args, work)


def _run_existing_logs(args: argparse.Namespace, directory: Path) -> bool:
    def work(servers: Stack, tell: OnProgress, _: Callable[..., None]) -> Callable[[], bool]:
        demo = ExistingLogs(servers, directory, args.logs, tell)
        try:
            accounts, numbers = demo.run(follow=args.follow)
            examples = demo.examples()
        finally:
            demo.stop()
        return lambda: report.show_existing_logs(accounts, numbers, examples, as_json=args.json)

    return _run_with_servers(args, work)


def _run_with_servers(args: argparse.Namespace, task: DemoTask) -> bool:
    """Do the work with servers of its own; what it returns shows the report when they have ended."""
    with Progress() as progress:
        said = ""

        def tell(what: str, written: int, found: int) -> None:
            nonlocal said
            parts = [f"{written:,} lines written"] if written else []
            parts += [f"{found:,} documents searchable"] if written or found else []
            progress.update(f"{what}: {', '.join(parts)}" if parts else what, now=what != said)
            said = what

        with stack.temporary_stack(args.es_version, lambda what: tell(what, 0, 0)) as servers:
            show = task(servers, tell, progress.print_lines)
    return show()

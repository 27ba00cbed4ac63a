"""`crisp demo`: the whole pipeline on this machine, and a report. Exit code 0 only if every line is there once."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.demo.run import Plan, Report, Run
from pipeline.local import artifacts, stack

_PLAIN_EVERY_SECONDS = 5.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--lines", type=int, default=20000, help="lines to write (20000)")
    parser.add_argument("--rate", type=float, default=2000, help="lines a second (2000); 0: as fast as it goes")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--chaos", action="store_true", help="kill -9 shipper and worker again and again meanwhile")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object, on the last line")
    parser.add_argument("--es-version", default=stack.DEFAULT_VERSION, choices=artifacts.ELASTICSEARCH_VERSIONS)
    parser.add_argument("--seed", type=int, default=1, help="of the generated lines and of the chaos")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if nothing is missing or double, else 1."""
    if args.lines < 1 or args.rate < 0:
        print("crisp demo: --lines must be 1 or more, --rate 0 or more", file=sys.stderr)
        return 2
    plan = Plan(0 if args.follow else args.lines, args.rate, args.chaos, args.seed)
    directory = Path(tempfile.mkdtemp(prefix="crisp-demo-"))
    kept = True
    try:
        report = _run(plan, args.es_version, directory)
        kept = not report.good
        _show(report, plan, as_json=args.json)
    finally:
        if kept:
            print(f"the logs of crisp itself are left in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if report.good else 1


def _run(plan: Plan, version: str, directory: Path) -> Report:
    with _Progress() as progress, stack.running(version, lambda what: progress.tell(what, 0, 0)) as servers:
        demo = Run(servers, directory, plan, progress.tell)
        try:
            demo.begin()
            progress.note(
                "meanwhile, in another shell: crisp status, crisp tail, crisp trace, or the pages", demo.around()
            )
            demo.write()
            return demo.report(demo.settle())
        finally:
            demo.end()


class _Progress:
    """Live on a terminal, else a plain line now and then; both on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._next = 0.0
        self._said = ""

    def __enter__(self) -> "_Progress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def note(self, *lines: str) -> None:
        """Say something that stays."""
        for line in lines:
            self._console.print(line, highlight=False, soft_wrap=True)

    def tell(self, what: str, written: int, found: int) -> None:
        """Show where the run stands."""
        text = f"{what}: {written:,} lines written, {found:,} documents searchable" if written else what
        if self._console.is_terminal:
            self._live.update(Text(text))
        elif what != self._said or time.monotonic() >= self._next:
            print(text, file=sys.stderr, flush=True)
            self._next = time.monotonic() + _PLAIN_EVERY_SECONDS
        self._said = what


def _show(report: Report, plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(report.numbers).decode())
        return
    console = Console()
    numbers = report.numbers
    for hit in report.examples:
        console.print(f"[bold]{hit['_index']}/{hit['_id']}[/bold]", highlight=False)
        console.print_json(data=hit["_source"])
    table = Table(title="crisp demo", show_header=False)
    backlog = "" if plan.rate else " (as fast as it goes: this is the backlog)"
    rows = {
        "lines written": f"{numbers['written']:,} in {numbers['seconds']} s, {numbers['rotations']} rotations",
        "lines searchable": f"{numbers['searchable']:,} in {numbers['documents']:,} documents",
        "missing": str(numbers["missing"]),
        "doubled": str(numbers["doubled"]),
        "written to searchable": f"p50 {numbers['latency_p50_s']} s, p99 {numbers['latency_p99_s']} s{backlog}",
        "CPU": f"shipper {numbers['shipper_cpu_s']} s, worker {numbers['worker_cpu_s']} s, "
        f"Elasticsearch {numbers['elasticsearch_cpu_s']} s",
        "peak memory": f"shipper {numbers['shipper_rss_mib']} MiB, worker {numbers['worker_rss_mib']} MiB",
    }
    if plan.chaos:
        rows["kill -9"] = ", ".join(
            f"{name} {numbers[f'{name}_kills']} ({numbers[f'{name}_kills_outstanding']} with lines on their way)"
            for name in ("ship", "worker")
        )
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    console.print("[green]every line is there exactly once[/green]" if report.good else "[red]NOT every line[/red]")
    console.print("to look around yourself: crisp local up, then crisp setup, crisp ship, crisp worker")

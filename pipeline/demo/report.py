"""The demo's report: for a terminal of any width, for a pipe, or as JSON."""

import sys

import orjson
from rich.console import Console
from rich.table import Table

from pipeline.contract.json_types import JsonObject
from pipeline.demo.existing_logs import ExistingLogsAudit
from pipeline.demo.run import Plan, Report
from pipeline.operations.audit.tally import Tally

_JSON_KEYS = {
    "indexed": "found",
    "dead_lettered": "dead",
    "pending": "waiting",
    "duplicated": "doubled",
    "unverifiable": "unjudged",
    "examples": "sample",
}
_SUCCESS = "every line is indexed exactly once"


def show_run(report: Report, plan: Plan, *, as_json: bool) -> bool:
    """Print the report of a run; return whether it succeeded."""
    if as_json:
        print(orjson.dumps({**report.numbers, "good": report.good}).decode())
        return report.good
    numbers = report.numbers
    backlog = "" if plan.rate else " (unlimited rate: includes the backlog)"
    rows = {
        "lines written": f"{numbers['written']:,} in {numbers['seconds']} s, {numbers['rotations']} rotations",
        "lines searchable": f"{numbers['searchable']:,} in {numbers['documents']:,} documents",
        "missing": str(numbers["missing"]),
        "duplicated": str(numbers["doubled"]),
        "written to searchable": f"p50 {numbers['latency_p50_s']} s, p99 {numbers['latency_p99_s']} s{backlog}",
        "CPU": f"shipper {numbers['shipper_cpu_s']} s, worker {numbers['worker_cpu_s']} s, "
        f"Elasticsearch {numbers['elasticsearch_cpu_s']} s",
        "peak memory": f"shipper {numbers['shipper_rss_mib']} MiB, worker {numbers['worker_rss_mib']} MiB",
    }
    if plan.chaos:
        rows["kill -9"] = ", ".join(
            f"{label} {numbers[f'{name}_kills']} times ({numbers[f'{name}_kills_outstanding']} with lines in flight)"
            for name, label in (("ship", "shipper"), ("worker", "worker"))
        )
    _show(rows, report.examples)
    if numbers.get("chaos_too_weak"):
        _show_conclusion(
            "too few kills while lines were in flight: this run proves nothing; try more --lines", good=False
        )
    else:
        _show_conclusion(_SUCCESS if report.good else "NOT every line is indexed exactly once", good=report.good)
    return report.good


def show_existing_logs(audit: ExistingLogsAudit, examples: list[JsonObject], *, as_json: bool) -> bool:
    """Print the report on existing logs; return whether every event is indexed exactly once."""
    total = audit.total
    good = not total.missing and not total.duplicated
    if as_json:
        numbers = {**_json_keys(total), "seconds": audit.seconds, "files": len(audit.tallies)}
        print(orjson.dumps({**numbers, "good": good, "accounts": [*map(_json_keys, audit.tallies)]}).decode())
        return good
    rows = {
        "events": f"{total.events:,} of {len(audit.tallies):,} files, shipped and indexed in {audit.seconds} s",
        "searchable": f"{total.indexed:,}",
        "missing": f"{total.missing:,}",
        "duplicated": f"{total.duplicated:,}",
        **{f"dropped ({rule})": f"{number:,}" for rule, number in total.dropped.items()},
        **{f"not verified: {reason}": f"{number:,}" for reason, number in total.unverifiable.items()},
        **({"pending": f"{total.pending:,}"} if total.pending else {}),
    }
    _show(rows, examples)
    _show_conclusion(
        "every event is indexed exactly once" if good else "NOT every event is indexed exactly once", good=good
    )
    return good


def _json_key(name: str) -> str:
    return _JSON_KEYS.get(name, name)


def _json_keys(tally: Tally) -> JsonObject:
    """Return the tally with the keys of `crisp demo --json`, which scripts rely on."""
    values = tally.as_json()
    examples = [{**example, "verdict": _json_key(example["verdict"])} for example in tally.examples]
    return {_json_key(name): value for name, value in (values | {"examples": examples}).items()}


def _show(rows: dict[str, str], examples: list[JsonObject]) -> None:
    console = Console()
    for hit in examples if console.is_terminal else ():
        console.print(f"[bold]{hit['_index']}/{hit['_id']}[/bold]", highlight=False)
        console.print_json(data=hit["_source"])
    if not console.is_terminal:
        for name, value in rows.items():
            print(f"{name}: {value}")
        return
    table = Table(title="crisp demo", show_header=False)
    table.add_column(min_width=8)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _show_conclusion(conclusion: str, *, good: bool) -> None:
    Console().print(f"[{'green' if good else 'red'}]{conclusion}[/]", highlight=False)
    if sys.stdout.isatty():
        print("to explore: crisp demo --follow, or crisp local up, then crisp setup, ship and worker")

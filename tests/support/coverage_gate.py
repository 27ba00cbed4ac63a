"""The gate of `make coverage`: branch coverage of the unit tests, as a table; exit code 1 if it is too low.

python -m tests.support.coverage_gate build/coverage.json
"""

import fnmatch
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

LOSS_MINIMUM = 95.0
DECIDES_LOSS = (
    "agents/delivery/*.py",
    "agents/state/checkpoint.py",
    "agents/tailing/byte_ranges.py",
    "pipeline/contract/dead_letter.py",
    "pipeline/elasticsearch/bulk_response.py",
    "pipeline/elasticsearch/bulk_sender.py",
    "pipeline/elasticsearch/indexer.py",
    "pipeline/elasticsearch/rejections/*.py",
    "pipeline/kafka/dead_letter_topic.py",
    "pipeline/worker/dead_letter_producer.py",
    "pipeline/worker/ordered_acks.py",
)
"""Each of these modules: a mistake in it loses or duplicates documents."""

MINIMUM = 85.0
EXCLUDED = {
    "pipeline/demo/run.py": "starts servers and processes: `crisp demo` in tests/integration",
    "pipeline/demo/child_process.py": "the same",
    "pipeline/cli/demo.py": "the same",
    "pipeline/local/*.py": "downloads and starts real servers: every test marked `servers`",
    "pipeline/cli/__main__.py": "three lines, run by every test that starts a process",
}
"""Not part of the total, and where it is tested instead."""


class Coverage(NamedTuple):
    """Covered and all statements and branches."""

    covered: int
    total: int

    @property
    def percent(self) -> float:
        """Covered of all, in percent."""
        return 100.0 * self.covered / self.total if self.total else 100.0


def read_report(path: Path) -> dict[str, Coverage]:
    """Return the coverage of each module from coverage.py's JSON report."""
    files: dict[str, Any] = json.loads(path.read_text())["files"]
    summaries = {name: entry["summary"] for name, entry in files.items()}
    return {
        name: Coverage(
            summary["covered_lines"] + summary["covered_branches"], summary["num_statements"] + summary["num_branches"]
        )
        for name, summary in summaries.items()
    }


def find_problems(report: dict[str, Coverage]) -> list[str]:
    """Return a message for each module and for the total that is below its minimum."""
    problems = []
    for pattern in DECIDES_LOSS:
        modules = fnmatch.filter(report, pattern)
        if not modules:
            problems.append(f"{pattern}: no such module in the report")
        problems += [
            f"{name}: {report[name].percent:.1f} %, at least {LOSS_MINIMUM:.0f} % are required: it decides loss"
            for name in modules
            if report[name].percent < LOSS_MINIMUM
        ]
    for package in ("agents", "pipeline"):
        coverage = total(report, package)
        if coverage.percent < MINIMUM:
            problems.append(f"{package}: {coverage.percent:.1f} %, at least {MINIMUM:.0f} % are required")
    return problems


def total(report: dict[str, Coverage], package: str) -> Coverage:
    """Return the coverage of a package or folder without the excluded modules."""
    counted = [
        coverage
        for name, coverage in report.items()
        if name.startswith(f"{package}/") and not any(fnmatch.fnmatchcase(name, pattern) for pattern in EXCLUDED)
    ]
    return Coverage(sum(entry.covered for entry in counted), sum(entry.total for entry in counted))


def table(report: dict[str, Coverage]) -> str:
    """Return the folders, what decides loss, and the ten lowest of the other modules, as text."""
    folders = sorted({name.rpartition("/")[0] for name in report})
    rows = [(folder, total(report, folder)) for folder in folders]
    loss = sorted({name for pattern in DECIDES_LOSS for name in fnmatch.filter(report, pattern)})
    excluded = {name for pattern in EXCLUDED for name in fnmatch.filter(report, pattern)}
    others = sorted((report[name].percent, name) for name in report if name not in loss and name not in excluded)
    sections = {
        "branch coverage by folder": rows,
        "decides loss": [(name, report[name]) for name in loss if report[name].total],
        "lowest of the others": [(name, report[name]) for _, name in others[:10]],
    }
    lines = []
    for title, entries in sections.items():
        lines.append(f"{title:60}      %")
        lines += [f"  {name:58} {coverage.percent:6.1f}" for name, coverage in entries if coverage.total]
    return "\n".join(lines)


def main(path: str) -> int:
    """Print the table and the problems; return 1 if there is any."""
    report = read_report(Path(path))
    print(table(report))
    problems = find_problems(report)
    for problem in problems:
        print(f"coverage: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

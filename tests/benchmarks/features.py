"""What each feature of the worker's costs: lines per CPU-second with it off, or on where it is not.

`python -m tests.benchmarks.features`; no server. Half the lines ECS, half text in five formats; medians of several
runs in one process, in turn. The table goes to `build/features.md`: rate, and microseconds a line against everything
on by default (less is cheaper). "Core" reads CRI and JSON, joins partials and traces, finds probes; text stays text.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from pipeline.config.settings import SECRET_KINDS, Settings
from pipeline.documents.builder import DocumentBuilder
from pipeline.rules.context import RuleContext
from pipeline.rules.parser import parse_rules_file
from pipeline.rules.ruleset import Ruleset
from tests.benchmarks import lines
from tests.benchmarks.documents import rate, slices

TABLE = Path(__file__).parent.parent.parent / "build" / "features.md"
DEFAULT = "everything on by default"
FEATURES: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "core: text formats off": {"parser": "json"},
    "JSON bodies and text formats off": {"parser": "none"},
    "JSON bodies off": {"parser": "text"},
    "health probes off": {"health_paths": ""},
    "stack traces off": {"multiline": "off"},
    "a pattern of one's own for events": {"multiline_pattern": r"^[\[{0-9A-Za-z]"},
    "an application's own time not believed": {"application_time_window_seconds": 0.0},
    "ANSI colours stripped": {"ansi": "strip"},
    **{f"redaction: {kind}": {"redact": kind} for kind in SECRET_KINDS},
    "redaction: all kinds": {"redact": " ".join(SECRET_KINDS)},
}
RULES = {
    "a rule for other containers": "rules: [{name: a, when: {namespace: other}, drop: true}]",
    "a rule on the level": "rules: [{name: a, when: {level: trace}, drop: true}]",
    "a rule on the message": "rules: [{name: a, when: {message: '/no (such|other) text/'}, drop: true}]",
}


def _ruleset(text: str) -> Ruleset | None:
    made = parse_rules_file(text.encode(), "rules.yaml", RuleContext((), 200, lambda _: (lambda _event: None, b"")))
    assert not made.problems, made.problems
    return made.ruleset


def _work(number: int) -> dict[str, tuple[list[Any], DocumentBuilder]]:
    mixed: list[Any] = [kind for text in lines.FORMATS for kind in (lines.ecs, text)]
    work = {}
    for name, wanted in FEATURES.items():
        settings = Settings(**wanted)
        work[name] = (slices(number, mixed, settings), DocumentBuilder(settings))
    parts = slices(number, mixed, Settings())
    return work | {name: (parts, DocumentBuilder(Settings(), _ruleset(text))) for name, text in RULES.items()}


def table(medians: dict[str, float]) -> str:
    """Rates and costs as Markdown."""
    usual = medians[DEFAULT]
    rows = ["| | lines per CPU-second | µs a line more |", "|---|---|---|"]
    rows += [f"| {name} | {value:,.0f} | {1e6 / value - 1e6 / usual:+.2f} |" for name, value in medians.items()]
    return "\n".join(rows)


def main() -> None:
    """Print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    work = _work(args.slices)
    runs = [{name: rate(*pair) for name, pair in work.items()} for _ in range(args.runs)]
    found = table({name: statistics.median(run[name] for run in runs) for name in work})
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(found + "\n")
    print(found)


if __name__ == "__main__":
    main()

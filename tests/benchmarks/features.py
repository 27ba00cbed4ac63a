"""The cost of each feature of the worker: lines per CPU-second with the feature off, or on if it is off by default.

`python -m tests.benchmarks.features`; no server. Half the lines are ECS, half text in five formats; medians of several
interleaved runs in one process. The table goes to `build/features.md`: the rate, and the difference to the defaults in
microseconds per line (negative is cheaper). "Core" parses CRI and JSON, joins partials and stack traces, detects health
probes; text is not parsed.
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
DEFAULT = "defaults"
FEATURES: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "core: text formats off": {"parser": "json"},
    "JSON bodies and text formats off": {"parser": "none"},
    "JSON bodies off": {"parser": "text"},
    "health probes off": {"health_paths": ()},
    "stack traces off": {"multiline": "off"},
    "a custom start pattern": {"multiline_pattern": r"^[\[{0-9A-Za-z]"},
    "application timestamps not used": {"application_time_window_seconds": 0.0},
    "ANSI colours stripped": {"ansi": "strip"},
    **{f"redaction: {kind}": {"redact": (kind,)} for kind in SECRET_KINDS},
    "redaction: all kinds": {"redact": SECRET_KINDS},
}
RULES = {
    "a rule for other containers": "rules: [{name: a, when: {namespace: other}, drop: true}]",
    "a rule on the level": "rules: [{name: a, when: {level: trace}, drop: true}]",
    "a rule on the message": "rules: [{name: a, when: {message: '/no (such|other) text/'}, drop: true}]",
}


def _ruleset(text: str) -> Ruleset | None:
    parsed = parse_rules_file(text.encode(), "rules.yaml", RuleContext((), 200, lambda _: (lambda _event: None, b"")))
    assert not parsed.problems, parsed.problems
    return parsed.ruleset


def _work(number: int) -> dict[str, tuple[list[Any], DocumentBuilder]]:
    mixed: list[Any] = [kind for text in lines.FORMATS for kind in (lines.ecs, text)]
    work = {}
    for name, options in FEATURES.items():
        settings = Settings(**options)
        work[name] = (slices(number, mixed, settings), DocumentBuilder(settings))
    log_slices = slices(number, mixed, Settings())
    return work | {name: (log_slices, DocumentBuilder(Settings(), _ruleset(text))) for name, text in RULES.items()}


def table(medians: dict[str, float]) -> str:
    """Return rates and costs as Markdown."""
    default = medians[DEFAULT]
    rows = ["| | lines per CPU-second | additional µs per line |", "|---|---|---|"]
    rows += [f"| {name} | {value:,.0f} | {1e6 / value - 1e6 / default:+.2f} |" for name, value in medians.items()]
    return "\n".join(rows)


def main() -> None:
    """Print and save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    work = _work(args.slices)
    runs = [{name: rate(*pair) for name, pair in work.items()} for _ in range(args.runs)]
    text = table({name: statistics.median(run[name] for run in runs) for name in work})
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

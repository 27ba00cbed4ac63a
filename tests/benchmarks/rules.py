"""The cost of rules and redaction: lines per CPU-second of building documents, with each kind of rule.

`python -m tests.benchmarks.rules`; no server. Half the lines are JSON, half text in five formats; medians of several
interleaved runs in one process. The printed cost is the difference to "no rules", in microseconds per line.
"""

import argparse
import json
import statistics
from typing import Any

from pipeline.config.settings import SECRET_KINDS, Settings
from pipeline.documents.builder import DocumentBuilder
from pipeline.rules.context import RuleContext
from pipeline.rules.parser import parse_rules_file
from tests.benchmarks import lines
from tests.benchmarks.documents import rate, slices

MANY = "".join(f"  - {{name: r{number}, when: {{message: /word{number}/}}, drop: true}}\n" for number in range(10))
RULES = {
    "a rule for other containers": "rules: [{name: a, when: {namespace: other, message: /x/}, drop: true}]",
    "a rule that drops every event": "rules: [{name: a, when: {namespace: shop}, drop: true}]",
    "level": "rules: [{name: a, when: {level: trace}, drop: true}]",
    "message, literal": "rules: [{name: a, when: {message: /no such text/}, drop: true}]",
    "message, pattern": "rules: [{name: a, when: {message: '/no (such|other) text/'}, drop: true}]",
    "ten rules on the message": f"rules:\n{MANY}",
    "field in a range": "rules: [{name: a, when: {http.response.status_code: 600..699}, drop: true}]",
    "sample": "rules: [{name: a, sample: 0.99}]",
    "set": "rules: [{name: a, set: {team: shop, owner: '${label.app}'}}]",
    "rename": "rules: [{name: a, rename: {trace.id: trace}}]",
    "remove": "rules: [{name: a, remove: [trace.id, 'user_agent.*']}]",
    "parse with a pattern": "rules: [{name: a, parse: {pattern: 'order of (?P<whom>\\w+)'}}]",
    "redact cards by a rule": "rules: [{name: a, redact: card}]",
    "hook": "rules: [{name: a, python: 'm:f'}]",
}


def _context() -> RuleContext:
    return RuleContext(("infra",), 200, lambda _: (lambda event: event.__setitem__("team", "shop"), b""))


def main() -> None:
    """Print one JSON object: rate and cost of each kind of rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    work: dict[str, DocumentBuilder] = {"no rules": DocumentBuilder(Settings())}
    for name, text in RULES.items():
        parsed = parse_rules_file(text.encode(), "rules.yaml", _context())
        assert not parsed.problems, parsed.problems
        work[name] = DocumentBuilder(Settings(), parsed.ruleset)
    for kind in SECRET_KINDS:
        work[f"CRISP_REDACT={kind}"] = DocumentBuilder(Settings(redact=(kind,)))
    work["CRISP_REDACT, all kinds"] = DocumentBuilder(Settings(redact=SECRET_KINDS))
    mixed: list[Any] = [kind for text in lines.FORMATS for kind in (lines.ecs, text)]
    log_slices = slices(args.slices, mixed, Settings())
    runs = [{name: rate(log_slices, builder) for name, builder in work.items()} for _ in range(args.runs)]
    medians = {name: statistics.median(run[name] for run in runs) for name in work}
    costs = {name: 1e6 / value - 1e6 / medians["no rules"] for name, value in medians.items()}
    print(json.dumps({name: [round(medians[name]), round(costs[name], 2)] for name in work}, indent=1))


if __name__ == "__main__":
    main()

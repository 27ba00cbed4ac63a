"""The examples in docs/rules.md and the cookbook are valid rules, and their tests pass."""

import re
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.operations import rule_test_runner
from pipeline.rules import loader
from pipeline.rules.action_parser import ACTION_PARSERS
from pipeline.rules.conditions import OPERATORS
from pipeline.rules.parse_action import FORMATS
from pipeline.rules.redaction.secret_kinds import KINDS

ROOT = Path(__file__).parents[3]
BOOK = ROOT / "deploy" / "rules"
PAGE = (ROOT / "docs" / "rules.md").read_text()


def run_rule_tests(path: Path) -> tuple[int, list[str]]:
    """The number of tests in a file, and its warnings and failures."""
    settings = Settings(rules_file=str(path), rules_python_dir=str(BOOK), routes={"infra": 7, "audit": 365})
    parsed = loader.load_file(settings)
    results = rule_test_runner.run_rule_tests(parsed.tests, parsed.ruleset, settings)
    return len(results), [
        *parsed.warnings,
        *(f"{test.name}: {failure}" for test, failures in results for failure in failures),
    ]


@pytest.mark.parametrize("name", ["cookbook.yaml", "hook.yaml"])
def test_recipes_pass_their_tests(name: str) -> None:
    count, failures = run_rule_tests(BOOK / name)

    assert (count > 1, failures) == (True, [])


def test_example_of_the_page_passes_its_test(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(rules:.*?)```", PAGE, re.DOTALL)
    (tmp_path / "rules.yaml").write_text(example)

    assert run_rule_tests(tmp_path / "rules.yaml") == (1, [])


def test_failed_expectation_shows_the_actual_value(tmp_path: Path) -> None:
    text = (BOOK / "hook.yaml").read_text().replace("words.count: 3", "words.count: 4")
    (tmp_path / "rules.yaml").write_text(text)

    assert run_rule_tests(tmp_path / "rules.yaml") == (2, ["words are counted: words.count: expected 4, got 3"])


def test_page_names_every_action_operator_format_and_kind() -> None:
    assert [word for word in (*ACTION_PARSERS, *OPERATORS, *FORMATS, *KINDS) if word not in PAGE] == []

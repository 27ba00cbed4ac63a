"""`crisp rules diff` over records in Kafka: every kind of change, by rule and workload, with an example."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.operations import rules_diff
from tests.support.command_line import CommandLine

OLD = """rules:
  - {name: noise, when: {message: /^ping/}, drop: true}
  - {name: team, when: {message: /^team/}, set: {team: shop}}
"""
NEW = """rules:
  - {name: debug lines, when: {message: /^debug/}, drop: true}
  - {name: some, when: {message: /^many/}, sample: 0.000001}
  - {name: to audit, when: {message: /^audit/}, route: audit}
  - {name: team, when: {message: /^team/}, set: {team: till}}
"""


@pytest.fixture
def files(crisp: CommandLine, tmp_path: Path) -> tuple[str, str]:
    """The old and the new rules file, on a topic with one slice of every kind of line."""
    crisp.configure(CRISP_ROUTES="audit=30")
    crisp.kafka.create_topic("logs-raw", partitions=2)
    crisp.add_slice("ping", "team a", "debug x", "debug y", "many", "audit", "as before")
    paths = tmp_path / "old.yaml", tmp_path / "new.yaml"
    for path, text in zip(paths, (OLD, NEW), strict=True):
        path.write_text(text)
    return str(paths[0]), str(paths[1])


def diff(crisp: CommandLine, *arguments: str) -> dict[str, Any]:
    result = crisp("rules", "diff", *arguments, "--json")
    assert result.code == 0, result.err
    output: dict[str, Any] = json.loads(result.out)
    return output


def test_every_change_is_counted_with_its_rule_and_workload(crisp: CommandLine, files: tuple[str, str]) -> None:
    old, new = files
    result = diff(crisp, "--old", old, "--rules", new)

    rows = {(row["change"], row["rule"], row["events"]) for row in result["differences"]}
    assert rows == {
        ("kept", "noise", 1),
        ("dropped", "debug lines", 2),
        ("sampled", "some", 1),
        ("routed", "to audit", 1),
        ("changed", "team", 1),
    }
    assert {row["workload"] for row in result["differences"]} == {"shop/pay-1"}
    assert (result["events"], result["differing"], result["records"]) == (7, 6, 1)
    assert result["totals"] == {"dropped": 2, "sampled": 1, "kept": 1, "routed": 1, "changed": 1}


def test_example_has_what_differs(crisp: CommandLine, files: tuple[str, str]) -> None:
    old, new = files
    samples = {row["change"]: row["sample"] for row in diff(crisp, "--old", old, "--rules", new)["differences"]}

    assert samples["changed"]["fields"] == {"team": ["shop", "till"]}
    assert samples["dropped"]["message"] == "debug x"
    assert samples["routed"]["index"].startswith("logs-audit.")
    assert samples["routed"]["old_index"].startswith("logs-2")


def test_same_rules_differ_in_nothing(crisp: CommandLine, files: tuple[str, str]) -> None:
    """Comments change nothing, nor do the digests in the documents."""
    old, _ = files
    copy = Path(old).with_name("copy.yaml")
    copy.write_text("# a comment\n" + OLD)
    result = diff(crisp, "--old", old, "--rules", str(copy))

    assert (result["events"], result["differing"], result["differences"]) == (7, 0, [])


def test_old_rules_are_those_of_the_settings(crisp: CommandLine, files: tuple[str, str]) -> None:
    old, new = files
    without = diff(crisp, "--rules", new)
    crisp.configure(CRISP_RULES_FILE=old)
    with_settings = diff(crisp, "--rules", new)

    assert without["totals"]["kept"] == 0
    assert with_settings["totals"]["kept"] == 1


def test_table_names_rule_workload_and_change(crisp: CommandLine, files: tuple[str, str]) -> None:
    old, new = files
    result = crisp("rules", "diff", "--old", old, "--rules", new)

    assert "7 events in 1 records: 6 differ (85.7%)" in result.out
    assert any(
        line.split()[:4] == ["changed", "team", "shop/pay-1", "1"] and "shop → till" in line
        for line in result.out.splitlines()
    )


def test_groups_are_bounded(crisp: CommandLine, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_diff, "MAX_GROUPS", 1)
    old, new = files
    result = diff(crisp, "--old", old, "--rules", new)

    assert sum(row["events"] for row in result["differences"]) == 6
    assert [row["workload"] for row in result["differences"]].count("shop/pay-1") == 1


def test_invalid_rules_are_reported_with_file_and_line(crisp: CommandLine, files: tuple[str, str]) -> None:
    old, _ = files
    Path(old).write_text("rules:\n  - {name: x, dorp: true}\n")
    result = crisp("rules", "diff", "--rules", old)

    assert result.code == 2
    assert result.err.startswith(f"{old}:2:")


def test_times_are_checked(crisp: CommandLine, files: tuple[str, str]) -> None:
    assert crisp("rules", "diff", "--rules", files[1], "--since", "1h", "--until", "2h").code == 2
    assert crisp("rules", "diff", "--rules", files[1], "--since", "yesterday").code == 2

"""`crisp size`: its output and its errors."""

import json

import pytest

from tests.support.command_line import CommandLine


def test_command_prints_each_size_with_its_formula(crisp: CommandLine) -> None:
    result = crisp("size", "--nodes", "16", "--lines-per-second", "12", "--json")

    rows = {row["name"]: row for row in json.loads(result.out)["rows"]}
    assert rows["workers"]["value"] == 2
    assert "at least 2" in rows["workers"]["formula"]
    assert "limits: none is near" in crisp("size", "--nodes", "16", "--lines-per-second", "12").out


@pytest.mark.parametrize("option", ["--nodes", "--lines-per-second", "--bytes-per-line", "--brokers"])
@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_command_names_a_wrong_option(crisp: CommandLine, option: str, number: str) -> None:
    result = crisp("size", "--nodes", "16", "--lines-per-second", "12", option, number)

    assert (result.code, option in result.err) == (2, True)


def test_command_needs_a_broker_for_each_copy(crisp: CommandLine) -> None:
    result = crisp("size", "--nodes", "1", "--lines-per-second", "1", "--brokers", "1")

    assert (result.code, "--topic-replication 3: more than --brokers 1" in result.err) == (2, True)

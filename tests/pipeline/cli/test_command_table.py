"""Each command of `crisp --help` has its row in the table of calls; wrong input is one line that names it."""

from pathlib import Path

import pytest

from tests.support import command_table
from tests.support.command_line import CommandLine
from tests.support.command_table import AWAY, CALLS, GOOD, SERVERLESS, WRONG, Call

WITHOUT_SETTINGS = frozenset(
    command for command in CALLS if command.split()[0] in {"demo", "local", "runbook", "size", "completion"}
)


def test_each_command_has_calls_with_good_and_wrong_input_and_without_servers() -> None:
    states = {command: {call.state for call in calls} for command, calls in CALLS.items()}

    assert sorted(states) == sorted(command_table.command_names())
    for command, present in states.items():
        assert present == ({GOOD, WRONG} if command in SERVERLESS else {GOOD, WRONG, AWAY}), command


@pytest.mark.parametrize(("command", "call"), command_table.wrong_calls())
def test_wrong_input_is_named_in_the_last_line(command: str, call: Call, flow: CommandLine, tmp_path: Path) -> None:
    values = command_table.write_files(tmp_path)
    flow.configure(CRISP_KUBECONFIG=values["missing"])

    result = flow(*call.expand(command, values))

    last = (result.err or result.out).splitlines()[-1]
    assert (result.code, call.output.format_map(values) in last) == (call.code, True), result


@pytest.mark.parametrize("command", sorted(CALLS))
def test_unknown_option_is_named(command: str, crisp: CommandLine, tmp_path: Path) -> None:
    call = next(call for call in CALLS[command] if call.state == GOOD)

    result = crisp(*call.expand(command, command_table.write_files(tmp_path)), "--no-such-option")

    name = command.split()[0]
    assert (result.code, result.out) == (2, "")
    assert result.err.endswith(f"crisp {name}: error: unrecognized arguments: --no-such-option\n")


@pytest.mark.parametrize("command", sorted(CALLS.keys() - WITHOUT_SETTINGS))
def test_invalid_setting_is_named(command: str, crisp: CommandLine, tmp_path: Path) -> None:
    crisp.configure(CRISP_TOPIC_PARTITIONS="many")
    call = next(call for call in CALLS[command] if call.state == GOOD)

    result = crisp(*call.expand(command, command_table.write_files(tmp_path)))

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("crisp: CRISP_TOPIC_PARTITIONS: 'many'")
    assert result.err.count("\n") == 1

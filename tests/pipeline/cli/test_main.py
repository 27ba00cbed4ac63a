"""Errors of every command end as one line and an exit code."""

import os

import pytest

from pipeline import __version__
from pipeline.cli.main import ALIASES, COMMANDS
from pipeline.errors import CrispError
from tests.support.command_line import CommandLine


def test_version_is_printed(crisp: CommandLine) -> None:
    assert crisp("--version") == (0, f"crisp {__version__}\n", "")


@pytest.mark.parametrize("name", [*COMMANDS, *ALIASES])
def test_every_command_has_help(crisp: CommandLine, name: str) -> None:
    result = crisp(name, "--help")

    assert result.code == 0
    assert result.out.startswith(f"usage: crisp {ALIASES.get(name, name)} ")


def test_unknown_command_is_wrong_usage(crisp: CommandLine) -> None:
    result = crisp("no-such-command")

    assert (result.code, "invalid choice" in result.err) == (2, True)


def test_invalid_setting_is_reported_with_its_name(crisp: CommandLine) -> None:
    crisp.configure(CRISP_TOPIC_PARTITIONS="many")
    result = crisp("config")

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("crisp: CRISP_TOPIC_PARTITIONS")


def test_wrong_usage_names_the_command(crisp: CommandLine) -> None:
    result = crisp("tail", "-n", "20000")

    assert (result.code, result.err) == (2, "crisp tail: -n 20000: from 0 to 10,000 (crisp tail --help)\n")


@pytest.mark.parametrize(("error", "code"), [(CrispError("no"), 1), (KeyboardInterrupt(), 130)])
def test_exception_has_its_exit_code(
    crisp: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("pipeline.cli.config.load_settings", fail)

    assert crisp("config") == (code, "", "crisp: no\n" if code == 1 else "")


def test_error_of_a_file_is_one_line_with_its_name(crisp: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/none")

    result = crisp("local", "down")

    assert (result.code, result.out) == (1, "")
    assert result.err == f"crisp: /none/crisp-local-{os.getuid()}.lock: No such file or directory\n"

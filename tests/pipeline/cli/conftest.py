"""Fixtures."""

import pytest

from tests.support.command_line import CommandLine


@pytest.fixture
def crisp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line, without topics and templates."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def flow(crisp: CommandLine) -> CommandLine:
    """The command line after `crisp setup`."""
    crisp.set_up()
    return crisp

"""`crisp local` without servers."""

import json
import tempfile
from pathlib import Path

import pytest

from pipeline.cli.main import main


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory for the state of local servers."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_status_without_servers_names_the_command_to_start_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "status"]) == 1
    assert capsys.readouterr().out == "no local servers are running: crisp local up\n"


def test_status_without_servers_as_json_has_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"running": {"kafka": False, "elasticsearch": False}}


def test_down_without_servers_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "down"]) == 0
    assert capsys.readouterr().out == "no local servers were running\n"

"""`crisp local` without servers."""

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cli import local
from pipeline.cli.main import main
from pipeline.errors import StackError
from pipeline.local.process import ServerProcess
from pipeline.local.stack import DEFAULT_VERSION, Stack


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


def test_up_and_down_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with local._lock():
        assert main(["local", "down"]) == 1
        assert main(["local", "up"]) == 1

    assert capsys.readouterr().err.count("another `crisp local up` or `down` of this user is running") == 2
    assert main(["local", "down"]) == 0


def test_up_starts_only_the_server_that_died_with_its_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = local._state_directory()
    (directory / "kafka").mkdir(parents=True)
    (directory / "kafka" / "data").write_text("records")
    ports = {"kafka_port": 1, "controller_port": 2, "es_port": 3, "transport_port": 4}
    state = {**ports, "es_version": DEFAULT_VERSION, "kafka_pid": 11, "elasticsearch_pid": 22}
    (directory / "state.json").write_text(json.dumps(state))
    started: list[int] = []

    def start_kafka(stack: Stack) -> SimpleNamespace:
        assert (stack.directory / "kafka" / "data").read_text() == "records"
        started.append(stack.address.kafka_port)
        return SimpleNamespace(pid=33)

    monkeypatch.setattr(Stack, "start_kafka", start_kafka)
    monkeypatch.setattr(Stack, "start_elasticsearch", lambda _: pytest.fail("it runs"))
    monkeypatch.setattr(Stack, "wait_kafka", lambda _: None)
    monkeypatch.setattr(local, "_is_running", lambda pid: pid != 11)

    assert main(["local", "up", "--json"]) == 0

    assert started == [1]
    assert json.loads(capsys.readouterr().out)["kafka_pid"] == 33


def test_up_with_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = local._state_directory()
    directory.mkdir()
    (directory / "state.json").write_text(json.dumps({"es_version": "8.11.0"}))

    assert main(["local", "up"]) == 1
    assert "Elasticsearch 8.11.0 is up" in capsys.readouterr().err
    assert directory.exists()


def test_server_that_cannot_be_started_is_named_with_the_file(tmp_path: Path) -> None:
    program = tmp_path / "elasticsearch"
    program.write_text("#!/bin/sh\n")

    with pytest.raises(StackError, match=f"elasticsearch cannot be started: {program}: Permission denied"):
        ServerProcess("elasticsearch", [str(program)], tmp_path)

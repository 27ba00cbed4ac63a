"""`crisp config` shows the effective settings with their origins, and never a secret."""

import argparse
from pathlib import Path

import orjson
import pytest

from pipeline.cli import config


def config_output(capsys: pytest.CaptureFixture[str], *, changed: bool = False, json: bool = True) -> str:
    assert config.run(argparse.Namespace(changed=changed, json=json)) == 0
    return capsys.readouterr().out


def test_setting_is_shown_with_value_origin_and_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRISP_KAFKA_GROUP", "mine")
    monkeypatch.setenv("CRISP_TOPIC_RAW", "logs-raw")

    rows = orjson.loads(config_output(capsys))

    group = {name: rows["CRISP_KAFKA_GROUP"][name] for name in ("value", "from", "changed", "default")}
    assert group == {"value": "mine", "from": "environment", "changed": True, "default": "crisp-worker"}
    assert (rows["CRISP_TOPIC_RAW"]["from"], rows["CRISP_TOPIC_RAW"]["changed"]) == ("environment", False)
    assert rows["CRISP_BULK_MAX_BYTES"]["from"] == "default"
    assert set(orjson.loads(config_output(capsys, changed=True))) == {"CRISP_KAFKA_GROUP"}


@pytest.mark.parametrize("json", [True, False])
def test_secret_value_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, json: bool
) -> None:
    monkeypatch.setenv("ES_USER", "elastic")
    monkeypatch.setenv("ES_PASSWORD", "correct horse")

    text = config_output(capsys, json=json)

    assert "correct horse" not in text
    assert "elastic" in text


def test_markup_in_a_value_is_shown_literally(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRISP_CLUSTER_NAME", "[red]x")

    assert "[red]x" in config_output(capsys, changed=True, json=False)


@pytest.mark.parametrize("json", [True, False])
def test_setting_of_a_file_is_shown_with_its_line_but_never_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *, json: bool
) -> None:
    path = tmp_path / "crisp.env"
    path.write_text("ES_USER=elastic\nES_PASSWORD='correct horse'\n")
    monkeypatch.setenv("CRISP_CONFIG_FILE", str(path))

    output = config_output(capsys, changed=True, json=json)

    assert "correct horse" not in output
    assert f"{path}:1" in output
    assert f"{path}:2" in output


@pytest.mark.parametrize("json", [True, False])
def test_passwords_in_urls_are_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, json: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("CRISP_KIBANA_URL", "http://kibana:5601")
    monkeypatch.setenv("CRISP_STATUS_URLS", "http://a:hunter2@b:1 http://c:hunter2@d:1")

    output = config_output(capsys, changed=True, json=json)

    assert "hunter2" not in output
    assert "b:1" in output
    assert "d:1" in output

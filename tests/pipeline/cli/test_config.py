"""`crisp config` shows the effective settings with their origins, and never a secret."""

import argparse
import dataclasses
import re
from pathlib import Path

import orjson
import pytest

from pipeline.cli import config
from pipeline.config.environment import load_settings, origins
from pipeline.config.settings import Settings, env_name
from tests.support.command_line import CommandLine


def config_output(capsys: pytest.CaptureFixture[str], *, changed: bool = False, json: bool = True) -> str:
    assert config.run(argparse.Namespace(changed=changed, json=json, example=False)) == 0
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


def test_group_part_and_unit_of_each_setting_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rows = orjson.loads(config_output(capsys))

    named = {name: (row["group"], row["part"], row["unit"]) for name, row in rows.items()}
    assert named["CRISP_SLICE_MAX_BYTES"] == ("shipper", "shipper", "bytes")
    assert named["CRISP_TOPIC_RETENTION_SECONDS"] == ("kafka", "worker, setup, check", "seconds")
    assert named["ES_USER"] == ("elasticsearch", "worker, setup, commands", "")
    line = next(line for line in config_output(capsys, json=False).splitlines() if "SLICE_MAX" in line)
    assert re.split(" {2,}", line)[:6] == [
        *("CRISP_SLICE_MAX_BYTES", "262144", "bytes", "default", "shipper", "shipper"),
    ]


@pytest.mark.parametrize("columns", ["80", "200"])
def test_no_name_and_value_is_cut_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("CRISP_TOPIC_RAW", "a" * 60)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    text = re.sub(r"\x1b\[[0-9;]*m", "", config_output(capsys, json=False))

    assert {env_name(field.name) for field in dataclasses.fields(Settings)} <= set(text.split())
    assert max(map(len, text.splitlines())) <= int(columns)
    assert "…" not in text
    assert "kafka settings" in text


def test_example_is_a_file_of_every_default(crisp: CommandLine, tmp_path: Path) -> None:
    text = crisp("config", "--example").out
    names = [env_name(field.name) for field in dataclasses.fields(Settings) if field.name != "config_file"]

    assert sorted(re.findall(r"^#(\w+)=", text, re.MULTILINE)) == sorted(names)
    path = tmp_path / "crisp.env"
    for content in (text, re.sub(r"^#(?=\w+=)", "", text, flags=re.MULTILINE)):
        path.write_text(content)
        assert load_settings({"CRISP_CONFIG_FILE": str(path)}) == Settings(config_file=str(path))
    assert set(origins({"CRISP_CONFIG_FILE": str(path)})) == {"CRISP_CONFIG_FILE", *names}


def test_example_is_printed_also_with_invalid_settings_but_with_no_other_form(crisp: CommandLine) -> None:
    crisp.configure(CRISP_TOPIC_PARTITIONS="many")

    assert crisp("config", "--example").code == 0
    assert crisp("config", "--example", "--changed").code == 2
    assert crisp("config", "--example", "--json").code == 2


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

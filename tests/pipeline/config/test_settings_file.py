"""Settings from a file: the syntax of an environment file; each problem has file and line, and no value."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import settings_file
from pipeline.config.environment import load_settings, origins
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError


def write(directory: Path, content: str | bytes) -> str:
    path = directory / "crisp.env"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(environ)
    return raised.value.problems


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("CRISP_CLUSTER_NAME=prod", "prod"),
        ("CRISP_CLUSTER_NAME=", ""),
        ("  CRISP_CLUSTER_NAME= prod \t\r", "prod"),
        ("export CRISP_CLUSTER_NAME=prod", "prod"),
        ("CRISP_CLUSTER_NAME=a=b", "a=b"),
        ("CRISP_CLUSTER_NAME=two words # comment", "two words"),
        ("CRISP_CLUSTER_NAME=# comment", ""),
        ("CRISP_CLUSTER_NAME=a#b", "a#b"),
        ("CRISP_CLUSTER_NAME='a # b' # comment", "a # b"),
        (r"CRISP_CLUSTER_NAME='a\n$b'", r"a\n$b"),
        (r'CRISP_CLUSTER_NAME="a\"b\\c\td" # "', 'a"b\\c\td'),
        ("CRISP_CLUSTER_NAME=it's", "it's"),
        ("CRISP_CLUSTER_NAME=Zürich", "Zürich"),
        ("CRISP_CLUSTER_NAME=$HOME", "$HOME"),
        ("\ufeffCRISP_CLUSTER_NAME=prod", "prod"),
        ("# CRISP_CLUSTER_NAME=other\n\n  # comment\nCRISP_CLUSTER_NAME=prod", "prod"),
    ],
)
def test_line_sets_a_value(tmp_path: Path, line: str, value: str) -> None:
    path = write(tmp_path, line)

    assert load_settings({"CRISP_CONFIG_FILE": path}).cluster_name == value


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("CRISP_CLUSTER_NAME", "not KEY=value"),
        ("CRISP_CLUSTER_NAME: hunter2", "not KEY=value"),
        ("CRISP_CLUSTER_NAME = hunter2", "not KEY=value"),
        ("=hunter2", "not KEY=value"),
        ("ES_PASSWORD='hunter2", "ES_PASSWORD: the single quote is not closed at the end of the value"),
        ('ES_PASSWORD="hunter2" x', "ES_PASSWORD: the double quote is not closed at the end of the value"),
        (r'ES_PASSWORD="hunter2\d"', 'ES_PASSWORD: in double quotes, \\ must precede one of " \\ n r t; in single'),
        ("ES_USERNAME=hunter2", "ES_USERNAME: no such setting (did you mean ES_USER?)"),
        ("CRISP_ES_URL=hunter2", "CRISP_ES_URL: no such setting (did you mean CRISP_ES_URLS?)"),
        ("PATH=hunter2", "PATH: no such setting"),
        ("crisp_cluster_name=hunter2", "crisp_cluster_name: no such setting"),
        ("CRISP_CONFIG_FILE=hunter2", "CRISP_CONFIG_FILE: the file of settings cannot name another one"),
        ("CRISP_CLUSTER_NAME=\udcff", "not UTF-8"),
        ("CRISP_TOPIC_RAW=hunter2", "CRISP_TOPIC_RAW is already set by {path}:2"),
        ("CRISP_TOPIC_PARTITIONS=many", "CRISP_TOPIC_PARTITIONS: 'many' is not a whole number"),
        ("CRISP_KAFKA_USER=me", "CRISP_KAFKA_USER: needs CRISP_KAFKA_SASL"),
        ("CRISP_ES_URLS=foo", "CRISP_ES_URLS: "),
    ],
)
def test_problem_has_file_and_line_and_no_secret(tmp_path: Path, line: str, problem: str) -> None:
    path = write(tmp_path, f"# comment\nCRISP_TOPIC_RAW=a\n\n{line}\n".encode("utf-8", "surrogateescape"))

    found = problems({"CRISP_CONFIG_FILE": path})

    assert found[0].startswith(f"{path}:4: " + problem.format(path=path))
    assert (len(found), "hunter2" in found[0]) == (1, False)


def test_environment_has_precedence_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "CRISP_TOPIC_RAW=a\nCRISP_TOPIC_DEAD=b\nCRISP_TOPIC_PARTITIONS=many\nCRISP_KAFKA_GROUP=g\n")
    environ = {"CRISP_CONFIG_FILE": path, "CRISP_TOPIC_RAW": "c", "CRISP_TOPIC_PARTITIONS": "3"}

    settings = load_settings(environ)

    assert (settings.topic_raw, settings.topic_dead, settings.topic_partitions) == ("c", "b", 3)
    assert origins(environ) == {
        "CRISP_CONFIG_FILE": "environment",
        "CRISP_TOPIC_RAW": "environment",
        "CRISP_TOPIC_PARTITIONS": "environment",
        "CRISP_TOPIC_DEAD": f"{path}:2",
        "CRISP_KAFKA_GROUP": f"{path}:4",
    }


def test_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    missing, large = str(tmp_path / "none"), write(tmp_path, b"#" * (settings_file.MAX_BYTES + 1))

    for path, problem in ((missing, "cannot be read"), (str(tmp_path), "cannot be read"), (large, "is larger than")):
        assert problems({"CRISP_CONFIG_FILE": path})[0].startswith(f"CRISP_CONFIG_FILE: {path} {problem}")


def test_empty_name_is_no_file() -> None:
    assert load_settings({"CRISP_CONFIG_FILE": ""}) == Settings()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0")))
def test_quoted_value_is_read_as_it_was(value: str) -> None:
    line = f"CRISP_CLUSTER_NAME={settings_file.quote(value)}".encode()

    assert settings_file._parse_line(line) == ("CRISP_CLUSTER_NAME", value)


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs sh")
@pytest.mark.parametrize("value", ["a b", "*", "/health /live", "a;b", "${x}", "~", "#"])
def test_quoted_value_is_the_same_to_a_shell(value: str) -> None:
    script = f'set -f; X={settings_file.quote(value)}; printf %s "$X"'

    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == value

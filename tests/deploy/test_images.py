"""The images: linted, pinned, small in rights; their install steps run as they stand."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS
from tests.deploy.dockerfile import DOCKERFILE, copied, exec_form, in_context, instructions
from tests.deploy.manifests import ROOT

FINAL = ("shipper", "worker")


def of(stage: str, word: str) -> list[str]:
    return [row.rest for row in instructions() if row.stage == stage and row.word == word]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("no hadolint on this machine")
    ended = subprocess.run([program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_base_is_pinned_and_has_the_python_that_is_tested() -> None:
    (default,) = of("", "ARG")
    version = re.fullmatch(r"PYTHON=python:(\d+\.\d+)\.\d+-slim-\w+", default)

    assert version is not None
    assert version[1] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert {row.rest.split()[0] for row in instructions() if row.word == "FROM"} == {"${PYTHON}", "base"}


def test_nothing_is_installed_in_what_is_shipped() -> None:
    """No compiler, no package manager's leavings: the last stages only copy."""
    assert [row for row in instructions() if row.word == "RUN" and row.stage != "build"] == []
    assert all("--only-binary :all: --require-hashes" in part for part in _installs() if "-r " in part)


def _installs() -> list[str]:
    steps = " && ".join(of("build", "RUN")).split(" && ")
    return [step for step in steps if " install " in step]


@pytest.mark.parametrize("name", FINAL)
def test_the_command_needs_no_shell_and_is_one(name: str) -> None:
    (entry,) = of("base", "ENTRYPOINT")
    (command,) = of(name, "CMD")
    words = exec_form(command)

    assert exec_form(entry) == ["crisp"]
    assert words is not None
    assert words[0] in COMMANDS


def test_a_user_is_said_and_the_workers_is_nobody() -> None:
    assert of("shipper", "USER") == ["0:0"]
    assert of("worker", "USER") == ["10001:10001"]


def test_no_module_is_taken_from_where_a_process_stands() -> None:
    assert "PYTHONSAFEPATH=1" in of("base", "ENV")[0]


def test_labels_say_what_it_is() -> None:
    (labels,) = of("base", "LABEL")

    assert all(f"org.opencontainers.image.{key}=" in labels for key in ("title", "version", "revision", "licenses"))


def test_what_is_copied_is_there_and_in_the_context() -> None:
    sources = [source for row, _ in copied("build") for source in row]

    assert len(sources) >= 5
    assert [source for source in sources if not (ROOT / source).exists() or not in_context(source)] == []


@pytest.mark.parametrize(
    "name", [".git", ".venv/bin/python", "tests/conftest.py", "deploy/overlays/dev/config.env", ".env"]
)
def test_the_context_holds_nothing_else(name: str) -> None:
    assert not in_context(name)


@pytest.mark.k8s
@pytest.mark.timeout(600)
def test_the_install_steps_run_in_a_plain_environment(tmp_path: Path) -> None:
    """The very lines of the build stage, elsewhere; then the command, where a module lies in wait."""
    build, installed = tmp_path / "build", tmp_path / "crisp"
    build.mkdir()
    for row in instructions():
        if row.stage == "build" and row.word == "COPY":
            *sources, target = row.rest.split()
            for source in sources:
                _copy(ROOT / source, build / target / Path(source).name if target == "./" else build / target)
        if row.stage == "build" and row.word == "RUN":
            script = row.rest.replace("/opt/crisp", str(installed)).replace(
                "python -m venv", f"{sys.executable} -m venv"
            )
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=build, capture_output=True, text=True
            )
            assert ended.returncode == 0, ended.stderr[-3000:]

    (tmp_path / "yaml.py").write_text("raise SystemExit('taken from where the process stands')")
    environment = {"PATH": f"{installed}/bin:/usr/bin:/bin", "PYTHONSAFEPATH": "1"}
    for command in (["crisp", "config"], ["crisp", "worker", "--help"], ["crisp", "ship", "--help"]):
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    assert not (installed / "bin" / "pip").exists()
    assert importlib.util.find_spec("hatchling") is not None  # ours, for tests; not theirs:
    assert not list(installed.glob("lib/*/site-packages/hatchling"))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)

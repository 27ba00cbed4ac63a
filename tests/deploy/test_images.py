"""The images: linted, pinned, small in rights; their install steps run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import COMMANDS
from tests.deploy.dockerfile import DOCKERFILE, copied, exec_form, in_context, instructions
from tests.deploy.manifests import ROOT

FINAL = ("shipper", "worker")


def slow(test: Any) -> Any:
    """Fetches and installs packages, once for all such tests."""
    return pytest.mark.k8s(pytest.mark.timeout(600)(test))


def of(stage: str, word: str) -> list[str]:
    return [row.rest for row in instructions() if row.stage == stage and row.word == word]


def test_dockerfiles_pass_hadolint() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("no hadolint on this machine")
    ended = subprocess.run([program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_base_image_is_pinned_to_the_tested_python() -> None:
    default, build = of("", "ARG")
    version = re.fullmatch(r"PYTHON=python:(\d+\.\d+)\.\d+-slim-\w+", default)

    assert version is not None
    assert version[1] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert build == "BUILD_PYTHON=${PYTHON}"
    images = {row.rest.split()[0] for row in instructions() if row.word == "FROM"}
    assert images == {"${PYTHON}", "${BUILD_PYTHON}", "base"}


def test_final_stage_installs_nothing() -> None:
    """No compiler, no package manager's leavings: the last stages only copy."""
    assert [row for row in instructions() if row.word == "RUN" and row.stage != "build"] == []
    assert all("--only-binary :all: --require-hashes" in part for part in _installs() if "-r " in part)


def _installs() -> list[str]:
    steps = " && ".join(of("build", "RUN")).split(" && ")
    return [step for step in steps if " install " in step]


@pytest.mark.parametrize("name", FINAL)
def test_entry_point_is_one_command_without_a_shell(name: str) -> None:
    (entry,) = of("base", "ENTRYPOINT")
    (command,) = of(name, "CMD")
    words = exec_form(command)

    assert exec_form(entry) == ["crisp"]
    assert words is not None
    assert words[0] in COMMANDS


def test_image_names_its_user_and_the_worker_runs_as_nobody() -> None:
    assert of("shipper", "USER") == ["0:0"]
    assert of("worker", "USER") == ["10001:10001"]


def test_working_directory_is_not_on_the_module_path() -> None:
    assert "PYTHONSAFEPATH=1" in of("base", "ENV")[0]


def test_image_labels_describe_the_image() -> None:
    (labels,) = of("base", "LABEL")

    assert all(f"org.opencontainers.image.{key}=" in labels for key in ("title", "version", "revision", "licenses"))


def test_copied_paths_exist_in_the_build_context() -> None:
    sources = [source for row, _ in copied("build") for source in row]

    assert len(sources) >= 5
    assert [source for source in sources if not (ROOT / source).exists() or not in_context(source)] == []


@pytest.mark.parametrize(
    "name", [".git", ".venv/bin/python", "tests/conftest.py", "deploy/overlays/dev/config.env", ".env"]
)
def test_build_context_contains_only_what_is_copied(name: str) -> None:
    assert not in_context(name)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the very lines of the build stage make, run elsewhere in a plain environment."""
    build, made = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("opt") / "crisp"
    for row in instructions():
        if row.stage == "build" and row.word == "COPY":
            *sources, target = row.rest.split()
            for source in sources:
                _copy(ROOT / source, build / target / Path(source).name if target == "./" else build / target)
        if row.stage == "build" and row.word == "RUN":
            script = row.rest.replace("/opt/crisp", str(made)).replace("python -m venv", f"{sys.executable} -m venv")
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=build, capture_output=True, text=True
            )
            assert ended.returncode == 0, ended.stderr[-3000:]
    return made


@slow
def test_installed_package_runs_from_another_directory(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('taken from where the process stands')")

    for command in (["crisp", "config"], ["crisp", "worker", "--help"], ["crisp", "ship", "--help"]):
        ended = subprocess.run(command, cwd=tmp_path, env=_environment(installed), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr


@slow
def test_image_contains_no_build_tools(installed: Path) -> None:
    programs = {path.name for path in (installed / "bin").iterdir()}
    packages = {path.name.lower() for path in installed.glob("lib/*/site-packages/*")}

    assert not programs & {"pip", "pip3", "cc", "gcc", "g++", "clang", "cython", "cargo", "rustc", "hatchling"}
    assert not packages & {"pip", "setuptools", "wheel", "cython", "hatchling", "cffi", "pycparser"}
    assert {"agents", "pipeline"} <= packages


@slow
@pytest.mark.parametrize("name", FINAL)
def test_signal_reaches_python(installed: Path, tmp_path: Path, name: str) -> None:
    """ENTRYPOINT and CMD as a runtime starts them: what gets SIGTERM is Python, and it ends in good order."""
    (entry,), (command,) = of("base", "ENTRYPOINT"), of(name, "CMD")
    words = [*(exec_form(entry) or ()), *(exec_form(command) or ())]
    (tmp_path / "pods").mkdir()
    nowhere = {"CRISP_KAFKA_BROKERS": "127.0.0.1:9", "CRISP_ES_URLS": "http://127.0.0.1:9"}
    here = {"CRISP_STATE_DIR": str(tmp_path / "state"), "CRISP_LOGS_DIR": str(tmp_path / "pods")}
    environment = {**_environment(installed), **nowhere, **here, "CRISP_NODE_NAME": "node-1"}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            next(line for line in process.stderr if "cannot use Kafka" in line)
            assert Path(f"/proc/{process.pid}/exe").resolve().name.startswith("python")
            process.terminate()
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()


def _environment(installed: Path) -> dict[str, str]:
    """The image's."""
    (told,) = of("base", "ENV")
    found = dict(row.split("=", 1) for row in told.replace("${PATH}", "/usr/bin:/bin").split())
    return {**found, "PATH": found["PATH"].replace("/opt/crisp", str(installed))}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)

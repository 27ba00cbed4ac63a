"""Completion of commands, options, choices and files, as the shells compute it from the printed scripts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.cli.completion.arguments import all_commands
from pipeline.cli.main import COMMANDS
from tests.support.command_line import CommandLine

CASES = [
    ("au", ["audit"]),
    ("re", ["replay"]),
    ("check --st", ["--strict"]),
    ("dead-letters --s", ["--since"]),
    ("dead re", ["retry"]),
    ("local ", ["down", "status", "up"]),
    ("completion z", ["zsh"]),
    ("demo --es-version 8.11", ["8.11.0"]),
    ("audit --from ka", ["kafka"]),
    ("audit --pods po", ["pods.json"]),
    ("check --rules 'ru", ["rules 1.yaml"]),
    ("parse ru", ["rules 1.yaml"]),
    ("tail --js", ["--json"]),
    ("no-such-command --", []),
]
BASH_COMPLETE = (
    """source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _crisp; printf '%s\\n' "${COMPREPLY[@]}" """
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("pods.json", "rules 1.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def run(directory: Path, *command: str) -> list[str]:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return sorted({line.partition("\t")[0] for line in done.stdout.splitlines()} - {""})


def written(crisp: CommandLine, directory: Path, shell: str) -> str:
    result = crisp("completion", shell)
    assert (result.code, result.err) == (0, "")
    path = directory / f"completion.{shell}"
    path.write_text(result.out)
    return str(path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(crisp: CommandLine, directory: Path) -> None:
    script = written(crisp, directory, "bash")

    def complete(*words: str) -> list[str]:
        return run(directory, "bash", "--norc", "-c", BASH_COMPLETE, "bash", script, "crisp", *words)

    for line, expected in CASES:
        assert complete(*line.replace("'", "").split(" ")) == expected, line
    assert complete("") == sorted([*COMMANDS, "--help", "--version"])
    assert complete("demo", "--es-version", "=", "8.11") == ["8.11.0"]
    assert "8.11.0" in complete("demo", "--es-version", "=")
    assert complete("replay", "--since", "") == []
    for command in all_commands():
        options = {name for option in command.options for name in option.names}
        assert set(complete(command.names[0], "-")) == options


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes(crisp: CommandLine, directory: Path) -> None:
    script = written(crisp, directory, "fish")

    for line, expected in CASES:
        code = "source $argv[1]; complete -C $argv[2]"
        assert run(directory, "fish", "--no-config", "-c", code, script, f"crisp {line}") == expected, line


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_reads_the_script(crisp: CommandLine, directory: Path) -> None:
    script = written(crisp, directory, "zsh")
    code = 'compdef() { print -r -- "compdef $*"; }; source "$1"; whence -w _crisp'

    assert run(directory, "zsh", "-f", "-c", code, "zsh", script) == ["_crisp: function", "compdef _crisp crisp"]


def test_scripts_name_every_command_and_long_option(crisp: CommandLine) -> None:
    scripts = {shell: crisp("completion", shell).out for shell in ("bash", "zsh", "fish")}

    for command in all_commands():
        for script in scripts.values():
            assert command.names[0] in script
        for name in [name for option in command.options for name in option.names if name.startswith("--")]:
            assert name in scripts["bash"]
            assert f"{name}=[" in scripts["zsh"] or f"{name}[" in scripts["zsh"]
            assert f"-l {name[2:]} " in scripts["fish"]


def test_unknown_shell_is_wrong_usage(crisp: CommandLine) -> None:
    result = crisp("completion", "tcsh")

    assert (result.code, "invalid choice: 'tcsh'" in result.err) == (2, True)

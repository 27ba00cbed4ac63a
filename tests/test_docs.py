"""The README says what the code does. `python -m tests.test_docs` renews its tables."""

import argparse
import dataclasses
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import orjson
import pytest

from pipeline.cli.main import COMMANDS
from pipeline.config.settings import Settings, env_name
from pipeline.contract.ecs import FIELDS
from pipeline.monitoring.metrics import SHIPPER, WORKER
from tests.pipeline.parsing.examples import LOGGERS, TEXTS, Example

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def settings_table() -> str:
    """Every setting: variable, default, meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for row in dataclasses.fields(Settings):
        default = f"`{row.default}`" if row.default != "" else ""
        rows.append(f"| `{env_name(row.name)}` | {default} | {row.metadata['meaning']} |")
    return "\n".join(rows)


def fields_table() -> str:
    """Every field that the pipeline sets: name, type, meaning."""
    rows = ["| field | type | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | {field.type} | {field.meaning} |" for name, field in FIELDS.items()]
    return "\n".join(rows)


def metrics_table() -> str:
    """Every metric: name as Prometheus has it, kind, labels, meaning."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for row in (*WORKER, *SHIPPER):
        labels = ", ".join(f"`{label}`" for label in row.labels)
        rows.append(f"| `{row.exposed_name}` | {row.kind} | {labels} | {row.meaning} |")
    return "\n".join(rows)


TOLD = {
    "time": ("@timestamp",),
    "level": ("log.level",),
    "logger": ("log.logger",),
    "place in the code": ("log.origin.",),
    "process, thread": ("process.",),
    "trace": ("trace.id", "span.id"),
    "error": ("error.",),
    "request": ("http.", "dns."),
    "client": ("source.", "client."),
}
"""What a format can tell, by the names of its fields."""


def formats_table(examples: list[Example]) -> str:
    """Every format with what an example of it told."""
    names = list(dict.fromkeys(example.format for example in examples))
    rows = [f"| format | {' | '.join(TOLD)} |", "|---" * (len(TOLD) + 1) + "|"]
    for name in names:
        told = tuple(field for example in examples if example.format == name for field in example.fields)
        marks = ["•" if any(field.startswith(starts) for field in told) else "" for starts in TOLD.values()]
        rows.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(rows)


TABLES = {
    "settings": settings_table,
    "fields": fields_table,
    "metrics": metrics_table,
    "formats": lambda: formats_table(TEXTS),
    "loggers": lambda: formats_table(LOGGERS),
}


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)


def _commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("name", TABLES)
def test_the_table_in_the_readme_is_the_one_in_the_code(name: str) -> None:
    found = _pattern(name).search(README.read_text())

    assert found is not None
    assert found[0] == f"<!-- {name} -->\n{TABLES[name]()}\n<!-- end -->"


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {shlex.split(line)[1] for line in _commands() if line.startswith("make ")}

    assert named >= {"demo", "test"}
    assert named <= targets


def test_every_crisp_command_in_the_readme_is_understood() -> None:
    lines = [shlex.split(line, comments=True)[1:] for line in _commands() if line.startswith("crisp ")]
    demos = [shlex.split(line) for line in _commands() if line.startswith("make demo ARGS=")]
    lines += [["demo", *demo[2].removeprefix("ARGS=").split()] for demo in demos]

    assert len(lines) >= 8
    for name, *arguments in lines:
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
        parser.parse_args(arguments)


def test_the_line_to_parse_prints_a_document() -> None:
    (line,) = [line for line in _commands() if "crisp parse" in line]

    printed = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, check=True).stdout

    source = orjson.loads(printed)["_source"]
    assert (source["log.level"], source["message"]) == ("warn", "hi")


def test_every_command_is_in_the_table_of_commands() -> None:
    named = set(re.findall(r"^\| `crisp ([\w-]+)", README.read_text(), re.MULTILINE))

    assert named == set(COMMANDS)


if __name__ == "__main__":
    text = README.read_text()
    for name, table in TABLES.items():
        renewed = f"<!-- {name} -->\n{table()}\n<!-- end -->"
        text = _pattern(name).sub(lambda _, renewed=renewed: renewed, text)  # type: ignore[misc]
    README.write_text(text)

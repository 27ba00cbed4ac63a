"""The parts of the documentation that are made from the code. `python -m tests.generated_docs` renews them.

A page has `<!-- NAME -->`, the generated text, `<!-- end -->`.
"""

import argparse
import ast
import functools
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.cli.main import COMMANDS
from pipeline.config.environment import DEFAULTS, format_value
from pipeline.config.groups import GROUPS, grouped_settings
from pipeline.config.settings import env_name
from pipeline.contract.ecs import FIELDS
from pipeline.monitoring.metric_table import PROCESS_METRICS, SHIPPER, WORKER, Metric
from pipeline.parsing.json import json_body
from tests.pipeline.parsing.examples import LOGGERS, TEXTS, Example

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def settings_table(group: str) -> str:
    """Return a group of settings: variable, default, unit, readers, meaning and choices."""
    rows = ["| variable | default | unit | read by | meaning |", "|---|---|---|---|---|"]
    for row, _, readers, unit in (setting for setting in grouped_settings() if setting.group == group):
        value = format_value(row, getattr(DEFAULTS, row.name))
        default = f"`{value}`" if value != "" else ""
        choices = ", ".join(f"`{choice}`" for choice in row.metadata["choices"])
        meaning = row.metadata["meaning"] + (f" ({choices})" if choices else "")
        rows.append(f"| `{env_name(row.name)}` | {default} | {unit} | {readers} | {meaning} |")
    return "\n".join(rows)


@functools.cache
def fields_set() -> frozenset[str]:
    """Return the fields that something sets: the code names them, or a tested example of a log format has them."""
    code = [path for name in ("agents", "pipeline") for path in (ROOT / name).rglob("*.py")]
    texts: list[str] = []
    for path in code:
        if path.name == "ecs.py" or {"setup", "demo"} & set(path.parts):
            continue
        tree = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in tree if isinstance(node, ast.Expr)}
        constants = [node.value for node in tree if isinstance(node, ast.Constant) and id(node) not in docstrings]
        texts += [value for value in constants if isinstance(value, str)]
        texts += [value.decode("latin-1") for value in constants if isinstance(value, bytes)]
    named = {*texts, *re.findall(r"@?[a-z_]+(?:\.[a-z_]+)+", "\n".join(texts))}
    named |= {field for example in (*TEXTS, *LOGGERS) for field in example.fields}
    named |= {f"kubernetes.{kind}.name" for kind in WORKLOADS}
    return frozenset(named & set(FIELDS))


WORKLOADS = ("deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob")
"""Kinds of owners whose field has the kind in its name, and so is not named in the code."""


def fields_table() -> str:
    """Return every field that the pipeline sets: name, type, meaning."""
    rows = ["| field | type | meaning |", "|---|---|---|"]
    rows += [
        f"| `{name}` | {field.type}{', no index' if field.doc_values_only else ''} | {field.meaning} |"
        for name, field in FIELDS.items()
        if name in fields_set()
    ]
    return "\n".join(rows)


def mapped_fields() -> str:
    """Return the fields that have a type, but only an application sets."""
    names = [name for name in FIELDS if name not in fields_set() and json_body.is_writable(name)]
    return wrap(", ".join(f"`{name}`" for name in names))


def wrap(text: str, width: int = 118) -> str:
    """Return the text in lines of at most this width, broken at blanks."""
    return re.sub(rf"(.{{1,{width}}})(?: |$)", r"\1\n", text).rstrip("\n")


def metrics_table(metrics: tuple[Metric, ...]) -> str:
    """Return metrics: name as Prometheus shows it, type, labels, meaning."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for row in metrics:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        rows.append(f"| `{row.exposed_name}` | {row.kind} | {labels} | {row.meaning} |")
    return "\n".join(rows)


def process_metrics_table() -> str:
    """Return the metrics of any process."""
    rows = ["| metric | type | meaning |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in PROCESS_METRICS)])


FORMAT_COLUMNS = {
    "time": ("@timestamp",),
    "level": ("log.level",),
    "logger": ("log.logger",),
    "source location": ("log.origin.",),
    "process, thread": ("process.",),
    "trace": ("trace.id", "span.id"),
    "error": ("error.",),
    "request": ("http.", "dns."),
    "client": ("source.", "client."),
}
"""What a format can contain, by the names of its fields."""


def formats_table(examples: list[Example]) -> str:
    """Return every format with the kinds of fields that its examples have."""
    names = list(dict.fromkeys(example.format for example in examples))
    starts = FORMAT_COLUMNS.values()
    rows = [f"| format | {' | '.join(FORMAT_COLUMNS)} |", "|---" * (len(FORMAT_COLUMNS) + 1) + "|"]
    for name in names:
        fields = tuple(field for example in examples if example.format == name for field in example.fields)
        marks = ["•" if any(field.startswith(start) for field in fields) else "" for start in starts]
        rows.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(rows)


def commands_table() -> str:
    """Return all commands with their summaries."""
    rows = ["| command | does |", "|---|---|"]
    rows += [f"| [`crisp {name}`](#crisp-{name}) | {summary} |" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(rows)


def command_parser(name: str) -> argparse.ArgumentParser:
    """Return a command's own parser."""
    parser = argparse.ArgumentParser(prog=f"crisp {name}", exit_on_error=False)
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
    return parser


def command_sections() -> str:
    """Return a section for each command: summary, arguments, examples. The same with every version of Python."""
    return "\n\n".join("\n".join(_command_section(name)) for name in COMMANDS)


def _command_section(name: str) -> Iterator[str]:
    module, summary = COMMANDS[name]
    yield f"### crisp {name}\n\n{summary[0].upper()}{summary[1:]}.\n"
    rows = [_argument(action) for action in command_parser(name)._actions if action.dest != "help"]
    if rows:
        yield "| argument | meaning |\n|---|---|"
        yield from rows
    else:
        yield "No arguments."
    example = getattr(importlib.import_module(module), "EXAMPLE", "")
    if example:
        yield f"\n```text\n{example.rstrip()}\n```"


def _argument(action: argparse.Action) -> str:
    values = list(action.choices or ())
    value = str(action.metavar or ("\\|".join(map(str, values)) if values else action.dest.upper()))
    if action.option_strings:
        name = ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}")
    else:
        name = value
    default = f" (default: `{action.default}`)" if values and action.option_strings and action.default else ""
    return f"| `{name}` | {str(action.help or '').replace('|', chr(92) + '|')}{default} |"


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    DOCS / "commands.md": {"commands": commands_table, "options": command_sections},
    DOCS / "configuration.md": {f"{group}-settings": functools.partial(settings_table, group) for group in GROUPS},
    DOCS / "reference" / "fields.md": {"fields": fields_table, "mapped": mapped_fields},
    DOCS / "reference" / "formats.md": {
        "formats": functools.partial(formats_table, TEXTS),
        "loggers": functools.partial(formats_table, LOGGERS),
    },
    DOCS / "reference" / "metrics.md": {
        "worker-metrics": functools.partial(metrics_table, WORKER),
        "shipper-metrics": functools.partial(metrics_table, SHIPPER),
        "process-metrics": process_metrics_table,
    },
}


def block(name: str, text: str) -> str:
    """Return a generated text with its marks."""
    return f"<!-- {name} -->\n{text}\n<!-- end -->"


def pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of a generated text with its marks."""
    return re.compile(rf"<!-- {re.escape(name)} -->\n.*?<!-- end -->", re.DOTALL)


def renew() -> None:
    """Write the generated texts into their pages."""
    for page, parts in PAGES.items():
        text = page.read_text()
        for name, generate in parts.items():
            renewed = block(name, generate())
            text = pattern(name).sub(lambda _, renewed=renewed: renewed, text)  # type: ignore[misc]
        page.write_text(text)


if __name__ == "__main__":
    renew()

"""No example is confused: every other format's reader gives nothing for it, or what its own reader gives."""

import re
from collections.abc import Callable, Iterator

import orjson
import pytest

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import field_values, level
from pipeline.parsing.json import flatten, logger_dialects
from pipeline.parsing.text import access_log, head_formats, leading_timestamp, logfmt, server_log, text_formats
from pipeline.parsing.text.format_table import Format, FormatTable
from tests.pipeline.parsing.examples import LOGGERS, LOOKALIKES, TEXTS, Example

Reader = Callable[[str], JsonObject | None]

LINE_READERS: dict[str, Reader] = {
    **{
        f"access_log.{name}": getattr(access_log, name)
        for name in ("combined", "django", "uvicorn", "envoy", "haproxy")
    },
    **{
        f"server_log.{name}": getattr(server_log, name)
        for name in (
            *("clickhouse", "coredns", "gin", "haproxy_error", "linkerd", "morgan", "nest", "php", "spark", "tomcat"),
            *("tornado", "zerolog"),
        )
    },
    "logfmt": logfmt.parse,
    "klog": text_formats.PARSERS["klog"],
    "time in brackets": lambda line: leading_timestamp.parse(line, 1),
    "time": leading_timestamp.parse,
    "nested": leading_timestamp.parse_nested,
}


def _row_reader(table: FormatTable, row: Format) -> Reader:
    """Return a reader of one row alone; a row of the head is tried where the head begins."""
    alone = FormatTable(row, prefix=table.prefix)

    def read(line: str) -> JsonObject | None:
        match = alone.match(line, 0 if table is head_formats.LINES else _head_start(line, table))
        if match is None:
            return None
        fields = alone.formats[match.lastindex].fields(match)
        if "log.level" in fields:
            name = level.normalize(fields["log.level"])
            return {**fields, "log.level": name} if name else None
        return fields

    return read


def _head_start(line: str, table: FormatTable) -> int:
    time = leading_timestamp.TIMESTAMP.match(line, 1 if line.startswith("[") else 0)
    if time is None:
        return len(line)
    return time.start(5) if table is head_formats.BEFORE_LEVEL or not time[6] else time.end()


def _readers() -> Iterator[tuple[str, Reader]]:
    yield from LINE_READERS.items()
    for table in (head_formats.BEFORE_LEVEL, head_formats.AFTER_LEVEL, head_formats.LINES):
        yield from ((row.name, _row_reader(table, row)) for row in table.rows)


AMBIGUOUS = {
    "bracket",
    "log4j",
    "logger",
    "logger, then a thread",
    "NiFi",
    "Python",
    "Python, with colons",
    "winston, with a label",
}
"""Rows whose text is taken only if the code after them finds it certain."""
READERS = [pytest.param(reader, id=name) for name, reader in _readers() if name not in AMBIGUOUS]


@pytest.mark.parametrize("reader", READERS)
def test_reader_gives_no_other_field_for_the_examples_of_other_formats(reader: Reader) -> None:
    confused = {}
    for example in (*TEXTS, *LOOKALIKES):
        line = re.sub(r"\x1b\[[\d;]*m", "", example.line.partition("\n")[0])
        fields = reader(line) or {}
        other = {name: value for name, value in fields.items() if example.fields.get(name) != value}
        if other:
            confused[str(example)] = other
    assert confused == {}


@pytest.mark.parametrize("example", TEXTS, ids=str)
def test_example_without_its_time_gets_no_other_value(example: Example) -> None:
    """What precedes a head decides whether it is read, never what it means."""
    time = leading_timestamp.TIMESTAMP.match(example.line)
    rest = example.line[time.start(5) :] if time and time.start(5) else example.line
    fields = text_formats.parse(rest) or {}
    for name in ("log.level", "log.logger", "@timestamp"):
        assert fields.get(name, example.fields.get(name)) == example.fields.get(name)


@pytest.mark.parametrize("dialect", logger_dialects.DIALECTS, ids=lambda dialect: dialect.name)
def test_dialect_gives_no_other_field_for_the_examples_of_other_loggers(dialect: logger_dialects.Dialect) -> None:
    confused = {}
    for example in LOGGERS:
        body = flatten.flatten(example.line.encode(), orjson.loads(example.line), 200)
        if dialect not in logger_dialects.find_dialects(tuple(body)):
            continue
        for alias, name in dialect.spellings.items():
            convert = field_values.CONVERTERS.get(name)
            value = body.get(alias)
            fields = convert(value) if convert else {name: value} if isinstance(value, str) else None
            if value != dialect.absent and fields and next(iter(fields)) not in example.fields:
                confused[f"{example}: {alias}"] = fields
    assert confused == {}

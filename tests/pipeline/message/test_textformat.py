"""Formats of text: each with real-looking lines, near misses, and agreement with the types of the fields."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import ecs
from pipeline.message import apptime, jsonbody, textformat
from tests.pipeline.message.test_accesslog import LINES as REQUESTS
from tests.pipeline.message.test_timestamped import LINES as DATED

TEXTS: list[tuple[str, dict[str, Any]]] = [
    ("INFO:     Started server process [1]", {"log.level": "info"}),
    (
        'E1124 10:00:00.123456       1 controller.go:123] "no sync" err="x" key="shop/a"',
        {
            "log.level": "error",
            "process.thread.id": 1,
            "log.origin.file.name": "controller.go",
            "log.origin.file.line": 123,
        },
    ),
    (
        'time="2026-11-24T10:00:00Z" level=warning msg="something" component=cri',
        {"log.level": "warn", "log.logger": "cri", "@timestamp": "2026-11-24T10:00:00Z"},
    ),
    (
        'ts=2026-11-24T10:00:00.123Z caller=main.go:123 level=info component=tsdb msg="Compaction done"',
        {
            "log.level": "info",
            "log.logger": "tsdb",
            "@timestamp": "2026-11-24T10:00:00.123Z",
            "log.origin.file.name": "main.go",
            "log.origin.file.line": 123,
        },
    ),
    ("INFO:shop.mailer:mail sent", {"log.level": "info", "log.logger": "shop.mailer"}),
    ("1:M 24 Nov 2026 10:00:00.123 * Ready to accept connections", {"log.level": "notice", "process.pid": 1}),
    ("[INFO] plugin/reload: Running configuration SHA512 = 12", {"log.level": "info", "log.logger": "plugin/reload"}),
    (
        '[INFO] 10.244.0.5:34567 - 12 "A IN shop.svc.cluster.local. udp 56 false 512" NOERROR qr,aa,rd 110 0.000123s',
        {
            "log.level": "info",
            "source.address": "10.244.0.5",
            "source.ip": "10.244.0.5",
            "source.port": 34567,
            "dns.id": "12",
            "dns.question.name": "shop.svc.cluster.local",
            "dns.question.type": "A",
            "dns.question.class": "IN",
            "dns.header_flags": ["AA", "RD"],
            "dns.response_code": "NOERROR",
            "network.transport": "udp",
            "event.duration": 123000,
        },
    ),
    (
        "info: Microsoft.Hosting.Lifetime[14]\n      Now listening on: http://[::]:80",
        {"log.level": "info", "log.logger": "Microsoft.Hosting.Lifetime"},
    ),
    (
        'time="2026-11-24T10:00:00.123456789Z" level=info msg="PullImage \\"x\\" returns"',
        {"log.level": "info", "@timestamp": "2026-11-24T10:00:00.123456789Z"},
    ),
    ("[ERROR] 2026-11-24 something", {"log.level": "error"}),
    (
        "[Tue Nov 24 10:00:00.123456 2026] [core:error] [pid 12:tid 34] [client 10.0.0.1:1234] AH00126: Invalid URI",
        {
            "log.level": "error",
            "log.logger": "core",
            "process.pid": 12,
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
            "source.port": 1234,
        },
    ),
    ('I, [2026-11-24T10:00:00.123456 #1]  INFO -- : Started GET "/"', {"log.level": "info", "process.pid": 1}),
    (
        'level=info ts=2026-11-24T10:00:00Z caller=m.go:159 traceID=4bf92f3577b34da6a3ce929d0e0e4736 msg="level=error"',
        {
            "log.level": "info",
            "@timestamp": "2026-11-24T10:00:00Z",
            "log.origin.file.name": "m.go",
            "log.origin.file.line": 159,
            "trace.id": "4bf92f3577b34da6a3ce929d0e0e4736",
        },
    ),
    ('msg="say \\"hi\\"" level=debug', {"log.level": "debug"}),
    ("WARNING:root:low disk", {"log.level": "warn", "log.logger": "root"}),
    ("[warn] slow query", {"log.level": "warn"}),
    ("Error: cannot find module", {"log.level": "error"}),
    ("panic: runtime error: index out of range", {"log.level": "fatal"}),
    ("[ERROR] plugin/errors: 2 x. A: i/o timeout", {"log.level": "error", "log.logger": "plugin/errors"}),
    (
        "info: Shop.Orders[14] order 5 accepted",
        {"log.level": "info", "log.logger": "Shop.Orders"},
    ),
    (
        '[GIN] 2026/11/24 - 10:00:00 | 200 |     123.4µs |       10.0.0.1 | GET      "/a?b=1"',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "event.duration": 123400,
            "url.original": "/a?b=1",
            "url.path": "/a",
            "url.query": "b=1",
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
        },
    ),
    (
        '[GIN] 2026/11/24 - 10:00:00 | 504 |    1m2.5s |       10.0.0.1 | POST     "/pay"',
        {
            "http.response.status_code": 504,
            "http.request.method": "POST",
            "event.duration": 62_500_000_000,
            "url.original": "/pay",
            "url.path": "/pay",
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
        },
    ),
    (
        'level=error method=GET uri="/pay?x=1" status=500 took=2.5ms trace_id=4bf9 span_id=00f0 err="no order"',
        {
            "log.level": "error",
            "http.request.method": "GET",
            "http.response.status_code": 500,
            "url.original": "/pay?x=1",
            "url.path": "/pay",
            "url.query": "x=1",
            "event.duration": 2_500_000,
            "trace.id": "4bf9",
            "span.id": "00f0",
            "error.message": "no order",
        },
    ),
    (
        "method=GET path=/jobs/8 format=json controller=Jobs action=show status=200 duration=58.33 view=40.43",
        {
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "url.original": "/jobs/8",
            "url.path": "/jobs/8",
        },
    ),
    (
        "Nov 24, 2026 10:00:00 AM shop.Orders load\nSEVERE: failed",
        {"log.level": "error", "log.logger": "shop.Orders", "log.origin.function": "load"},
    ),
    (
        "POST /api/users 201 12.345 ms - 123",
        {
            "http.request.method": "POST",
            "http.response.status_code": 201,
            "event.duration": 12345000,
            "http.response.body.bytes": 123,
            "url.original": "/api/users",
            "url.path": "/api/users",
        },
    ),
    ("[24-Nov-2026 10:00:00] NOTICE: fpm is running, pid 1", {"log.level": "notice"}),
    ("[24-Nov-2026 10:00:00 UTC] PHP Fatal error:  no $x in /srv/a.php on line 3", {"log.level": "fatal"}),
    (
        "[Nest] 1  - 11/24/2026, 10:00:00 AM     LOG [NestFactory] Starting Nest application...",
        {"log.level": "info", "log.logger": "NestFactory", "process.pid": 1},
    ),
    (
        "[main] INFO org.shop.Main - started",
        {"log.level": "info", "log.logger": "org.shop.Main", "process.thread.name": "main"},
    ),
    (
        "10.0.0.1:4711 [24/Nov/2026:10:00:00.123] http-in/1: SSL handshake failure",
        {"source.address": "10.0.0.1", "source.ip": "10.0.0.1", "source.port": 4711},
    ),
    (
        "java.lang.IllegalStateException: no order",
        {"error.type": "java.lang.IllegalStateException", "error.message": "no order"},
    ),
    ("ValueError: no number", {"error.type": "ValueError", "error.message": "no number"}),
    ("PHP Fatal error:  Uncaught Error: no foo()", {"error.type": "Error", "error.message": "no foo()"}),
]
LINES = TEXTS + DATED + REQUESTS


@pytest.mark.parametrize(("line", "wanted"), TEXTS, ids=[line[:40] for line, _ in TEXTS])
def test_a_line_tells(line: str, wanted: dict[str, Any]) -> None:
    assert textformat.fields(line) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "",
        "the quick brown fox",
        "Information about errors",
        "log in failed",
        "error while reading",
        "Log: a book of days",
        "config: loaded",
        "LOG of the day",
        "ERRORS: none",
        "warned twice",
        "Database ready",
        "10 errors found",
        "1:M is ready",
        "I am ready",
        "E1124 is a number",
        "I, [as it were]",
        "a=b c=d",
        "Pool level=high size=1",
        'msg="the level=error within" count=3',
        "level=high msg=x",
        "[section]",
        "[Tue Nov 24 10:00:00 2026] [core:loud] x",
        "    at com.example.Foo(Foo.java:12)",
        "\x1b[31mred\x1b[0m",
        "\x1b[31m",
        "ready\nERROR behind a newline",
        "Error handling: none",
        "GET ready",
        "POST mortem: done",
        "[GIN] running",
        "[Nest] is built",
        "[main] INFO starts",
        "Dear Error: hello",
        "method=GET status=200",
        "method=GET path=/x status=ok",
        "Nov 24, 2026 10:00:00 AM shop.Orders load",
        "Nov 24, 2026 10:00:00 AM shop.Orders load\nLOUD: x",
        '{"level":"info"}',
    ],
)
def test_an_unknown_line_tells_nothing(line: str) -> None:
    assert textformat.fields(line) is None


def test_only_the_first_line_of_an_event_is_read() -> None:
    assert textformat.fields("ERROR it broke\n2026-11-24 10:00:00,123 INFO a.b.C - x") == {"log.level": "error"}


def test_colours_do_not_matter() -> None:
    plain = textformat.fields("2026-11-24T10:00:00.123Z\tWARN\tsetup\tx")

    assert textformat.fields("\x1b[2m2026-11-24T10:00:00.123Z\x1b[0m\t\x1b[33mWARN\x1b[0m\tsetup\tx") == plain


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line[:40] for line, _ in LINES])
def test_a_time_of_a_line_can_be_read(line: str, wanted: dict[str, Any]) -> None:
    time = (textformat.fields(line) or {}).get("@timestamp")

    assert time is None or apptime.nanoseconds(time) is not None


def _right(kind: str, value: Any) -> bool:
    if isinstance(value, list):
        return value != [] and all(_right(kind, one) for one in value)
    if kind == "long":
        return type(value) is int and -(2**63) <= value < 2**63
    if kind == "ip":
        return bool(ipaddress.ip_address(value))
    return isinstance(value, str) and value != ""


PIECES = st.sampled_from(
    [piece for line, _ in LINES for piece in (line, *line.split(" "))]
    + ["999.1.1.1", "[", "::::", "9" * 30, "\n", "\t"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=6).map(" ".join), st.lists(PIECES).map("".join)))
def test_whatever_the_text_names_and_types_are_those_of_the_table(text: str) -> None:
    for name, value in (textformat.fields(text) or {}).items():
        assert _right(ecs.FIELDS[name].type, value), name
        assert name != "message"
        assert jsonbody._name(name) == name, "reserved"


@given(st.sampled_from([line for line, _ in LINES]), st.integers(0, 200), st.text(max_size=3))
def test_a_damaged_line_is_no_harm(line: str, at: int, text: str) -> None:
    for name, value in (textformat.fields(line[:at] + text + line[at + 1 :]) or {}).items():
        assert _right(ecs.FIELDS[name].type, value), name


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        " ",
        "[",
        "]",
        '"',
        "- ",
        "a.",
        "a/",
        "/",
        "::",
        ".[",
        "x{}",
        "1.2.3.4 - - [",
        "level=",
        'a="',
        "\\",
        "2026-11-24 ",
    ],
)
def test_a_very_long_line_is_no_harm(unit: str) -> None:
    for prefix in (
        "",
        "2026-11-24 10:00:00,123 ",
        "2026-11-24 10:00:00,123 INFO ",
        "2026-11-24 10:00:00,123 [main] INFO a",
        "[2026-11-24 10:00:00,123] INFO ",
        "[2026-11-24T10:00:00,123][INFO ][",
        '[2026-11-24T10:00:00.1Z] "GET / HTTP/2" 200 - ',
        "10.1.1.1 - - [",
        '10.1.1.1 - - [24/Nov/2026:10:00:01 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 1 0.1 [] [] ',
        "10.0.1.2:33317 [24/Nov/2026:12:14:14.655] a b 1/1/1/1/1 200 1 ",
        "INFO ",
        "level=x ",
        "2026-11-24 10:00:00,123 INFO a",
    ):
        textformat.fields(prefix + (unit * 2**20)[: 2**20])
        textformat.fields(prefix + (unit * 3000)[:3000] + '"')

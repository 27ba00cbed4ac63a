"""Formats of text: each with real-looking lines, near misses, and agreement with the types of the fields."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import apptime, ecs, textformat

LINES: list[tuple[str, dict[str, Any]]] = [
    (
        '10.1.2.3 - bob [24/Nov/2026:11:02:27 +0100] "GET /api?n=1 HTTP/1.1" 200 95 "https://a.ex/" "curl/8" 0.123',
        {
            "http.request.method": "GET",
            "url.original": "/api?n=1",
            "url.path": "/api",
            "url.query": "n=1",
            "http.version": "1.1",
            "http.response.status_code": 200,
            "http.response.body.bytes": 95,
            "http.request.referrer": "https://a.ex/",
            "user_agent.original": "curl/8",
            "user.name": "bob",
            "source.address": "10.1.2.3",
            "source.ip": "10.1.2.3",
            "event.duration": 123_000_000,
            "@timestamp": "2026-11-24T11:02:27+01:00",
        },
    ),
    (
        '::1 - - [24/Nov/2026:11:02:27 +0000] "-" 400 -',
        {
            "http.response.status_code": 400,
            "source.address": "::1",
            "source.ip": "::1",
            "@timestamp": "2026-11-24T11:02:27+00:00",
        },
    ),
    (
        'INFO:     127.0.0.1:5000 - "GET /healthz HTTP/1.1" 200 OK',
        {
            "log.level": "info",
            "source.port": 5000,
            "source.address": "127.0.0.1",
            "source.ip": "127.0.0.1",
            "http.request.method": "GET",
            "url.original": "/healthz",
            "url.path": "/healthz",
            "http.version": "1.1",
            "http.response.status_code": 200,
        },
    ),
    ("INFO:     Started server process [1]", {"log.level": "info"}),
    (
        "E1124 10:00:00.123456       1 controller.go:123] no sync",
        {
            "log.level": "error",
            "process.thread.id": 1,
            "log.origin.file.name": "controller.go",
            "log.origin.file.line": 123,
        },
    ),
    ('time="2026-11-24T10:00:00Z" level=warning msg="x" component=cri', {"log.level": "warn", "log.logger": "cri"}),
    ("level=info ts=1 caller=main.go:1 msg=hi", {"log.level": "info"}),
    ("[2026-11-24T10:00:00,123][WARN ][o.e.c.Disk ] [n] high", {"log.level": "warn", "log.logger": "o.e.c.Disk"}),
    (
        "[2026-11-24 10:51:30,233] INFO [Server id=1] started (kafka.server.KafkaServer)",
        {"log.level": "info", "log.logger": "kafka.server.KafkaServer"},
    ),
    ("2026-11-24 10:00:00,123 INFO  [w-1] shop.Index - x", {"log.level": "info", "log.logger": "shop.Index"}),
    ("2026-11-24 10:00:00,123 [main] ERROR c.e.Foo - failed", {"log.level": "error", "log.logger": "c.e.Foo"}),
    (
        "2026-01-01T12:00:00.123+01:00  INFO 1 --- [    main] c.e.App       : Started",
        {"log.level": "info", "log.logger": "c.e.App", "@timestamp": "2026-01-01T12:00:00.123 +01:00"},
    ),
    ("2026-11-24 10:00:00,123 - shop.mail - WARNING - x", {"log.level": "warn", "log.logger": "shop.mail"}),
    ("2026-11-24T10:00:00.123Z\tDEBUG\tsetup\tx", {"log.level": "debug", "@timestamp": "2026-11-24T10:00:00.123 Z"}),
    (
        "2026-11-24 10:00:00.123 UTC [123] LOG:  database ready",
        {"log.level": "info", "@timestamp": "2026-11-24 10:00:00.123 UTC"},
    ),
    ("2026-11-24T10:00:00Z 0 [Warning] [MY-1] x", {"log.level": "warn", "@timestamp": "2026-11-24T10:00:00 Z"}),
    ("2026-11-24 10:00:00.1 [error] <0.1.0> x", {"log.level": "error"}),
    ("INFO:shop.mailer:mail sent", {"log.level": "info", "log.logger": "shop.mailer"}),
    ("ERROR something broke", {"log.level": "error"}),
    ("[error] x", {"log.level": "error"}),
    ("info: Microsoft.Hosting.Lifetime[14]", {"log.level": "info"}),
    ("\x1b[31mWARN\x1b[0m hot", {"log.level": "warn"}),
    ("2026/11/24 10:00:00 [crit] 29#29: *1 open() failed", {"log.level": "critical", "process.pid": 29}),
    ("1:M 24 Nov 2026 10:00:00.123 * Ready", {"log.level": "notice", "process.pid": 1}),
    (
        '[2026-11-24T10:00:00.1Z] "GET /a HTTP/2" 200 - via_upstream - "-" 0 15 3 2 "-" "curl/8" "id" "h" "10.0.0.1:1"',
        {
            "http.request.method": "GET",
            "url.original": "/a",
            "url.path": "/a",
            "http.version": "2",
            "http.response.status_code": 200,
            "http.request.body.bytes": 0,
            "http.response.body.bytes": 15,
            "event.duration": 3_000_000,
            "user_agent.original": "curl/8",
            "@timestamp": "2026-11-24T10:00:00.1Z",
        },
    ),
]


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line[:30] for line, _ in LINES])
def test_a_line_tells(line: str, wanted: dict[str, Any]) -> None:
    assert textformat.fields(line) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "",
        "the quick brown fox",
        "Information about errors",
        "log in failed",
        "Database ready",
        "2026-11-24 10:00:00 something happened",
        "10 errors found",
        "a=b c=d",
        "[section]",
        '{"level":"info"}',
        "warned twice",
        "ERRORS: none",
    ],
)
def test_an_unknown_line_tells_nothing(line: str) -> None:
    assert textformat.fields(line) is None


def _right(kind: str, value: Any) -> bool:
    if kind == "long":
        return isinstance(value, int)
    if kind == "ip":
        return bool(ipaddress.ip_address(value))
    return isinstance(value, str)


PIECES = st.sampled_from(
    [piece for line, _ in LINES for piece in (line, *line.split(" "))] + ["999.1.1.1", "[", "::::"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=6).map(" ".join)))
def test_whatever_the_text_names_and_types_are_those_of_the_table(text: str) -> None:
    for name, value in (textformat.fields(text) or {}).items():
        assert _right(ecs.FIELDS[name].type, value), name
        assert name not in {"message", "host.name", "log.offset"}


@pytest.mark.parametrize("unit", ["a", "1", " ", "[", '"', "- ", "a.", "1.2.3.4 - - [", "level=", "2026-11-24 "])
def test_a_very_long_line_is_no_harm(unit: str) -> None:
    for prefix in (
        "",
        "2026-11-24 10:00:00,123 ",
        "[2026-11-24 10:00:00,123] INFO ",
        "10.1.1.1 - - [",
        "INFO ",
        "level=x ",
    ):
        textformat.fields(prefix + (unit * 2**20)[: 2**20])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-24T09:42:30.686Z", "2026-11-24T09:42:30.686000000Z"),
        ("2026-11-24 09:42:30,686 +0100", "2026-11-24T08:42:30.686000000Z"),
        ("2026-11-24T09:42:30+01", "2026-11-24T08:42:30.000000000Z"),
        (1795513350, "2026-11-24T09:42:30.000000000Z"),
        (1795513350.25, "2026-11-24T09:42:30.250000000Z"),
        (1795513350686, "2026-11-24T09:42:30.686000000Z"),
        (1795513350686000001, "2026-11-24T09:42:30.686000001Z"),
        ("1795513350", "2026-11-24T09:42:30.000000000Z"),
        ("2026-11-24T09:42:30", None),
        ("2026-13-24T09:42:30Z", None),
        ("24/11/2026", None),
        (True, None),
        (42, None),
        (None, None),
        ([], None),
    ],
)
def test_own_times(value: Any, text: str | None) -> None:
    found = apptime.nanoseconds(value)

    assert (None if found is None else apptime.text(found)) == text

"""Access logs: what each format tells of a request, and what is no request."""

from typing import Any

import pytest

from pipeline.message import textformat

LINES: list[tuple[str, dict[str, Any]]] = [
    (
        '10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET /item?n=1 HTTP/1.1" 200 95 "https://a.ex/" "Mozilla/5.0" 0.123',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/item?n=1",
            "url.path": "/item",
            "url.query": "n=1",
            "http.version": "1.1",
            "source.address": "10.1.2.3",
            "source.ip": "10.1.2.3",
            "http.response.body.bytes": 95,
            "http.request.referrer": "https://a.ex/",
            "user_agent.original": "Mozilla/5.0",
            "event.duration": 123000000,
            "@timestamp": "2026-11-24T10:02:27Z",
        },
    ),
    (
        '10.244.1.17 - - [24/Nov/2026:10:00:01 +0000] "GET /api/v1/users HTTP/1.1" 200 612 "-" "curl/8.5.0" 345 0.012 '
        "[shop-users-80] [] 10.244.2.9:8080 612 0.011 200 8f3c2d1e4b5a69788f3c2d1e4b5a6978",
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/api/v1/users",
            "url.path": "/api/v1/users",
            "http.version": "1.1",
            "source.address": "10.244.1.17",
            "source.ip": "10.244.1.17",
            "http.response.body.bytes": 612,
            "user_agent.original": "curl/8.5.0",
            "event.duration": 12000000,
            "http.request.bytes": 345,
            "http.request.id": "8f3c2d1e4b5a69788f3c2d1e4b5a6978",
            "@timestamp": "2026-11-24T10:00:01Z",
        },
    ),
    (
        '10.1.1.1 - - [24/Nov/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "curl/8" 1 "web@k8s" "http://a:80" 3ms',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/x",
            "url.path": "/x",
            "http.version": "1.1",
            "source.address": "10.1.1.1",
            "source.ip": "10.1.1.1",
            "http.response.body.bytes": 12,
            "user_agent.original": "curl/8",
            "event.duration": 3000000,
            "@timestamp": "2026-11-24T10:00:00Z",
        },
    ),
    (
        "10.0.1.2:33317 [24/Nov/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- "
        '1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/index.html",
            "url.path": "/index.html",
            "http.version": "1.1",
            "source.address": "10.0.1.2",
            "source.ip": "10.0.1.2",
            "source.port": 33317,
            "http.response.bytes": 2750,
            "event.duration": 109000000,
        },
    ),
    (
        '[24/Nov/2026 10:00:00] "GET / HTTP/1.1" 200 12',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/",
            "url.path": "/",
            "http.version": "1.1",
            "http.response.body.bytes": 12,
        },
    ),
    (
        '10.0.0.1 - - [24/Nov/2026 10:00:00] "GET / HTTP/1.1" 200 -',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/",
            "url.path": "/",
            "http.version": "1.1",
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
        },
    ),
    (
        'INFO:     127.0.0.1:5000 - "GET /item?x=1 HTTP/1.1" 200 OK',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/item?x=1",
            "url.path": "/item",
            "url.query": "x=1",
            "http.version": "1.1",
            "source.address": "127.0.0.1",
            "source.ip": "127.0.0.1",
            "source.port": 5000,
            "log.level": "info",
        },
    ),
    (
        '[2026-11-24T10:00:00.1Z] "GET /a HTTP/2" 200 - via_upstream - "-" 0 15 3 2 "-" "curl/8" "id" "h:80" "10.0.0"',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/a",
            "url.path": "/a",
            "http.version": "2",
            "@timestamp": "2026-11-24T10:00:00.1Z",
            "http.request.body.bytes": 0,
            "http.response.body.bytes": 15,
            "event.duration": 3000000,
            "user_agent.original": "curl/8",
            "http.request.id": "id",
            "url.domain": "h",
        },
    ),
    (
        '2001:db8::1 - - [24/Nov/2026:10:00:01 +0000] "GET / HTTP/2.0" 304 0 "-" "-"',
        {
            "http.response.status_code": 304,
            "http.request.method": "GET",
            "url.original": "/",
            "url.path": "/",
            "http.version": "2.0",
            "source.address": "2001:db8::1",
            "source.ip": "2001:db8::1",
            "http.response.body.bytes": 0,
            "@timestamp": "2026-11-24T10:00:01Z",
        },
    ),
    (
        'web-1.example - alice [24/Nov/2026:10:00:01 +0000] "POST /x HTTP/1.1" 500 12',
        {
            "http.response.status_code": 500,
            "http.request.method": "POST",
            "url.original": "/x",
            "url.path": "/x",
            "http.version": "1.1",
            "source.address": "web-1.example",
            "http.response.body.bytes": 12,
            "user.name": "alice",
            "@timestamp": "2026-11-24T10:00:01Z",
        },
    ),
    (
        '::ffff:10.0.0.1 - - [24/Nov/2026:10:00:01 +0000] "GET / HTTP/1.1" 200 1',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/",
            "url.path": "/",
            "http.version": "1.1",
            "source.address": "::ffff:10.0.0.1",
            "source.ip": "10.0.0.1",
            "http.response.body.bytes": 1,
            "@timestamp": "2026-11-24T10:00:01Z",
        },
    ),
    (
        '10.0.0.1 - - [24/Nov/2026:10:00:01 +0000] "\\x16\\x03\\x01" 400 150 "-" "-"',
        {
            "http.response.status_code": 400,
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
            "http.response.body.bytes": 150,
            "@timestamp": "2026-11-24T10:00:01Z",
        },
    ),
    (
        '[2026-11-24T10:00:00.123Z] "POST /pay?x=1 HTTP/2" 503 UF upstream_reset_before_response_started{connection} - '
        '"delayed_connect_error:_111" 91 145 12 - "10.0.0.9, 10.1.1.1" "grpc-go/1.60" "a1b2" "pay.shop" '
        '"10.2.0.4:8080" - - 10.0.0.3:80 10.0.0.9:0 - -',
        {
            "http.response.status_code": 503,
            "http.request.method": "POST",
            "url.original": "/pay?x=1",
            "url.path": "/pay",
            "url.query": "x=1",
            "http.version": "2",
            "@timestamp": "2026-11-24T10:00:00.123Z",
            "http.request.body.bytes": 91,
            "http.response.body.bytes": 145,
            "event.duration": 12000000,
            "source.address": "10.0.0.9",
            "source.ip": "10.0.0.9",
            "user_agent.original": "grpc-go/1.60",
            "http.request.id": "a1b2",
            "url.domain": "pay.shop",
        },
    ),
    (
        '[2026-11-24T10:00:00.123Z] "- - -" 0 DPE 0 11 0 - "-" "-" "-" "-" "-"',
        {
            "http.response.status_code": 0,
            "@timestamp": "2026-11-24T10:00:00.123Z",
            "http.request.body.bytes": 0,
            "http.response.body.bytes": 11,
            "event.duration": 0,
        },
    ),
    (
        '10.0.0.1 - - [24/Nov/2026:10:00:01 +0000] "GET / HTTP/1.1" 200 1 "-" "-" rt=0.250',
        {
            "http.response.status_code": 200,
            "http.request.method": "GET",
            "url.original": "/",
            "url.path": "/",
            "http.version": "1.1",
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
            "http.response.body.bytes": 1,
            "event.duration": 250000000,
            "@timestamp": "2026-11-24T10:00:01Z",
        },
    ),
    (
        '10.0.0.1 - - [24/Nov/2026:10:00:01 -0330] "HEAD / HTTP/1.0" 204 -',
        {
            "http.response.status_code": 204,
            "http.request.method": "HEAD",
            "url.original": "/",
            "url.path": "/",
            "http.version": "1.0",
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
            "@timestamp": "2026-11-24T13:30:01Z",
        },
    ),
]


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line[:40] for line, _ in LINES])
def test_a_request_is_read(line: str, wanted: dict[str, Any]) -> None:
    assert textformat.fields(line) == wanted


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" OK 95', id="status_is_a_word"),
        pytest.param('10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 20000 9', id="status_is_too_long"),
        pytest.param('10.1.2.3 - - [yesterday] "GET / HTTP/1.1" 200 95', id="no_time"),
        pytest.param('10.1.2.3 [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95', id="no_identity"),
        pytest.param(
            '10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" ٢٠٠ 95', id="digits_of_another_script"
        ),
        pytest.param('[2026-11-24T10:00:00.1Z] "GET /a HTTP/2" 200', id="envoy_cut_short"),
        pytest.param('[24/Nov/2026 10:00:00] "GET / HTTP/1.1" 200', id="django_without_size"),
        pytest.param('10.0.1.2:33317 said "GET /ready HTTP/1.1"', id="a_request_within_a_text"),
    ],
)
def test_what_only_resembles_a_request_is_none(line: str) -> None:
    assert textformat.fields(line) is None


@pytest.mark.parametrize(
    "client",
    ["999.1.1.1", "010.1.1.1", "1.2.3", "fe80::1%eth0", "1:2:3", "1.2.3.4.5", "shop-web", "\uff11.2.3.4", ":::"],
)
def test_what_is_no_address_stays_out_of_the_ip_field(client: str) -> None:
    found = textformat.fields(f'{client} - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95') or {}

    assert "source.ip" not in found


def test_a_number_that_64_bits_cannot_hold_is_none() -> None:
    line = f'10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 {"9" * 30}'

    assert (textformat.fields(line) or {}).get("http.response.body.bytes", 0) < 2**63


def test_a_month_that_is_none_gives_no_time() -> None:
    found = textformat.fields('10.1.2.3 - - [24/Foo/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95')

    assert found is not None
    assert "@timestamp" not in found


def test_what_is_empty_is_no_field() -> None:
    found = textformat.fields('[2026-11-24T10:00:00.1Z] "GET /a? HTTP/2" 200 - 0 15 3 2 "" "" "" "" "-"') or {}

    assert found["url.path"] == "/a"
    assert "" not in found.values()

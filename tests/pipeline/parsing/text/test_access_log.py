"""Access logs: fields of each format, and lines that are not requests."""

import pytest

from pipeline.parsing.text import text_formats


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
def test_line_that_resembles_a_request_has_no_fields(line: str) -> None:
    assert text_formats.parse(line) is None


@pytest.mark.parametrize(
    "client",
    ["999.1.1.1", "010.1.1.1", "1.2.3", "fe80::1%eth0", "1:2:3", "1.2.3.4.5", "shop-web", "\uff11.2.3.4", ":::"],
)
def test_invalid_address_is_not_in_the_ip_field(client: str) -> None:
    fields = text_formats.parse(f'{client} - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95') or {}

    assert "source.ip" not in fields


def test_number_beyond_64_bits_is_ignored() -> None:
    line = f'10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 {"9" * 30}'

    assert (text_formats.parse(line) or {}).get("http.response.body.bytes", 0) < 2**63


def test_unknown_month_gives_no_time() -> None:
    fields = text_formats.parse('10.1.2.3 - - [24/Foo/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95')

    assert fields is not None
    assert "@timestamp" not in fields


def test_empty_value_is_not_a_field() -> None:
    fields = text_formats.parse('[2026-11-24T10:00:00.1Z] "GET /a? HTTP/2" 200 - 0 15 3 2 "" "" "" "" "-"') or {}

    assert fields["url.path"] == "/a"
    assert "" not in fields.values()

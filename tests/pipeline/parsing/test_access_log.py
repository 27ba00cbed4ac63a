"""Access logs: what each format tells of a request, and what is no request."""

import pytest

from pipeline.parsing import text_formats


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
    assert text_formats.parse(line) is None


@pytest.mark.parametrize(
    "client",
    ["999.1.1.1", "010.1.1.1", "1.2.3", "fe80::1%eth0", "1:2:3", "1.2.3.4.5", "shop-web", "\uff11.2.3.4", ":::"],
)
def test_what_is_no_address_stays_out_of_the_ip_field(client: str) -> None:
    found = text_formats.parse(f'{client} - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95') or {}

    assert "source.ip" not in found


def test_a_number_that_64_bits_cannot_hold_is_none() -> None:
    line = f'10.1.2.3 - - [24/Nov/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 {"9" * 30}'

    assert (text_formats.parse(line) or {}).get("http.response.body.bytes", 0) < 2**63


def test_a_month_that_is_none_gives_no_time() -> None:
    found = text_formats.parse('10.1.2.3 - - [24/Foo/2026:11:02:27 +0100] "GET / HTTP/1.1" 200 95')

    assert found is not None
    assert "@timestamp" not in found


def test_what_is_empty_is_no_field() -> None:
    found = text_formats.parse('[2026-11-24T10:00:00.1Z] "GET /a? HTTP/2" 200 - 0 15 3 2 "" "" "" "" "-"') or {}

    assert found["url.path"] == "/a"
    assert "" not in found.values()

"""Settings from environment variables: valid values are parsed, each invalid one is a problem."""

import dataclasses
import re

import pytest

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings, env_name
from pipeline.errors import SettingsError

LISTS = [row.name for row in dataclasses.fields(Settings) if row.type == tuple[str, ...]]
ENTRIES = {"es_urls": ("http://a:1", "http://b:2"), "kafka_brokers": ("a:1", "b:2"), "exclude_pods": ("a/b", "c/d")}


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "Infinity", "1e999"])
@pytest.mark.parametrize("name", ["CRISP_TRACE_GAP_SECONDS", "CRISP_LINGER_SECONDS", "CRISP_RETRY_MAX_SECONDS"])
def test_duration_that_is_not_finite_is_invalid(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: '{value}' is not a duration in seconds"):
        load_settings({name: value})


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n", " ,\t"])
@pytest.mark.parametrize("name", LISTS)
def test_every_list_takes_commas_and_blanks(name: str, separator: str) -> None:
    entries = ENTRIES.get(name, ("card", "email"))

    assert getattr(load_settings({env_name(name): separator.join(entries)}), name) == entries


def test_routes_take_commas_and_blanks() -> None:
    assert load_settings({"CRISP_ROUTES": "infra=7, audit=52w debug=3d"}).routes == {
        "infra": 7,
        "audit": 364,
        "debug": 3,
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("67108864", 1 << 26),
        ("64MiB", 1 << 26),
        ("64Mi", 1 << 26),
        ("64 MiB", 1 << 26),
        ("0.5GiB", 1 << 29),
        ("64MB", 64_000_000),
        ("64M", 64_000_000),
        ("65536kB", 65_536_000),
        ("67108864B", 1 << 26),
    ],
)
def test_size_may_have_a_unit(text: str, size: int) -> None:
    assert load_settings({"CRISP_WORKER_MEMORY_BUDGET_BYTES": text}).worker_memory_budget_bytes == size


@pytest.mark.parametrize("text", ["64mib", "64 megabytes", "MiB", "", "1.5B", "0.3kB3", "1e9", "64MiB/s", "\u0661MiB"])
def test_size_with_another_unit_is_invalid(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a whole number of bytes, or with a unit such as"):
        load_settings({"CRISP_WORKER_MEMORY_BUDGET_BYTES": text})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90.5", 90.5),
        ("90s", 90),
        ("60000ms", 60),
        ("15m", 900),
        ("15min", 900),
        ("1h30m", 5400),
        ("3d", 259_200),
        ("2w", 1_209_600),
        ("1.5h", 5400),
        (" 3d ", 259_200),
    ],
)
def test_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert load_settings({"CRISP_TOPIC_RETENTION_SECONDS": text}).topic_retention_seconds == seconds


@pytest.mark.parametrize("text", ["3 days", "d", "", "3D", "-3d", "3d12", "1h-5m"])
def test_duration_with_another_unit_is_invalid(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a duration in seconds, or with a unit"):
        load_settings({"CRISP_TOPIC_RETENTION_SECONDS": text})


def test_days_may_have_a_unit() -> None:
    assert load_settings({"CRISP_RETENTION_DAYS": "2w"}).retention_days == 14
    with pytest.raises(SettingsError, match="CRISP_RETENTION_DAYS: '14h' is not a whole number of days"):
        load_settings({"CRISP_RETENTION_DAYS": "14h"})


def test_limit_of_a_value_with_a_unit_is_checked() -> None:
    with pytest.raises(SettingsError, match="'1MiB' is not at least 2097152"):
        load_settings({"CRISP_WORKER_MEMORY_BUDGET_BYTES": "1MiB"})


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("CRISP_ES_URLS", "foo", "'foo' is not http://HOST:PORT or https://HOST:PORT"),
        ("CRISP_ES_URLS", "es:9200", "'es:9200' is not http://HOST:PORT"),
        ("CRISP_ES_URLS", "http://a:9200,b:9200", "'b:9200' is not http://HOST:PORT"),
        ("CRISP_ES_URLS", "ftp://es:9200", "'ftp://es:9200' is not http://HOST:PORT"),
        ("CRISP_ES_URLS", "http://:9200", "'http://:9200' is not http://HOST:PORT"),
        ("CRISP_ES_URLS", "http://es:99999", "has no valid host or port"),
        ("CRISP_ES_URLS", "http://es:port", "has no valid host or port"),
        ("CRISP_ES_URLS", "http://[::1:9200", "has no valid host or port"),
        ("CRISP_ES_URLS", "http://es:0", "has port 0"),
        ("CRISP_ES_URLS", " , ", "CRISP_ES_URLS: empty"),
        ("CRISP_KIBANA_URL", "kibana:5601", "'kibana:5601' is not http://HOST:PORT"),
        ("CRISP_KAFKA_BROKERS", "kafka", "'kafka' is not host:port"),
        ("CRISP_KAFKA_BROKERS", "kafka:", "'kafka:' is not host:port"),
        ("CRISP_KAFKA_BROKERS", "kafka:0", "'kafka:0' is not host:port"),
        ("CRISP_KAFKA_BROKERS", "kafka:70000", "'kafka:70000' is not host:port"),
        ("CRISP_KAFKA_BROKERS", "kafka://kafka:9092", "is not host:port"),
        ("CRISP_KAFKA_BROKERS", "::1:9092", "'::1:9092' is not host:port"),
        ("CRISP_KAFKA_BROKERS", "", "CRISP_KAFKA_BROKERS: empty"),
        ("CRISP_SHIP_PORT", "99999", "'99999' is not at most 65535"),
        ("CRISP_WORKER_PORT", "65536", "'65536' is not at most 65535"),
        ("ES_USERNAME", "elastic", "ES_USERNAME: no such setting (did you mean ES_USER?)"),
        ("ES_PASSWORD", "x", "ES_PASSWORD: needs ES_USER"),
        ("CRISP_KAFKA_USER", "x", "CRISP_KAFKA_USER: needs CRISP_KAFKA_SASL"),
    ],
)
def test_unusable_address_or_credential_is_refused(name: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(problem)):
        load_settings({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRISP_ES_URLS", "https://es.invalid"),
        ("CRISP_ES_URLS", "http://[::1]:9200/prefix"),
        ("CRISP_KAFKA_BROKERS", "[::1]:9092 10.0.0.1:65535"),
        ("CRISP_WORKER_PORT", "0"),
    ],
)
def test_usable_address_is_accepted(name: str, value: str) -> None:
    load_settings({name: value})


def test_customary_name_of_another_tool_is_ignored_beside_the_right_one() -> None:
    assert load_settings({"ES_USERNAME": "x", "ES_USER": "u", "ES_PASSWORD": "p"}).es_user == "u"

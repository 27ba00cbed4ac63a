"""Reads the settings from environment variables and from a file (`settings_file`), validates them, and shows them.

A variable of the environment has precedence over the file. Unknown and invalid variables prevent the start; all
problems are reported at once.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipeline.config import addresses, index_options, routes, secrets, settings_file, units
from pipeline.config.settings import PREFIX, SECRET_KINDS, Settings, ShipperSettings, env_name, strip_credentials
from pipeline.errors import SettingsError
from pipeline.grouping import start_pattern

DEFAULTS = Settings()
MISTAKEN_NAMES = {"ES_USERNAME": "ES_USER", "ES_PASS": "ES_PASSWORD", "ES_PASSWD": "ES_PASSWORD"}
"""Names without the prefix, of which the likely meaning would else be ignored."""
FILE_VARIABLE = env_name("config_file")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Load the settings from environment variables and their file. Raises SettingsError with every problem."""
    environ = os.environ if environ is None else environ
    rows = {env_name(row.name): row for row in dataclasses.fields(Settings)}
    entries, file_problems = _read_file(environ, list(rows))
    variables = {name: entry.value for name, entry in entries.items()} | dict(environ)
    problems = _unknown_variables(variables, list(rows))
    values = {}
    for name, row in rows.items():
        if name in variables:
            try:
                values[row.name] = _parse_value(row, variables[name])
            except ValueError as error:
                problems.append(f"{name}: {error}")
    settings = Settings(**values)
    problems += _conflicts(settings) + _credential_problems(settings) + _list_problems(settings)
    problems += [*addresses.problems(settings), *_pattern_problems(settings), *_index_problems(settings)]
    problems = file_problems + [_with_place(problem, environ, entries) for problem in problems]
    if problems:
        raise SettingsError(problems)
    return settings


def origins(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return where each variable is set: `environment`, or `file:line`; those that are not set are missing."""
    environ = os.environ if environ is None else environ
    names = [env_name(row.name) for row in dataclasses.fields(Settings)]
    entries, _ = _read_file(environ, names)
    places = {name: entry.place for name, entry in entries.items()}
    return places | {name: "environment" for name in names if name in environ}


def format_value(row: dataclasses.Field[Any], value: Any) -> Any:
    """Return a value as it is written in the environment: a list and routes as text; other values are unchanged."""
    if isinstance(value, dict):
        value = tuple(f"{key}={entry}" for key, entry in value.items())
    return row.metadata["separator"].join(value) if isinstance(value, tuple) else value


def non_defaults(settings: Settings) -> dict[str, str]:
    """Return the variables that differ from their defaults, secrets hidden."""
    variables = {}
    for row in dataclasses.fields(Settings):
        value = getattr(settings, row.name)
        if value != getattr(DEFAULTS, row.name):
            shown = strip_credentials(str(format_value(row, value)))
            variables[env_name(row.name)] = "set, not shown" if row.metadata["secret"] else shown
    return variables


def _parse_bool(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(entry for entry in re.split(r"[,\s]+", text) if entry)


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (units.parse_duration, "a duration in seconds, or with a unit such as 500ms, 90s, 15m, 12h, 3d"),
    bool: (_parse_bool, "true or false"),
    tuple[str, ...]: (_parse_list, "a list"),
}
_UNIT_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "bytes": (units.parse_size, "a whole number of bytes, or with a unit such as 512KiB, 64MiB, 2GiB"),
    "days": (units.parse_days, "a whole number of days"),
}
"""By the last word of a setting's name."""


def _parse_value(row: dataclasses.Field[Any], text: str) -> Any:
    """Parse the value of one variable. Raises ValueError with the problem."""
    if row.type == Mapping[str, int]:
        return routes.parse(_parse_list(text))
    shown = "the value" if row.metadata["secret"] else repr(text)
    parser, expected = _UNIT_PARSERS.get(row.name.rpartition("_")[2]) or _PARSERS[row.type]
    try:
        value = parser(text)
    except ValueError:
        raise ValueError(f"{shown} is not {expected}") from None
    if row.metadata["choices"] and value not in row.metadata["choices"]:
        raise ValueError(f"{shown} is not one of " + ", ".join(row.metadata["choices"]))
    if row.metadata["minimum"] is not None and not value >= row.metadata["minimum"]:
        raise ValueError(f"{shown} is not at least {row.metadata['minimum']:.15g}")
    if row.metadata["maximum"] is not None and not value <= row.metadata["maximum"]:
        raise ValueError(f"{shown} is not at most {row.metadata['maximum']:.15g}")
    return value


def _suggestion(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _read_file(environ: Mapping[str, str], known: list[str]) -> tuple[dict[str, settings_file.Entry], list[str]]:
    """Return the settings of the file, if there is one, and its problems; every name of the file must be known."""
    path = environ.get(FILE_VARIABLE, "")
    entries, problems = settings_file.read(path) if path else ({}, [])
    for name, entry in list(entries.items()):
        if name == FILE_VARIABLE:
            problems.append(f"{entry.place}: {name}: the file of settings cannot name another one")
        elif name not in known:
            meant = f" (did you mean {MISTAKEN_NAMES[name]}?)" if name in MISTAKEN_NAMES else _suggestion(name, known)
            problems.append(f"{entry.place}: {name}: no such setting{meant}")
        else:
            continue
        del entries[name]
    return entries, problems


def _with_place(problem: str, environ: Mapping[str, str], entries: Mapping[str, settings_file.Entry]) -> str:
    """Put the place in the file before a problem, which begins with a variable."""
    name = re.split(r"\W", problem, maxsplit=1)[0]
    return f"{entries[name].place}: {problem}" if name in entries and name not in environ else problem


def _unknown_variables(environ: Mapping[str, str], known: list[str]) -> list[str]:
    problems = [
        f"{name}: no such setting{_suggestion(name, known)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]
    problems += [
        f"{name}: no such setting (did you mean {meant}?)"
        for name, meant in MISTAKEN_NAMES.items()
        if name in environ and meant not in environ
    ]
    return problems


def _conflicts(settings: Settings) -> list[str]:
    problems = []
    if settings.slice_max_bytes > settings.event_max_bytes:
        problems.append("CRISP_SLICE_MAX_BYTES: more than CRISP_EVENT_MAX_BYTES")
    if settings.inflight_max_bytes < 2 * settings.event_max_bytes:
        problems.append("CRISP_INFLIGHT_MAX_BYTES: less than twice CRISP_EVENT_MAX_BYTES")
    if settings.partial_gap_seconds < settings.trace_gap_seconds:
        problems.append("CRISP_PARTIAL_GAP_SECONDS: less than CRISP_TRACE_GAP_SECONDS")
    if settings.es_timeout_seconds > 300:  # half of the time after which `liveness` reports a worker as hung
        problems.append(
            "CRISP_ES_TIMEOUT_SECONDS: more than 300: with an unresponsive node the worker would be reported as hung"
        )
    return problems


def _credential_problems(settings: Settings) -> list[str]:
    problems = [
        f"{env_name(secret.name)} and {env_name(secret.file_name)}: only one of the two"
        for secret in secrets.all_secrets(settings)
        if secret.value and secret.file
    ]
    api_key, es_password, kafka_password = (
        secret(settings).is_set for secret in (secrets.es_api_key, secrets.es_password, secrets.kafka_password)
    )
    if api_key and settings.es_user:
        problems.append("CRISP_ES_API_KEY and ES_USER: only one of the two")
    if settings.es_user and not es_password:
        problems.append("ES_USER: needs ES_PASSWORD or ES_PASSWORD_FILE")
    if es_password and not settings.es_user:
        problems.append("ES_PASSWORD: needs ES_USER")
    if settings.kafka_sasl != "none" and not (settings.kafka_user and kafka_password):
        problems.append("CRISP_KAFKA_SASL: needs CRISP_KAFKA_USER and CRISP_KAFKA_PASSWORD, or its file")
    if settings.kafka_sasl == "none" and settings.kafka_user:
        problems.append("CRISP_KAFKA_USER: needs CRISP_KAFKA_SASL")
    if any("@" in url for url in settings.es_urls):
        problems.append("CRISP_ES_URLS: set user and password in ES_USER and ES_PASSWORD, not in an address")
    return problems


def _list_problems(settings: Settings) -> list[str]:
    problems = [
        f"CRISP_REDACT: no kind of secret {kind!r}{_suggestion(kind, SECRET_KINDS)}"
        for kind in settings.redact
        if kind not in SECRET_KINDS
    ]
    if any(pattern.count("/") != 1 for pattern in settings.exclude_pods):
        problems.append(f"CRISP_EXCLUDE_PODS: {' '.join(settings.exclude_pods)!r}: each is namespace/name")
    return problems


def _index_problems(settings: Settings) -> list[str]:
    try:
        index_options.parse(settings.index_settings)
    except ValueError as error:
        return [f"CRISP_INDEX_SETTINGS: {error}"]
    return []


def _pattern_problems(settings: ShipperSettings) -> list[str]:
    if not settings.multiline_pattern:
        return []
    try:
        start_pattern.compile_start_pattern(settings.multiline_pattern)
    except ValueError as error:
        return [f"CRISP_MULTILINE_PATTERN: {error}"]
    return (
        ["CRISP_MULTILINE_PATTERN: cannot be combined with CRISP_MULTILINE=off"] if settings.multiline == "off" else []
    )

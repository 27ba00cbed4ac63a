"""Read a status back from `/status.json`, by the types of its fields. Keys that are unknown here are ignored."""

import dataclasses
import functools
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import orjson

from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.worker_status import WorkerStatus

STATUS_TYPES: dict[object, type[WorkerStatus | ShipperStatus]] = {"worker": WorkerStatus, "shipper": ShipperStatus}


class StatusFormatError(ValueError):
    """A status that this version cannot read: another version's, or none at all."""


def from_json(content: bytes) -> WorkerStatus | ShipperStatus:
    """The status of a worker or shipper. Raises StatusFormatError."""
    try:
        fields = orjson.loads(content)
        kind = fields.get("kind") if isinstance(fields, dict) else None
        if kind not in STATUS_TYPES:
            raise StatusFormatError("neither a worker's nor a shipper's")
        return cast("WorkerStatus | ShipperStatus", _read(STATUS_TYPES[kind], fields, ""))
    except (orjson.JSONDecodeError, RecursionError, TypeError) as error:
        raise StatusFormatError(f"unknown status format: {error}") from error
    except StatusFormatError as error:
        version = fields.get("version") if isinstance(fields, dict) else None
        origin = f" of version {version}" if isinstance(version, str) else ""
        raise StatusFormatError(f"unknown status format{origin}: {error}") from error


def _read(expected: Any, value: Any, path: str) -> Any:
    """The value as the expected type; `path` is its place in the status."""
    origin, arguments = get_origin(expected), get_args(expected)
    if dataclasses.is_dataclass(expected):
        return _read_dataclass(cast(type, expected), value, path)
    if origin is UnionType:
        return None if value is None and NoneType in arguments else _read(arguments[0], value, path)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], item, f"{path}.{number}") for number, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if origin is Literal and value in arguments:
        return value
    if isinstance(expected, type) and issubclass(expected, Enum) and value in {member.value for member in expected}:
        return expected(value)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is expected:
        return value
    raise StatusFormatError(f"{path.removeprefix('.')} has an unexpected value")


@functools.cache
def _types(expected: type) -> dict[str, Any]:
    return get_type_hints(expected)


def _read_dataclass(expected: type, value: Any, path: str) -> Any:
    types = _types(expected)
    if not isinstance(value, dict):
        raise StatusFormatError(f"{path.removeprefix('.')} is no object")
    missing = [name for name in types if name not in value]
    if missing:
        raise StatusFormatError(f"{(path + '.' + missing[0]).removeprefix('.')} is missing")
    return expected(**{name: _read(kind, value[name], f"{path}.{name}") for name, kind in types.items()})

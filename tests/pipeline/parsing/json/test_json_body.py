"""JSON bodies are parsed to flat ECS names, without losing a value."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import ecs
from pipeline.parsing.json import flatten, json_body
from tests.pipeline.parsing.examples import LOGGERS, Example


def fields(content: bytes, limit: int = 200) -> dict[str, Any]:
    result = json_body.parse_fields(content, limit)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"message":"x","a":{"b":1},"c.d":2.5}', {"message": "x", "a.b": 1, "c.d": 2.5}),
        (b'{"msg":"x","level":"WARN","ts":1}', {"message": "x", "log.level": "warn", "@timestamp": 1}),
        (
            b'{"level":30,"msg":"x","pid":7}',
            {"log.level": "info", "event.severity": 30, "message": "x", "process.pid": 7},
        ),
        (b'{"message":"x","msg":"y"}', {"message": "x", "msg": "y"}),
        (
            b'{"severity":"ERROR","traceId":"t","dd.span_id":"s"}',
            {"log.level": "error", "trace.id": "t", "span.id": "s"},
        ),
        (b'{"error":"boom"}', {"error.message": "boom"}),
        (b'{"error":{"message":"boom","type":"E"}}', {"error.message": "boom", "error.type": "E"}),
        (b'{"level":"loud"}', {"log.level": "loud"}),
        (b'{"severity":"DEFAULT"}', {"log.level": "default"}),
        (b'{"level":"Floor 5"}', {"log.level": "Floor 5"}),
        (b'{"a":1,"a":2}', {"a": 1, "app.a": 2}),
        (b'{"a":1,"a":2,"a":3}', {"a": 1, "app.a": [2, 3]}),
        (b'{"a.b":1,"a":{"b":2}}', {"a.b": 1, "app.a.b": 2}),
        (b'{"a":1,"a":{"b":2}}', {"a": 1, "a.b": 2}),
        (b'{"stream":"x","_id":"y","host.name":"z"}', {"app.stream": "x", "app._id": "y", "app.host.name": "z"}),
        (b'{"kubernetes":{"labels":{"a":"b"}},"crisp":1}', {"app.kubernetes.labels.a": "b", "app.crisp": 1}),
        (b'{"":1," ":2,"a..b":3}', {"app._": 1, "app.app._": 2, "app.a._.b": 3}),
        (b'{"n":18446744073709551616,"m":9223372036854775807}', {"n": "18446744073709551616", "m": 2**63 - 1}),
        (
            b'{"o":{"n":9223372036854775808,"m":-9223372036854775808},"l":[9223372036854775808,9223372036854775807]}',
            {"o.n": "9223372036854775808", "o.m": -(2**63), "l": ["9223372036854775808", 2**63 - 1]},
        ),
        (b'{"l":[4,4.5]}', {"l": [4.0, 4.5]}),
        (b'{"timestampSeconds":1795513350,"timestampNanos":7}', {"@timestamp": 1795513350000000007}),
        (
            b'{"orchestrator":{"a":1},"agent":{"b":2},"data_stream":{"c":3}}',
            {
                "app.orchestrator.a": 1,
                "app.agent.b": 2,
                "app.data_stream.c": 3,
            },
        ),
        (b'{"f":0.1000000000000000055511151231257827}', {"f": "0.1000000000000000055511151231257827"}),
        (b'{"o":{},"l":[],"n":null}', {"o": None, "l": [], "n": None}),
        (b'{"l":[{"a":1},{"a":2,"b":3},4]}', {"l": [4], "l.a": [1, 2], "l.b": [3]}),
        (b'{"l":[[1],[2]]}', {"l": "[[1],[2]]"}),
        (b'{"otelTraceID":"0","otelSpanID":"0"}', {"otelTraceID": "0", "otelSpanID": "0"}),
        (b'{"trace_id":"00000000000000000000000000000000"}', {"trace_id": "00000000000000000000000000000000"}),
        (b'{"trace.id":"0000000000000000"}', {"app.trace.id": "0000000000000000"}),
        (b'{"trace.id":"4bf92f3577b34d00"}', {"trace.id": "4bf92f3577b34d00"}),
        (b'{"dd.trace_id":1234567890123456789}', {"trace.id": "1234567890123456789"}),
        (b'{"trace_id":12345678901234567890}', {"trace.id": "12345678901234567890"}),
        (b'{"trace":{"id":5}}', {"trace.id": "5"}),
        (b'{"dd.trace_id":0,"trace_id":"4bf92f3577b34da6"}', {"dd.trace_id": 0, "trace.id": "4bf92f3577b34da6"}),
        (b'{"level":"-","error":"","msg":"x"}', {"message": "x"}),
        (b'{"level":"ERROR+4"}', {"log.level": "error"}),
        (b'{"level":"\\u001b[32minfo\\u001b[39m"}', {"log.level": "info"}),
        (b'{"level":"40"}', {"log.level": "warn", "event.severity": 40}),
        (b'{"http.response.status_code":"OK"}', {"app.http.response.status_code": "OK"}),
        (b'{"http.response.status_code":"200"}', {"http.response.status_code": 200}),
        (b'{"event.duration":1.5}', {"app.event.duration": 1.5}),
        (b'{"event":{"duration":2e3}}', {"event.duration": 2000}),
        (b'{"source.ip":"web-1"}', {"app.source.ip": "web-1"}),
        (b'{"source.ip":"10.0.0.1"}', {"source.ip": "10.0.0.1"}),
        (b'{"Event":"x","Date":"y"}', {"Event": "x", "Date": "y"}),
    ],
)
def test_object_is_parsed_to_names_and_values(content: bytes, expected: dict[str, Any]) -> None:
    assert fields(content) == expected


@pytest.mark.parametrize("example", LOGGERS, ids=str)
def test_line_of_a_logger_has_its_fields(example: Example) -> None:
    assert fields(example.line.encode()) == example.fields
    assert "message" in example.fields or "http.request.method" in example.fields


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b"null", b'"x"', b'{"a":"\\ud800"}', b'{"a":NaN}', b'{"a":1}x', b"{a}"]
)
def test_content_that_is_not_an_object_is_not_parsed(content: bytes) -> None:
    assert json_body.parse_fields(content, 200) is None


def test_more_fields_than_the_limit_overflow_as_json() -> None:
    result = fields(orjson.dumps({f"k{number}": number for number in range(50)}), limit=10)

    assert len(result) == 11
    assert orjson.loads(result["app.overflow"]) == {f"k{number}": number for number in range(10, 50)}


def test_fields_of_loggers_are_exempt_from_the_limit() -> None:
    names = {"msg": "x", "level": "info", "time": 1, "trace.id": "t"}
    result = fields(orjson.dumps({**{f"k{number}": number for number in range(9)}, "o": {"p": 1}, **names}), limit=3)

    assert (result["message"], result["log.level"], result["@timestamp"], result["trace.id"]) == ("x", "info", 1, "t")


def test_deep_objects_in_lists_are_kept_as_json() -> None:
    ((name, (value,)),) = fields(b'{"a":[' * 30 + b"1" + b"]}" * 30).items()

    assert name.count("a") == flatten.MAX_DEPTH // 2  # a list is a level too
    assert value.count("{") == 30 - flatten.MAX_DEPTH // 2


def test_deep_objects_are_kept_as_json() -> None:
    result = fields(b'{"a":' * 100 + b"1" + b"}" * 100)

    ((name, value),) = result.items()
    assert name.count("a") == flatten.MAX_DEPTH
    assert value.count("{") == 100 - flatten.MAX_DEPTH


def test_hundreds_of_levels_are_not_parsed() -> None:
    assert json_body.parse_fields(b'{"a":' * 1000 + b"1" + b"}" * 1000, 200) is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.text(max_size=8) | st.sampled_from([*ecs.FIELDS, *json_body.ALIASES, "a", "a.b", "app.a", "."])


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_object_is_parsed_to_flat_fields_without_reserved_names(body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    result = json_body.parse_fields(content, 200)

    if result is None:
        assert "\\ud" in content.decode()  # a lone surrogate cannot be in a document
        return
    assert orjson.loads(orjson.dumps(result)) is not None
    for name, value in result.items():
        assert not isinstance(value, dict)
        assert name
        assert not name.startswith(("_", "kubernetes.", "container.", "crisp."))
        assert name not in {"log.offset", "log.length", "log.flags", "log.iostream", "host.name", "event.ingested"}


SCALARS = st.integers(-(2**70), 2**70) | st.text(st.characters(codec="utf-8"), max_size=5)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "message", "level", "_id", "", "stream"]), SCALARS), max_size=8))
def test_every_value_is_kept_with_duplicate_keys(pairs: list[tuple[str, Any]]) -> None:
    content = ("{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}").encode()
    result = fields(content)

    kept: list[str] = []
    for value in result.values():
        kept += [str(entry) for entry in value] if isinstance(value, list) else [str(value)]
    for key, value in pairs:
        if key != "level":  # a level is normalised
            assert str(value) in kept
            kept.remove(str(value))

"""Events read by the fast and the general path: equal results without duplicate names."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import Settings
from pipeline.documents.container_fields import ContainerFields
from pipeline.documents.event_reader import PROBE_RULE, EventReader
from pipeline.grouping.event import Event
from pipeline.parsing.json import json_body

DAY = "2026-11-24"
TIME = b"2026-11-24T09:42:30.000000001Z"


def make_reader(parser: str = "auto", **settings: Any) -> EventReader:
    return EventReader(ContainerFields({}, {}, parser=parser), Settings(**settings))


def read_fields(content: bytes, reader: EventReader) -> dict[str, Any]:
    """Return the fields of a line; fail on a duplicate name."""

    def reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    event: Event = (0, 0, len(content) + 1, TIME, b"stdout", content, 0, 0)
    head, name, own, _ = reader.read(event, TIME, DAY, late="")
    fields: dict[str, Any] = json.loads(head + name + TIME + b'"}', object_pairs_hook=reject_duplicates)
    assert own == json_body.SERVICE_FIELDS & fields.keys()
    return fields


def make_general_path_reader() -> EventReader:
    """A reader that never copies a body verbatim: it strips ANSI codes, which the messages here do not have."""
    return EventReader(ContainerFields({}, {}), Settings(ansi="strip"))


KEYS = st.sampled_from(
    ["message", "msg", "log.level", "level", "@timestamp", "a", "a.b", "_id", "ecs.version", "service.name", "stream"]
)
TEXTS = st.sampled_from(
    ["info", "INFO", "2026-11-24T09:42:30.123Z", "2026-11-24T09:42:30.12x", "2001-01-01T00:00:00.000Z", 'a"b', "\\", ""]
) | st.text(st.characters(codec="utf-8", exclude_characters="\x1b"), max_size=6)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.lists(st.tuples(KEYS, TEXTS | TEXTS | NUMBERS | st.booleans() | st.none()), max_size=6)
BLANKS = st.sampled_from(["", "", " ", "\t"])


@given(PAIRS, BLANKS)
def test_fast_and_general_path_return_the_same_fields(pairs: list[tuple[str, Any]], blank: str) -> None:
    inner = ",".join(f"{blank}{json.dumps(key)}{blank}:{json.dumps(value)}" for key, value in pairs)
    content = f"{{{inner}{blank}}}".encode()

    assert read_fields(content, make_reader()) == read_fields(content, make_general_path_reader())


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x1b\n")))
def test_text_becomes_the_message(text: str) -> None:
    content = text.encode()
    fields = read_fields(content, make_reader("none"))

    assert fields == {"message": text, "@timestamp": TIME.decode()}


def test_duplicate_key_with_a_blank_before_its_colon_is_kept_below_app() -> None:
    assert read_fields(b'{"message":"x","a":"1","a" :"2"}', make_reader())["app.a"] == "2"


def test_duplicate_key_after_an_escaped_quote_is_kept_below_app() -> None:
    fields = read_fields(rb'{"message":"x\\","a":"1","a":"2","b":"\\"}', make_reader())

    assert (fields["a"], fields["app.a"]) == ("1", "2")


@pytest.mark.parametrize(
    ("parser", "content", "expected"),
    [
        ("json", b"INFO:root:x", {}),
        ("json", b'{"level":"info","message":"x"}', {"log.level": "info"}),
        ("text", b"INFO:root:x", {"log.level": "info", "log.logger": "root"}),
        ("text", b'{"level":"info"}', {}),
        ("none", b"INFO:root:x", {}),
        ("none", b'{"level":"info"}', {}),
        ("logfmt", b"INFO:root:x", {}),
        ("logfmt", b"level=info msg=x", {"log.level": "info"}),
        ("klog", b"I1124 10:00:00.123456       1 a.go:1] x", {"log.level": "info"}),
        ("access", b'10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1', {"url.path": "/"}),
    ],
)
def test_parser_reads_only_its_own_format(parser: str, content: bytes, expected: dict[str, Any]) -> None:
    fields = read_fields(content, make_reader(parser))

    assert {name: fields.get(name) for name in expected} == expected
    assert expected or set(fields) <= {"message", "@timestamp"}


def test_ansi_codes_stay_unless_the_setting_strips_them() -> None:
    content = b"\x1b[32mINFO\x1b[0m ready"

    assert read_fields(content, make_reader())["message"] == content.decode()
    assert read_fields(content, make_reader(ansi="strip")) == {
        "message": "INFO ready",
        "log.level": "info",
        "@timestamp": TIME.decode(),
    }
    assert (
        read_fields(orjson.dumps({"message": content.decode()}), make_reader(ansi="strip"))["message"] == "INFO ready"
    )


def test_health_probe_is_dropped_by_the_probe_rule() -> None:
    content = b'{"message":"x","url.path":"/healthz","http.request.method":"GET","http.response.status_code":200}'
    event: Event = (0, 0, len(content) + 1, TIME, b"stdout", content, 0, 0)

    assert make_reader().read(event, TIME, DAY, late="")[3] == PROBE_RULE


def test_timestamp_of_null_is_ignored_without_a_duplicate_key() -> None:
    assert read_fields(b'{"@timestamp":null,"message":"x"}', make_reader())["@timestamp"] == TIME.decode()


def test_no_time_of_the_application_is_lost() -> None:
    fields = read_fields(b'{"@timestamp":"n1","@timestamp":"n2","message":"x"}', make_reader())
    own = read_fields(b'{"@timestamp":"n1","app.@timestamp":5,"message":"x"}', make_reader())

    assert fields["app.@timestamp"] == ["n2", "n1"]
    assert own["app.@timestamp"] == ["5", "n1"]


@pytest.mark.parametrize("blank", [" ", "\t", "  "])
def test_json_object_behind_blanks_is_parsed(blank: str) -> None:
    content = f'{blank}{{"level":"info","msg":"x"}}'.encode()

    assert read_fields(content, make_reader())["message"] == "x"
    assert read_fields(content, make_reader()) == read_fields(content, make_general_path_reader())
    assert read_fields(f"{blank}{{a}}".encode(), make_reader())["message"] == f"{blank}{{a}}"


def test_service_name_of_a_text_replaces_the_containers() -> None:
    head = b"2026-11-24 10:00:00,123 INFO [shop.pay] [pay.py:14] "
    fields = read_fields(head + b"[trace_id=0 span_id=0 resource.service.name=shop] - paid", make_reader())

    assert fields["service.name"] == "shop"


def test_logfmt_parser_that_is_asked_for_reads_every_pair() -> None:
    fields = read_fields(b'LEVEL=WARN Msg=slow order=5 note="a \\"b\\"" _id=x trace_id=0', make_reader("logfmt"))

    assert fields == {
        "message": 'LEVEL=WARN Msg=slow order=5 note="a \\"b\\"" _id=x trace_id=0',
        "log.level": "warn",
        "order": "5",
        "note": 'a "b"',
        "app._id": "x",
        "trace_id": "0",
        "@timestamp": TIME.decode(),
    }

"""Records of other shippers become the same kind of documents, the same ones whenever they are read."""

import base64
import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import Settings
from pipeline.contract.record import Grouping, KafkaPosition
from pipeline.documents import third_party
from pipeline.documents.builder import DocumentBuilder, merge

ORIGIN = KafkaPosition("logs-raw", 3, 17, 1_795_513_350_123)
NOW = 1_795_513_351 * 10**9


def documents(value: bytes, origin: KafkaPosition = ORIGIN) -> list[tuple[str, dict[str, Any]]]:
    """Id and source of each document of a record."""
    known = DocumentBuilder(Settings())
    parts = third_party.make_slices(value, origin, Grouping())
    parcel = merge([known.build(part, NOW, origin.document_fields()) for part in parts])
    lines = b"".join(parcel.documents).split(b"\n")[:-1]
    return [
        (orjson.loads(action)["create"]["_id"], orjson.loads(source))
        for action, source in zip(lines[::2], lines[1::2], strict=True)
    ]


def test_raw_cri_lines_are_read_as_they_are() -> None:
    value = b"2026-11-24T09:42:30.1Z stdout F a\n2026-11-24T09:42:30.2Z stderr P b\nnot cri\n"
    found = [source for _, source in documents(value)]

    assert [source["message"] for source in found] == ["a", "b", "not cri"]
    assert found[1]["log.flags"] == ["partial"]
    assert (found[0]["crisp.topic"], found[0]["crisp.partition"], found[0]["crisp.offset"]) == ("logs-raw", 3, 17)
    assert "kubernetes.pod.name" not in found[0]


def test_fluent_bits_plain_json() -> None:
    value = orjson.dumps(
        {
            "@timestamp": 1795513350.5,
            "time": "2026-11-24T09:42:30.000000007Z",
            "stream": "stderr",
            "logtag": "F",
            "log": '{"level":"error","msg":"refused"}',
            "kubernetes": {
                "pod_name": "pay-1",
                "namespace_name": "shop",
                "pod_id": "u-1",
                "container_name": "app",
                "host": "node-1",
                "labels": {"app": "payment"},
                "docker_id": "c0ffee",
                "container_image": "shop/app:1.2",
            },
        }
    )
    ((_, found),) = documents(value)

    assert (found["message"], found["log.level"], found["log.iostream"]) == ("refused", "error", "stderr")
    assert found["@timestamp"] == "2026-11-24T09:42:30.000000007Z"
    assert (found["kubernetes.pod.name"], found["kubernetes.pod.uid"], found["host.name"]) == ("pay-1", "u-1", "node-1")
    assert (found["service.name"], found["container.id"]) == ("payment", "c0ffee")
    assert found["container.image.tag"] == ["1.2"]


def test_fluent_bits_lifted_and_merged_json() -> None:
    value = orjson.dumps(
        {
            "@timestamp": 1795513350.5,
            "stream": "stdout",
            "k8s_namespace_name": "shop",
            "k8s_pod_name": "pay-1",
            "k8s_labels": {"app": "payment"},
            "service.name": "pay",
            "log.level": "WARN",
            "message": "slow",
            "took": 12,
        }
    )
    ((_, found),) = documents(value)

    assert (found["message"], found["log.level"], found["service.name"], found["took"]) == ("slow", "warn", "pay", 12)
    assert (found["kubernetes.namespace"], found["kubernetes.labels"]) == ("shop", {"app": "payment"})
    assert found["@timestamp"] == "2026-11-24T09:42:30.500000000Z"


def test_the_same_record_gives_the_same_ids_and_another_one_others() -> None:
    value = b'{"log":"a"}\n{"log":"a","stream":"stdout","x":1}\n2026-11-24T09:42:30Z stdout F a\n'
    ids = [identity for identity, _ in documents(value)]

    assert ids == [identity for identity, _ in documents(value)]
    assert len(set(ids)) == 3
    assert not set(ids) & {identity for identity, _ in documents(value, ORIGIN._replace(offset=18))}


def test_the_id_is_a_hash_of_the_place_and_the_line_alone() -> None:
    line = b"2026-11-24T09:42:30Z stdout F a"
    seed = b"logs-raw\0003\00017\0001795513350123\0001\0" + line
    name = base64.urlsafe_b64encode(hashlib.blake2b(seed, digest_size=12).digest()).decode()

    for first in (b"x", b"2026-11-24T09:42:29Z stdout F other"):
        assert documents(b"%b\n%b\n" % (first, line))[1][0] == f"{name}-{len(first) + 1:010x}"


def test_a_trace_of_raw_lines_is_one_event_however_long() -> None:
    frames = [f"\tat shop.Orders.load(Orders.java:{number})" for number in range(100)]
    lines = [f"2026-11-24T09:42:30Z stderr F {text}" for text in ("java.lang.IllegalStateException: no order", *frames)]
    ((_, found),) = documents("\n".join(lines).encode())

    assert (found["log.flags"], found["error.type"]) == (["multiline"], "java.lang.IllegalStateException")


def test_a_line_kept_beside_what_was_merged_from_it_and_added_to_it() -> None:
    log = '{"level":"error","msg":"refused","time":1795513350123}'
    value = orjson.dumps(
        {"@timestamp": 1795513351.5, "time": "2026-11-24T09:42:30.5Z", "log": log, "level": "error", "cluster": "a"}
    )
    ((_, found),) = documents(value)

    assert (found["message"], found["log.level"], found["cluster"]) == ("refused", "error", "a")
    assert (found["@timestamp"], found["log.iotime"]) == (
        "2026-11-24T09:42:30.123000000Z",
        "2026-11-24T09:42:30.500000000Z",
    )


def test_a_text_with_fields_of_a_filters_is_understood_too() -> None:
    value = orjson.dumps({"date": 1795513350.5, "log": "E1124 09:42:30.500000 7 a.go:5] no\n", "env": "prod"})
    ((_, found),) = documents(value)

    assert (found["message"], found["log.level"], found["env"]) == (
        "E1124 09:42:30.500000 7 a.go:5] no",
        "error",
        "prod",
    )
    assert found["@timestamp"] == "2026-11-24T09:42:30.500000000Z"


@pytest.mark.parametrize(
    ("written", "time"),
    [
        (1795513350.5, "2026-11-24T09:42:30.500000000Z"),
        (1795513350, "2026-11-24T09:42:30.000000000Z"),
        ("2026-11-24T09:42:30.7Z", "2026-11-24T09:42:30.700000000Z"),
        ("2026-11-24T10:42:30.123456789+01:00", "2026-11-24T09:42:30.123456789Z"),
        ("2026-11-24 09:42:30.5", "2026-11-24T09:42:30.123000000Z"),
        ("yesterday", "2026-11-24T09:42:30.123000000Z"),
    ],
)
def test_fluent_bits_times(written: object, time: str) -> None:
    ((_, found),) = documents(orjson.dumps({"@timestamp": written, "message": "x", "k8s_pod_name": "p"}))

    assert found["@timestamp"] == time


def test_an_applications_time_among_merged_fields_is_its_own() -> None:
    ((_, found),) = documents(b'{"@timestamp":1795513350.5,"time":1795513349000,"msg":"x","level":30}')

    assert (found["@timestamp"], found["log.iotime"]) == (
        "2026-11-24T09:42:29.000000000Z",
        "2026-11-24T09:42:30.500000000Z",
    )


def test_partials_of_two_records_are_not_joined_but_flagged() -> None:
    first = documents(b'{"log":"a ","logtag":"P","stream":"stdout","time":"2026-11-24T09:42:30Z"}')
    second = documents(b'{"log":"b","logtag":"F","stream":"stdout","time":"2026-11-24T09:42:30Z"}')

    assert [(source["message"], source.get("log.flags")) for _, source in first + second] == [
        ("a ", ["partial"]),
        ("b", None),
    ]


def test_an_empty_record_is_no_document() -> None:
    assert documents(b"") == documents(b"\n") == []


OBJECTS = st.dictionaries(
    st.sampled_from(["log", "stream", "time", "@timestamp", "kubernetes", "k8s_pod_name", "message", "a"]),
    st.none()
    | st.text(max_size=8)
    | st.integers(-(2**40), 2**40)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)


@given(st.lists(st.one_of(st.binary(max_size=30), OBJECTS.map(orjson.dumps)), max_size=4).map(b"\n".join))
def test_whatever_comes_becomes_documents(value: bytes) -> None:
    found = documents(value)

    assert bool(found) == bool(value.strip())
    assert len({identity for identity, _ in found}) == len(found)

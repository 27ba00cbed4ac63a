"""Records of third-party shippers become equivalent documents, with the same ids on every read."""

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
from pipeline.documents.batch import merge
from pipeline.documents.builder import DocumentBuilder

ORIGIN = KafkaPosition("logs-raw", 3, 17, 1_795_513_350_123)
NOW = 1_795_513_351 * 10**9


def documents(value: bytes, origin: KafkaPosition = ORIGIN) -> list[tuple[str, dict[str, Any]]]:
    """Return id and source of each document of a record."""
    builder = DocumentBuilder(Settings())
    slices = third_party.make_slices(value, origin, Grouping())
    batch = merge([builder.build(entry, NOW, origin.document_fields()) for entry in slices])
    return [(hit["_id"], hit["_source"]) for hit in batch.to_hits()]


def test_raw_cri_lines_become_documents() -> None:
    value = b"2026-11-24T09:42:30.1Z stdout F a\n2026-11-24T09:42:30.2Z stderr P b\nnot cri\n"
    sources = [source for _, source in documents(value)]

    assert [source["message"] for source in sources] == ["a", "b", "not cri"]
    assert sources[1]["log.flags"] == ["partial"]
    assert (sources[0]["crisp.topic"], sources[0]["crisp.partition"], sources[0]["crisp.offset"]) == ("logs-raw", 3, 17)
    assert "kubernetes.pod.name" not in sources[0]


def test_plain_json_of_fluent_bit_becomes_a_document() -> None:
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
    ((_, fields),) = documents(value)

    assert (fields["message"], fields["log.level"], fields["log.iostream"]) == ("refused", "error", "stderr")
    assert fields["@timestamp"] == "2026-11-24T09:42:30.000000007Z"
    assert (fields["kubernetes.pod.name"], fields["kubernetes.pod.uid"], fields["host.name"]) == (
        "pay-1",
        "u-1",
        "node-1",
    )
    assert (fields["service.name"], fields["container.id"]) == ("payment", "c0ffee")
    assert fields["container.image.tag"] == ["1.2"]


def test_lifted_and_merged_json_of_fluent_bit_becomes_a_document() -> None:
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
    ((_, fields),) = documents(value)

    assert (fields["message"], fields["log.level"], fields["service.name"], fields["took"]) == (
        "slow",
        "warn",
        "pay",
        12,
    )
    assert (fields["kubernetes.namespace"], fields["kubernetes.labels"]) == ("shop", {"app": "payment"})
    assert fields["@timestamp"] == "2026-11-24T09:42:30.500000000Z"


def test_ids_of_the_same_record_are_equal_and_of_another_record_differ() -> None:
    value = b'{"log":"a"}\n{"log":"a","stream":"stdout","x":1}\n2026-11-24T09:42:30Z stdout F a\n'
    ids = [identity for identity, _ in documents(value)]

    assert ids == [identity for identity, _ in documents(value)]
    assert len(set(ids)) == 3
    assert not set(ids) & {identity for identity, _ in documents(value, ORIGIN._replace(offset=18))}


def test_id_is_a_hash_of_position_and_line_alone() -> None:
    line = b"2026-11-24T09:42:30Z stdout F a"
    seed = b"logs-raw\0003\00017\0001795513350123\0001\0" + line
    name = base64.urlsafe_b64encode(hashlib.blake2b(seed, digest_size=12).digest()).decode()

    for first in (b"x", b"2026-11-24T09:42:29Z stdout F other"):
        assert documents(b"%b\n%b\n" % (first, line))[1][0] == f"{name}-{len(first) + 1:010x}"


def test_long_stack_trace_of_raw_lines_is_one_event() -> None:
    frames = [f"\tat shop.Orders.load(Orders.java:{number})" for number in range(100)]
    lines = [f"2026-11-24T09:42:30Z stderr F {text}" for text in ("java.lang.IllegalStateException: no order", *frames)]
    ((_, fields),) = documents("\n".join(lines).encode())

    assert (fields["log.flags"], fields["error.type"]) == (["multiline"], "java.lang.IllegalStateException")


def test_line_with_merged_and_added_fields_keeps_its_own_values() -> None:
    log = '{"level":"error","msg":"refused","time":1795513350123}'
    value = orjson.dumps(
        {"@timestamp": 1795513351.5, "time": "2026-11-24T09:42:30.5Z", "log": log, "level": "error", "cluster": "a"}
    )
    ((_, fields),) = documents(value)

    assert (fields["message"], fields["log.level"], fields["cluster"]) == ("refused", "error", "a")
    assert (fields["@timestamp"], fields["log.iotime"]) == (
        "2026-11-24T09:42:30.123000000Z",
        "2026-11-24T09:42:30.500000000Z",
    )


def test_text_with_fields_of_a_filter_is_parsed() -> None:
    value = orjson.dumps({"date": 1795513350.5, "log": "E1124 09:42:30.500000 7 a.go:5] no\n", "env": "prod"})
    ((_, fields),) = documents(value)

    assert (fields["message"], fields["log.level"], fields["env"]) == (
        "E1124 09:42:30.500000 7 a.go:5] no",
        "error",
        "prod",
    )
    assert fields["@timestamp"] == "2026-11-24T09:42:30.500000000Z"


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
def test_time_of_fluent_bit_is_the_runtime_time(written: object, time: str) -> None:
    ((_, fields),) = documents(orjson.dumps({"@timestamp": written, "message": "x", "k8s_pod_name": "p"}))

    assert fields["@timestamp"] == time


def test_time_among_merged_fields_is_the_applications() -> None:
    ((_, fields),) = documents(b'{"@timestamp":1795513350.5,"time":1795513349000,"msg":"x","level":30}')

    assert (fields["@timestamp"], fields["log.iotime"]) == (
        "2026-11-24T09:42:29.000000000Z",
        "2026-11-24T09:42:30.500000000Z",
    )


def test_partial_lines_of_two_records_are_flagged_but_not_joined() -> None:
    first = documents(b'{"log":"a ","logtag":"P","stream":"stdout","time":"2026-11-24T09:42:30Z"}')
    second = documents(b'{"log":"b","logtag":"F","stream":"stdout","time":"2026-11-24T09:42:30Z"}')

    assert [(source["message"], source.get("log.flags")) for _, source in first + second] == [
        ("a ", ["partial"]),
        ("b", None),
    ]


def test_empty_record_gives_no_document() -> None:
    assert documents(b"") == documents(b"\n") == []


OBJECTS = st.dictionaries(
    st.sampled_from(["log", "stream", "time", "@timestamp", "kubernetes", "k8s_pod_name", "message", "a"]),
    st.none()
    | st.text(max_size=8)
    | st.integers(-(2**40), 2**40)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)


@given(st.lists(st.one_of(st.binary(max_size=30), OBJECTS.map(orjson.dumps)), max_size=4).map(b"\n".join))
def test_any_record_becomes_documents_with_unique_ids(value: bytes) -> None:
    result = documents(value)

    assert bool(result) == bool(value.strip())
    assert len({identity for identity, _ in result}) == len(result)

"""Records of other shippers become the same kind of documents, the same ones whenever they are read."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline import foreign
from pipeline.document import Documents, together
from pipeline.record import Grouping, Origin
from pipeline.settings import Settings

ORIGIN = Origin("logs-raw", 3, 17, 1_795_513_350_123)
NOW = 1_795_513_351 * 10**9


def documents(value: bytes, origin: Origin = ORIGIN) -> list[tuple[str, dict[str, Any]]]:
    """Id and source of each document of a record."""
    known = Documents(Settings())
    parts = foreign.slices(value, origin, Grouping())
    parcel = together([known.of(part, NOW, origin.fields()) for part in parts])
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
    assert (found[0]["crisp.topic"], found[0]["crisp.partition"], found[0]["crisp.record"]) == ("logs-raw", 3, 17)
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

"""Documents of slices: no duplicate keys, ids from offsets, indices by the runtime's day."""

import json
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import SECRET_KINDS, Settings
from pipeline.contract import annotations, pod_metadata
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.builder import DocumentBuilder
from pipeline.grouping.grouper import Grouper
from tests.pipeline.grouping.traces import read_traces
from tests.pipeline.parsing.examples import LOGGERS, TEXTS

DAY = 86400 * 10**9
NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
INSTANCE = Instance("shop", "pay-1", "u-1", "pay", 2)
IDENTITY = "AAAAAAAAAAAAAAAA"


def build(value: bytes, metadata: bytes | None = None, **settings: Any) -> DocumentBatch:
    log_slice = LogSlice(
        value=value,
        files=(SourceFile(IDENTITY, "/var/log/pods/p/c/0.log"),),
        segments=(Segment(0, 100, len(value)),),
        node="n-1",
        read_at=NOW,
        grouping=Grouping(),
        pod=metadata or pod_metadata.from_path(INSTANCE, "n-1"),
    )
    return DocumentBuilder(Settings(**settings)).build(log_slice, NOW + 10**9)


def documents(
    value: bytes, metadata: bytes | None = None, **settings: Any
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the hit and the source of each document; fail on a duplicate key."""

    def reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    return [
        (document.to_hit(), json.loads(document.source, object_pairs_hook=reject_duplicates))
        for document in build(value, metadata, **settings)
    ]


def source(content: str, **settings: Any) -> dict[str, Any]:
    """Return the document of a line."""
    ((_, document),) = documents(f"2026-11-24T09:42:30.000000001Z stdout F {content}\n".encode(), **settings)
    return document


def test_document_id_comes_from_the_offset_and_the_index_from_the_runtimes_day() -> None:
    value = b"2026-11-23T23:59:59Z stdout F a\n2026-11-24T01:00:00+02:00 stdout F b\n2026-11-24T00:00:00Z stdout F c\n"

    assert [(action["_index"], action["_id"]) for action, _ in documents(value)] == [
        ("logs-2026.11.23", f"{IDENTITY}-0000000064"),
        ("logs-2026.11.23", f"{IDENTITY}-0000000084"),
        ("logs-2026.11.24", f"{IDENTITY}-00000000a9"),
    ]


def test_lines_older_than_the_retention_go_to_the_late_index_and_are_flagged() -> None:
    (old, recent) = documents(b"2026-11-01T00:00:00Z stdout P a\n2026-11-24T00:00:00Z stdout F b\n")

    assert (old[0]["_index"], old[1]["log.flags"]) == ("logs-late", ["partial", "late"])
    assert (recent[0]["_index"], "log.flags" in recent[1]) == ("logs-2026.11.24", False)


def test_infrastructure_namespace_has_its_own_indices_and_retention() -> None:
    dns = pod_metadata.from_path(Instance("kube-system", "coredns-1", "u-2", "coredns", 0), "n-1")
    value = b"2026-11-16T00:00:00Z stdout F a\n2026-11-24T00:00:00Z stdout F b\n"

    def indices(**settings: Any) -> list[str]:
        return [action["_index"] for action, _ in documents(value, dns, **settings)]

    assert indices() == ["logs-late", "logs-infra.2026.11.24"]
    assert indices(routes={"infra": 9}) == ["logs-infra.2026.11.16", "logs-infra.2026.11.24"]
    assert indices(routes={}) == indices(infra_namespaces=()) == ["logs-2026.11.16", "logs-2026.11.24"]


def test_index_prefix_is_a_setting() -> None:
    ((action, _),) = documents(b"2026-11-24T00:00:00Z stdout F a\n", index_prefix="test")

    assert action["_index"] == "test-2026.11.24"


def test_own_time_near_the_runtimes_replaces_it_and_both_are_kept() -> None:
    fields = source('{"@timestamp":"2026-11-24T09:42:29.5Z","message":"x"}')

    assert fields["@timestamp"] == "2026-11-24T09:42:29.5Z"
    assert fields["log.iotime"] == "2026-11-24T09:42:30.000000001Z"


def test_own_time_distant_or_invalid_is_kept_as_app_timestamp() -> None:
    for own in ("1999-01-01T00:00:00Z", "yesterday"):
        fields = source(orjson.dumps({"@timestamp": own, "message": "x"}).decode())
        assert (fields["@timestamp"], fields["app.@timestamp"]) == ("2026-11-24T09:42:30.000000001Z", own)


def test_service_fields_of_the_application_override_the_defaults() -> None:
    fields = source('{"message":"x","service":{"name":"mine"},"ecs.version":"1.6.0"}')

    assert (fields["service.name"], fields["service.environment"], fields["ecs.version"]) == ("mine", "shop", "1.6.0")


def test_reserved_names_are_moved_below_app() -> None:
    fields = source('{"message":"x","kubernetes":{"namespace":"evil"},"log.offset":1,"event":{"ingested":2}}')

    assert (fields["kubernetes.namespace"], fields["app.kubernetes.namespace"]) == ("shop", "evil")
    assert (fields["log.offset"], fields["app.log.offset"], fields["app.event.ingested"]) == (100, 1, 2)


def test_json_line_without_a_message_is_its_own_message() -> None:
    assert source('{"a":1}')["message"] == '{"a":1}'


def test_health_probe_is_dropped_and_counted() -> None:
    line = b'2026-11-24T00:00:00Z stdout F 10.0.0.1 - - [24/Nov/2026:00:00:00 +0000] "GET /healthz HTTP/1.1" %d 2\n'
    batch = build(line % 200 + line % 500)

    assert (len(batch), dict(batch.dropped)) == (1, {"health probe": 1})


def test_stack_trace_sets_the_error_fields() -> None:
    value = b"2026-11-24T00:00:00Z stderr F java.lang.Error: x\n2026-11-24T00:00:00.1Z stderr F \tat a.B.c(B.java:1)\n"
    ((_, fields),) = documents(value)

    assert fields["message"] == "java.lang.Error: x\n\tat a.B.c(B.java:1)"
    assert (fields["error.type"], fields["error.message"]) == ("java.lang.Error", "x")
    assert fields["log.flags"] == ["multiline"]
    assert fields["log.length"] == len(value)


def test_metadata_of_the_api_sets_service_workload_and_image() -> None:
    pod = {
        "metadata": {
            "name": "pay-1",
            "labels": {"app": "payment", "version": "7", "pod-template-hash": "6f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "pay-6f", "controller": True}],
        },
        "spec": {"containers": [{"name": "pay", "image": "reg.example:5000/shop/pay:1.2@sha256:ab"}]},
        "status": {"containerStatuses": [{"name": "pay", "containerID": "containerd://c0ffee"}]},
    }
    ((_, fields),) = documents(b"2026-11-24T00:00:00Z stdout F x\n", pod_metadata.from_api(INSTANCE, "n-1", pod))

    assert (fields["service.name"], fields["service.version"]) == ("payment", "7")
    assert fields["kubernetes.deployment.name"] == "pay"
    assert fields["kubernetes.labels"]["pod-template-hash"] == "6f"
    assert (fields["container.id"], fields["container.runtime"]) == ("c0ffee", "containerd")
    assert (fields["container.image.name"], fields["container.image.tag"]) == ("reg.example:5000/shop/pay", ["1.2"])


BODIES = st.dictionaries(st.text(max_size=5), st.integers(-(2**60), 2**60) | st.text(max_size=5), max_size=4)
CONTENT = st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")) | BODIES.map(orjson.dumps)


PROBES = (Path(__file__).parents[1] / "parsing" / "probes.txt").read_text("utf-8").splitlines()
EXAMPLES = [
    line.encode()
    for text in (*(example.line for example in TEXTS + LOGGERS), *read_traces().values(), *PROBES)
    for line in text.split("\n")
]
ROWS = st.lists(
    st.tuples(st.sampled_from((b"stdout F", b"stderr F", b"stderr P", b"stdout")), CONTENT | st.sampled_from(EXAMPLES)),
    min_size=1,
    max_size=8,
)
OPTIONS = st.sampled_from([{}, {}, {"redact": SECRET_KINDS}, {"ansi": "strip"}, {"parser": "none"}])


@given(ROWS, OPTIONS)
def test_every_line_is_in_exactly_one_document_or_dropped_by_a_named_rule(
    rows: list[tuple[bytes, bytes]], options: dict[str, Any]
) -> None:
    value = b"".join(b"2026-11-24T00:00:00Z %b %b\n" % row for row in rows)
    result = documents(value, **options)
    dropped = build(value, **options).dropped
    grouper = Grouper(Grouping())
    grouper.add_runs([(0, 100, value)])
    length = {event[1]: event[2] for event in grouper.finish()}
    remaining = dict(length)
    for _, fields in result:
        assert fields["log.length"] == remaining.pop(fields["log.offset"])

    assert sum(length.values()) == len(value)
    assert len({action["_id"] for action, _ in result}) == len(result)
    assert len(remaining) == dropped["health probe"] == dropped.total()


def metadata_with(*options: str) -> bytes:
    """Return the metadata of a pod with these annotations of crisp."""
    pod = {"metadata": {"annotations": {f"logs.crisp/{name}": value for name, value in map(_name_and_value, options)}}}
    return pod_metadata.from_api(INSTANCE, "n-1", pod, frozenset(), annotations.pod_options(pod, "pay", "logs.crisp"))


def _name_and_value(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


BOTH_STREAMS = b"".join(
    b"2026-11-24T09:42:30Z %b F %b\n" % (stream, content)
    for stream in (b"stdout", b"stderr")
    for content in (b'{"message":"m","level":"warn"}', b"level=error msg=x")
)


def test_each_stream_is_read_by_the_parser_that_the_pod_requests() -> None:
    levels = {
        parsers: [fields.get("log.level") for _, fields in documents(BOTH_STREAMS, metadata_with(*parsers))]
        for parsers in ((), ("parser=json",), ("parser=json", "parser_stderr=logfmt"), ("parser_stderr=none",))
    }

    assert levels == {
        (): ["warn", "error", "warn", "error"],
        ("parser=json",): ["warn", None, "warn", None],
        ("parser=json", "parser_stderr=logfmt"): ["warn", None, None, "error"],
        ("parser_stderr=none",): ["warn", "error", None, None],
    }


def test_excluded_stream_is_dropped_and_counted() -> None:
    metadata = metadata_with("exclude_stderr=true")

    assert [fields["log.iostream"] for _, fields in documents(BOTH_STREAMS, metadata)] == ["stdout", "stdout"]
    assert build(BOTH_STREAMS, metadata).dropped == {"pod excludes the stream": 2}
    assert build(BOTH_STREAMS, metadata, redact=("aws",)).dropped == {"pod excludes the stream": 2}
    assert build(BOTH_STREAMS, metadata_with("exclude=true")).sources == []


def test_containers_that_are_kept_are_bounded_in_bytes() -> None:
    builder = DocumentBuilder(Settings())
    for number in range(700):
        metadata = {"namespace": "shop", "pod": f"{number}", "container": "a", "labels": {"big": "x" * 40_000}}
        builder._get_context(orjson.dumps(metadata))

    assert 0 < sum(map(len, builder._contexts)) <= 16 * 1024 * 1024

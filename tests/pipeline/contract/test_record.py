"""The contract of the raw topic: records decode to what was encoded, violations are named, ids never change."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import record
from pipeline.contract.record import Continuation, Grouping, LogSlice, Segment, SourceFile
from pipeline.errors import RecordError
from pipeline.grouping import grouper, stack_trace

IDENTITY = "AAAAAAAAAAAAAAAA"


def a_slice(value: bytes = b"2026-01-01T00:00:00Z stdout F x\n", **changes: object) -> LogSlice:
    fields: dict[str, object] = {
        "value": value,
        "files": (SourceFile(IDENTITY, "/var/log/pods/a_b_c/d/0.log"),),
        "segments": (Segment(0, 0, len(value)),),
        "node": "node-1",
        "read_at": 1_790_000_000_000_000_000,
        "grouping": Grouping(),
        "pod": b'{"pod":"b"}',
        **changes,
    }
    return LogSlice(**fields)  # type: ignore[arg-type]


def test_identity_and_id_match_golden_vectors() -> None:
    # BLAKE2b with a digest of 12 bytes over "uid\0container\0restart\0first line", in URL-safe base64.
    line = b"2026-11-24T09:42:30.686000001Z stderr F payment refused"
    identity = record.identity("8a1c1b9e-0000-4000-8000-000000000001", "pay", 0, line)

    assert identity == "esUgWUGi6CHaGWFo"
    assert record.identity("8a1c1b9e-0000-4000-8000-000000000001", "pay", 1, line) == "MXtK4Nc-P6tThzKH"
    assert record.document_id(identity, 3673) == "esUgWUGi6CHaGWFo-0000000e59"
    assert record.container_key("8a1c", "pay", 2) == b"8a1c/pay/2"


def test_identity_depends_on_the_first_kilobyte_of_the_first_line() -> None:
    long = b"2026-01-01T00:00:00Z stdout F " + b"x" * 2000

    assert record.identity("u", "c", 0, long) == record.identity("u", "c", 0, long[:1024])
    assert record.identity("u", "c", 0, long) != record.identity("u", "c", 0, long[:1023])


SEGMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 10**12), st.integers(1, 10**6)), min_size=1, max_size=20
).map(lambda rows: tuple(Segment(*row) for row in sorted(rows)))


@given(SEGMENTS)
def test_segments_decode_to_what_was_encoded(segments: tuple[Segment, ...]) -> None:
    ordered: list[Segment] = []
    ends: dict[int, int] = {}
    for file, gap, length in segments:  # a segment never begins before the end of the previous one in its file
        offset = ends.get(file, 0) + gap
        ordered.append(Segment(file, offset, length))
        ends[file] = offset + length

    assert record.decode_segments(record.encode_segments(tuple(ordered))) == tuple(ordered)


@given(st.binary(min_size=1, max_size=200), st.text(max_size=20), st.integers(0, 2**62))
def test_slice_decodes_to_what_was_encoded(raw: bytes, node: str, read: int) -> None:
    log_slice = a_slice(
        raw + b"\n",
        node=node,
        read_at=read,
        previous_time=b"2026-01-01T00:00:00Z",
        grouping=Grouping("pattern", pattern="^[A-Z]é"),
        continuations=(Continuation("stdout", 2, stack_trace.PATTERN_EVENT), Continuation("", 3, 0)),
        continued_streams=("stdout", "stderr"),
    )

    assert record.decode(*record.encode(log_slice)) == log_slice


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("crisp", b"2", "contract version b'2'"),
        ("files", b"[", "headers cannot be read"),
        ("files", orjson.dumps([["short", "/p"]]), "'short' is not an identity"),
        ("segments", b"0:0+5", "the segments have 5 bytes, the value has 32"),
        ("segments", b"0:zero+5", "is not FILE:GAP+LENGTH"),
        ("segments", b"7:0+32", "refers to a file that is not in header files"),
        ("segments", b",".join([b"0:0+1"] * 257), "257, at most 256"),
        ("read", b"yesterday", "headers cannot be read"),
        ("grouping", b'{"mode":"magic"}', "mode 'magic' is not supported"),
        ("grouping", b'{"max_lines":0}', "must be positive"),
        ("grouping", b'{"colour":1}', "headers cannot be read"),
        ("grouping", b'{"mode":"pattern","pattern":"("}', "header grouping: pattern '(': missing"),
        ("grouping", b'{"mode":"pattern"}', "header grouping: the pattern is empty"),
        ("grouping", b'{"partial_gap":1}', "partial_gap is less than trace_gap"),
        ("carried", b'[["stdout",1,0]]', "header carried: ['stdout', 1, 0]"),
        ("carried", b'[["stdout",2,12345]]', "header carried: ['stdout', 2, 12345]"),
        ("carried", b'[["stdin",2,0]]', "header carried: ['stdin', 2, 0]"),
        ("goes_on", b"stdin", "header goes_on"),
    ],
)
def test_violation_of_the_contract_is_rejected_by_name(name: str, value: bytes, message: str) -> None:
    raw, headers = record.encode(a_slice(continuations=(Continuation("stdout", 2, 0),), continued_streams=("stdout",)))
    changed = [(key, value if key == name else old) for key, old in headers]

    with pytest.raises(RecordError) as rejected:
        grouper.group_slice(record.decode(raw, changed))

    assert message in str(rejected.value)


@pytest.mark.parametrize("name", ["files", "segments", "node", "read", "grouping", "pod"])
def test_missing_header_is_named(name: str) -> None:
    raw, headers = record.encode(a_slice())

    with pytest.raises(RecordError, match=f"missing headers: {name}"):
        record.decode(raw, [row for row in headers if row[0] != name])


def test_value_without_its_last_newline_is_rejected() -> None:
    _, headers = record.encode(a_slice())

    with pytest.raises(RecordError, match="does not end with a newline"):
        record.decode(b"cut", headers)
    with pytest.raises(RecordError, match="does not end with a newline"):
        record.decode(None, headers)


def test_record_without_header_crisp_is_third_party() -> None:
    assert record.is_crisp_record(record.encode(a_slice())[1])
    assert not record.is_crisp_record([("traceparent", b"x")])

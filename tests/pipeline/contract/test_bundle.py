"""Bundles decode to the slices that were encoded; damage concerns a part, or is named; the encoding never changes."""

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import bundle, record
from pipeline.contract.bundle import Bundle
from pipeline.contract.record import Continuation, Grouping, Headers, LogSlice, Segment, SourceFile
from pipeline.errors import RecordError

READ_AT = 1_790_000_000_000_000_000
LIMIT = 256 * 1024


def a_slice(number: int, **changes: object) -> LogSlice:
    """A slice of one line of the container with this number."""
    value = b"2026-11-24T09:42:30.68600000%dZ stdout F line %d\n" % (number, number)
    fields: dict[str, object] = {
        "value": value,
        "files": (SourceFile(f"AAAAAAAAAAAAAAA{number}", f"/var/log/pods/a_b_c/d{number}/0.log"),),
        "segments": (Segment(0, 100 * number, len(value)),),
        "node": "node-1",
        "read_at": READ_AT + number,
        "grouping": Grouping(),
        "pod": b'{"pod":"p%d"}' % number,
        **changes,
    }
    return LogSlice(**fields)  # type: ignore[arg-type]


def a_bundle(*slices: LogSlice) -> tuple[bytes, Headers]:
    """The record of a bundle of slices."""
    building = Bundle(LIMIT)
    assert all(building.add(b"uid/c/%d" % number, log_slice) for number, log_slice in enumerate(slices))
    return building.encode()


def decode(value: bytes, headers: Headers) -> list[LogSlice]:
    return [record.decode(part.value, part.headers) for part in bundle.split(value, headers)]


def test_encoding_matches_golden_vector() -> None:
    open_event = a_slice(
        3,
        previous_time=b"2026-11-24T09:42:30Z",
        continuations=(Continuation("stdout", 2, 0),),
        continued_streams=("stdout", "stderr"),
        pod=b'{"pod":"p1"}',
    )
    value, headers = a_bundle(a_slice(1), a_slice(2, grouping=Grouping("off")), open_event)

    assert value == b"".join(b"2026-11-24T09:42:30.68600000%dZ stdout F line %d\n" % (n, n) for n in (1, 2, 3))
    limits = b'"trace_gap":1000000000,"partial_gap":60000000000,"max_bytes":1048576,"max_lines":2000,"max_places":31'
    assert headers == [
        ("crisp", b"2"),
        ("node", b"node-1"),
        ("read", b"1790000000000000001"),
        ("groupings", b'{"mode":"traces",%b,"pattern":""}\n{"mode":"off",%b,"pattern":""}' % (limits, limits)),
        ("pods", b'{"pod":"p1"}\n{"pod":"p2"}'),
        (
            "parts",
            b'uid/c/0 47 0 0 0 0:100+47 - - - [["AAAAAAAAAAAAAAA1","/var/log/pods/a_b_c/d1/0.log"]]\n'
            b'uid/c/1 47 1 1 1 0:200+47 - - - [["AAAAAAAAAAAAAAA2","/var/log/pods/a_b_c/d2/0.log"]]\n'
            b'uid/c/2 47 2 0 0 0:300+47 2026-11-24T09:42:30Z [["stdout",2,0]] stdout,stderr '
            b'[["AAAAAAAAAAAAAAA3","/var/log/pods/a_b_c/d3/0.log"]]',
        ),
    ]


LINES = st.lists(st.sampled_from([b"2026-11-24T09:42:30.1Z stdout F x\n", b"no CRI line \xff\n", b"\n"]), min_size=1)
SLICES = st.builds(
    lambda lines, **fields: LogSlice(
        value=b"".join(lines), segments=(Segment(0, 7, sum(map(len, lines))),), node="node-1", **fields
    ),
    LINES,
    files=st.tuples(
        st.builds(SourceFile, st.binary(min_size=12, max_size=12).map(record.random_identity), st.text(max_size=20))
    ),
    read_at=st.integers(READ_AT, READ_AT + 10**10),
    grouping=st.sampled_from([Grouping(), Grouping("off"), Grouping("pattern", pattern="^\n [x]")]),
    pod=st.sampled_from([b"{}", b'{"pod":"p 1"}', b'{"pod":"p2"}']),
    previous_time=st.sampled_from([b"", b"2026-11-24T09:42:30Z"]),
    continuations=st.sampled_from([(), (Continuation("stdout", 2, 0), Continuation("", 3, 0))]),
    continued_streams=st.sampled_from([(), ("stdout",), ("stdout", "stderr")]),
)


@given(st.lists(SLICES, max_size=12))
def test_parts_are_the_records_that_the_slices_would_be(slices: list[LogSlice]) -> None:
    building, added = Bundle(LIMIT), []
    for number, log_slice in enumerate(slices):
        if building.add(b"key/%d" % number, log_slice):
            added.append((b"key/%d" % number, *record.encode(log_slice)))
    if added:
        value, headers = building.encode()
        assert [tuple(part) for part in bundle.split(value, headers)] == added
        assert bundle.expand(value, headers) == [(value, headers) for _, value, headers in added]
        assert decode(value, headers) == [record.decode(value, headers) for _, value, headers in added]


def test_slice_that_does_not_fit_is_not_added() -> None:
    small, line = Bundle(100), a_slice(1)
    assert small.add(b"k", line)
    assert small.add(b"k", line)
    assert not small.add(b"k", line)
    assert len(small) == 2

    metadata = Bundle(LIMIT)
    sizes = [metadata.add(b"k", a_slice(n, pod=b'{"n":%d,"labels":"%b"}' % (n, b"x" * 20_000))) for n in range(4)]
    assert sizes == [True, True, False, False]
    assert metadata.add(b"k", a_slice(1, pod=b'{"n":1,"labels":"%b"}' % (b"x" * 20_000)))  # known already

    table = Bundle(LIMIT)
    long = (SourceFile("AAAAAAAAAAAAAAAA", "/" + 4000 * "x"),)
    assert sum(table.add(b"k", a_slice(1, files=long)) for _ in range(20)) == 8

    many = Bundle(LIMIT)
    assert sum(many.add(b"k", a_slice(1, files=(SourceFile("AAAAAAAAAAAAAAAA", ""),))) for _ in range(300)) == 256


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (b"a plain file/0", {}),
        (b"", {}),
        (b"line\nbreak", {}),
        (b"k", {"pod": b'{\n"pod":"p"}'}),
        (b"k", {"node": "node-2"}),
        (b"k", {"read_at": READ_AT - 1}),
        (b"k", {"previous_time": b"a b"}),
    ],
)
def test_slice_that_a_bundle_cannot_express_is_not_added(key: bytes, changes: dict[str, object]) -> None:
    building = Bundle(LIMIT)
    building.add(b"k", a_slice(0))

    assert not building.add(key, a_slice(1, **changes))
    assert [part.key for part in bundle.split(*building.encode())] == [b"k"]


@pytest.mark.parametrize("name", ["node", "read", "groupings", "pods", "parts"])
def test_bundle_without_a_header_is_rejected_by_name(name: str) -> None:
    value, headers = a_bundle(a_slice(1), a_slice(2))

    with pytest.raises(RecordError, match=f"missing headers of a bundle: {name}"):
        bundle.split(value, [header for header in headers if header[0] != name])


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("read", b"-1", "header read: b'-1' is not a number"),
        ("parts", b"", "header parts: b'' is not a part"),
        ("parts", b"k 94 0 0 0 0:0+94 - - -", "is not a part"),
        ("parts", b"k +94 0 0 0 0:0+94 - - - []", "is not a part"),
        ("parts", b"k 93 0 0 0 0:0+94 - - - []", "the parts have 93 bytes, the value has 94"),
        ("parts", b"k 95 0 0 0 0:0+94 - - - []", "the parts have 95 bytes, the value has 94"),
        ("parts", b"\n".join([b"k 0 0 0 0 0:0+94 - - - []"] * 257), "257 parts, at most 256"),
    ],
)
def test_bundle_that_cannot_be_divided_is_rejected(name: str, data: bytes, error: str) -> None:
    value, headers = a_bundle(a_slice(1), a_slice(2))
    damaged = [(key, data if key == name else old) for key, old in headers]

    with pytest.raises(RecordError, match=error.replace("+", r"\+")):
        bundle.split(value, damaged)
    assert bundle.expand(value, damaged) == [(value, damaged)]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (b" 47 1 0 1 ", b" 47 1 9 1 ", "missing headers: grouping"),
        (b" 47 1 0 1 ", b" 47 1 0 9 ", "missing headers: pod"),
        (b"0:200+47", b"0:200+46x", "header segments"),
        (b"0:200+47", b"0:200+40", "the segments have 40 bytes"),
        (b"0:200+47", b"1:200+47", "header segments: refers to a file"),
        (b'[["AAAAAAAAAAAAAAA2"', b'[["AAAAAAAAAAAAAAA"', "is not an identity"),
        (b'[["AAAAAAAAAAAAAAA2"', b'["AAAAAAAAAAAAAAA2"', "headers cannot be read"),
        (b"- - - [[", b"- 7 - [[", "headers cannot be read"),
    ],
)
def test_damage_of_one_part_concerns_no_other(old: bytes, new: bytes, error: str) -> None:
    value, headers = a_bundle(a_slice(1), a_slice(2), a_slice(3))
    lines = dict(headers)["parts"].split(b"\n")
    lines[1] = lines[1].replace(old, new)
    damaged = [(name, b"\n".join(lines) if name == "parts" else data) for name, data in headers]
    first, second, third = bundle.split(value, damaged)

    assert record.decode(first.value, first.headers) == a_slice(1)
    assert record.decode(third.value, third.headers) == a_slice(3)
    assert second.value == a_slice(2).value
    with pytest.raises(RecordError, match=error):
        record.decode(second.value, second.headers)


@given(st.sampled_from(["read", "groupings", "pods", "parts", "node"]), st.data())
def test_any_corruption_is_a_record_error_or_a_slice(name: str, data: st.DataObject) -> None:
    value, headers = a_bundle(a_slice(1), a_slice(2))
    old = dict(headers)[name]
    start = data.draw(st.integers(0, len(old)))
    end = data.draw(st.integers(start, min(len(old), start + 8)))
    new = old[:start] + data.draw(st.binary(max_size=4)) + old[end:]
    damaged = [(key, new if key == name else content) for key, content in headers]

    with contextlib.suppress(RecordError):
        parts = bundle.split(value, damaged)
        assert b"".join(part.value for part in parts) == value
        for part in parts:
            with contextlib.suppress(RecordError):
                record.decode(part.value, part.headers)


def test_gap_and_record_of_one_slice_are_no_bundles() -> None:
    value, headers = record.encode(a_slice(1))

    assert not bundle.is_bundle(headers)
    assert bundle.expand(value, headers) == [(value, headers)]
    assert bundle.expand(b"x\n", []) == [(b"x\n", [])]


def test_decoder_of_version_1_rejects_a_bundle_by_its_version() -> None:
    """What a worker of before does: it dead-letters the record, whole, with its headers."""
    value, headers = a_bundle(a_slice(1), a_slice(2))

    with pytest.raises(RecordError, match=r"contract version b'2' is not supported"):
        record.decode(value, headers)
    assert orjson.loads(dict(headers)["pods"].split(b"\n")[0]) == {"pod": "p1"}

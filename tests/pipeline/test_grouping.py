"""Lines into events: caps, gaps, streams; and wherever a run is cut between events, the events are the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agents import cut
from pipeline.grouping import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event, Grouper
from pipeline.record import Grouping

SECOND = 1_000_000_000
CONTENTS = (
    b"plain",
    b"",
    b"java.lang.Error: x",
    b"\tat a.B.c(B.java:1)",
    b"Caused by: java.io.IOException",
    b"Traceback (most recent call last):",
    b"  File x",
    b"ValueError: y",
    b"Unhandled exception:",
    b'{"a":1}',
    b"panic: z",
    b"goroutine 1 [running]:",
    b"main.main()",
)
LINES = st.lists(
    st.tuples(
        st.sampled_from((b"stdout", b"stderr", b"?")),
        st.sampled_from((b"F", b"F", b"F", b"P")),
        st.sampled_from(CONTENTS),
        st.sampled_from((1_000_000, 1_000_000, SECOND // 2, 2 * SECOND, 70 * SECOND)),
    ),
    max_size=25,
)


def raw(lines: list[tuple[bytes, bytes, bytes, int]]) -> list[bytes]:
    """CRI lines (or, for the stream `?`, lines that are none), each so long after the one before."""
    made = []
    at = 0
    for stream, tag, content, gap in lines:
        at += gap
        seconds, fraction = divmod(at, SECOND)
        clock = b"%02d:%02d:%02d.%09dZ" % (seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)
        head = b"2026-01-01T" + clock + b" %b %b " % (stream, tag)
        made.append((head + content if stream != b"?" else b"no cri " + content) + b"\n")
    return made


def group(data: bytes, offset: int = 0, after: bytes = b"", grouping: Grouping | None = None) -> list[Event]:
    grouper = Grouper(grouping or Grouping())
    grouper.feed([(0, offset, data)], after)
    return grouper.finish()


@settings(max_examples=400, deadline=None)
@given(LINES)
def test_wherever_nothing_is_open_a_cut_changes_nothing(lines: list[tuple[bytes, bytes, bytes, int]]) -> None:
    made = raw(lines)
    data = b"".join(made)
    whole = group(data)
    position, last = 0, b""
    for line in made:
        position += len(line)
        last = line.split(b" ", 1)[0] if line.startswith(b"2026") else last
        if cut.open_events(data[:position], Grouping()):
            continue
        assert group(data[:position]) + group(data[position:], position, last) == whole


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_the_look_backwards_finds_what_the_whole_grouping_finds(lines: list[tuple[bytes, bytes, bytes, int]]) -> None:
    data = b"".join(raw(lines))
    grouper = Grouper(Grouping())
    grouper.feed([(0, 0, data)])

    assert {event for _, event in cut.open_events(data, Grouping())} == set(grouper.open())


@given(LINES)
def test_every_byte_is_in_exactly_one_event(lines: list[tuple[bytes, bytes, bytes, int]]) -> None:
    data = b"".join(raw(lines))

    assert sum(event[2] for event in group(data)) == len(data)


def test_partials_join_per_stream() -> None:
    made = raw(
        [(b"stdout", b"P", b"a", 1), (b"stderr", b"P", b"x", 1), (b"stdout", b"F", b"b", 1), (b"stderr", b"F", b"y", 1)]
    )

    assert [(event[4], event[5]) for event in group(b"".join(made))] == [(b"stdout", b"ab"), (b"stderr", b"xy")]


def test_a_partial_that_never_closes_is_flagged() -> None:
    made = raw([(b"stdout", b"P", b"a", 1), (b"stdout", b"F", b"b", 61 * SECOND)])

    assert [(event[5], event[6]) for event in group(b"".join(made))] == [(b"a", PARTIAL), (b"b", 0)]


def test_a_gap_ends_a_trace() -> None:
    made = raw([(b"stdout", b"F", b"java.lang.Error: x", 1), (b"stdout", b"F", b"\tat a.B.c(B.java:1)", 2 * SECOND)])

    assert len(group(b"".join(made))) == 2


def test_a_line_that_is_no_cri_is_kept_with_the_time_before_it() -> None:
    made = raw([(b"stdout", b"F", b"a", SECOND), (b"?", b"F", b"b", 1)])

    assert group(b"".join(made))[1][3:7] == (b"2026-01-01T00:00:01.000000000Z", b"", b"no cri b", UNPARSED)


def test_a_long_partial_is_split_and_numbered() -> None:
    made = raw([(b"stdout", b"P", b"x" * 100, 1)] * 4 + [(b"stdout", b"F", b"end", 1)])
    events = group(b"".join(made), grouping=Grouping(max_bytes=300))

    assert [(event[5], event[6], event[7]) for event in events] == [
        (b"x" * 200, SPLIT, 1),
        (b"x" * 200, SPLIT, 2),
        (b"end", SPLIT, 3),
    ]


def test_a_long_trace_is_split_by_lines() -> None:
    made = raw([(b"stdout", b"F", b"java.lang.Error: x", 1)] + [(b"stdout", b"F", b"\tat a.B.c(B.java:1)", 1)] * 5)
    events = group(b"".join(made), grouping=Grouping(max_lines=3))

    assert [(event[5].count(b"\n") + 1, event[6], event[7]) for event in events] == [
        (3, SPLIT | MULTILINE, 1),
        (3, SPLIT | MULTILINE, 2),
    ]


def test_off_joins_partials_only() -> None:
    made = raw([(b"stdout", b"F", b"java.lang.Error: x", 1), (b"stdout", b"F", b"\tat a.B.c(B.java:1)", 1)])

    assert len(group(b"".join(made), grouping=Grouping(mode="off"))) == 2

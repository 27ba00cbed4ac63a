"""Lines into events: caps, gaps, streams; and wherever a run is cut between events, the events are the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.tailing import slice_boundary
from agents.tailing.slice_boundary import Chunk
from pipeline.contract.record import Continuation, Grouping
from pipeline.grouping import grouper as grouping
from pipeline.grouping.event import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event
from pipeline.grouping.grouper import Grouper
from tests.pipeline.grouping.traces import read_traces

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
TRACES = [trace.encode().split(b"\n") for trace in read_traces().values()]
GAPS = (1_000_000, 1_000_000, SECOND // 2, 2 * SECOND, 70 * SECOND)
LINE = st.tuples(
    st.sampled_from((b"stdout", b"stderr", b"?")),
    st.sampled_from((b"F", b"F", b"F", b"P")),
    st.sampled_from(CONTENTS),
    st.sampled_from(GAPS),
)


@st.composite
def torn_traces(draw: st.DrawFn) -> list[tuple[bytes, bytes, bytes, int]]:
    """Some consecutive lines of a trace of any language, on one stream."""
    trace = draw(st.sampled_from(TRACES))
    first = draw(st.integers(0, 3))
    stream = draw(st.sampled_from((b"stdout", b"stderr")))
    return [(stream, b"F", content, 1_000_000) for content in trace[first : first + draw(st.integers(1, 9))]]


LINES = st.lists(st.one_of(LINE, LINE, LINE, torn_traces()), max_size=14).map(
    lambda parts: [line for part in parts for line in (part if isinstance(part, list) else [part])]
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
    grouper.add_runs([(0, offset, data)], after)
    return grouper.finish()


GROUPINGS = st.builds(
    Grouping,
    mode=st.sampled_from(("traces", "traces", "off", "pattern")),
    trace_gap=st.just(SECOND),
    partial_gap=st.sampled_from((60 * SECOND, 60 * SECOND, SECOND)),
    max_bytes=st.sampled_from((180, 300, 1024 * 1024)),
    max_lines=st.sampled_from((1, 3, 2000)),
    max_places=st.sampled_from((1, 2, 31)),
    pattern=st.just("^(plain|java|.*main)"),
)


def pieces(*data: bytes) -> list[Chunk[int]]:
    """The data as pieces of one file, one behind the other."""
    made: list[Chunk[int]] = []
    for part in data:
        made.append(Chunk(0, made[-1].end() if made else 0, part, 0, len(part)))
    return made


@settings(max_examples=400, deadline=None)
@given(LINES, GROUPINGS)
def test_wherever_nothing_is_open_a_cut_changes_nothing(
    lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping
) -> None:
    made = raw(lines)
    data = b"".join(made)
    whole = group(data, grouping=grouping)
    position, last = 0, b""
    for line in made:
        position += len(line)
        last = line.split(b" ", 1)[0] if line.startswith(b"2026") else last
        if slice_boundary.find_open_events(pieces(data[:position]), grouping):
            continue
        halves = group(data[:position], 0, b"", grouping), group(data[position:], position, last, grouping)
        assert halves[0] + halves[1] == whole


@settings(max_examples=400, deadline=None)
@given(LINES, GROUPINGS)
def test_the_look_backwards_finds_what_the_whole_grouping_finds(
    lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping
) -> None:
    data = b"".join(raw(lines))
    grouper = Grouper(grouping)
    grouper.add_runs([(0, 0, data)])

    assert [event for event, _ in slice_boundary.find_open_events(pieces(data), grouping)] == grouper.open_events()


@settings(max_examples=600, deadline=None)
@given(LINES, GROUPINGS, st.lists(st.integers(1, 6), min_size=1))
def test_however_the_bytes_are_cut_into_slices_the_events_are_the_same(
    lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping, blocks: list[int]
) -> None:
    """Blocks of so many lines are read; what is open at the end of each is held, and goes on in the next slice."""
    made = raw(lines)
    expected = group(b"".join(made), grouping=grouping)
    found: list[Event] = []
    held: list[Chunk[int]] = []
    carried: tuple[Continuation, ...] = ()
    position = 0
    while made:
        size, blocks = blocks[0], [*blocks[1:], blocks[0]]
        block, made = made[:size], made[size:]
        data = b"".join(block)
        fresh = Chunk(0, position, data, 0, len(data))
        first = slice_boundary.end_of_unparsed(fresh) if held else 0
        if first:  # these go alone: their time is that of the line before them in the file
            found += group(data[:first], position, _time_before(expected, position), grouping)
            fresh = fresh.subrange(first, len(data))
        position += len(data)
        opened = slice_boundary.find_open_events([*held, fresh], grouping, carried) if made else []
        chosen, rest = slice_boundary.split_off_open([*held, fresh], opened)
        grouper = Grouper(grouping)
        after = _time_before(expected, chosen[0].offset) if chosen else b""
        grouper.add_runs([(0, piece.offset, piece.to_bytes()) for piece in chosen], after, carried)
        carried = tuple(event.continuation for event, _ in opened if event.continuation)
        found += grouper.finish(one.stream for one in carried)
        held = rest

    assert sorted(found) == sorted(expected)


def _time_before(events: list[Event], offset: int) -> bytes:
    """The time that an event without a time of its own has at the offset."""
    return next((event[3] for event in events if event[1] == offset), b"")


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


PATTERN = Grouping("pattern", pattern=r"^\d+ ")


def contents(lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping) -> list[bytes]:
    return [event[5] for event in group(b"".join(raw(lines)), grouping=grouping)]


def test_what_a_pattern_does_not_match_continues_the_event() -> None:
    lines = [(b"stdout", b"F", text, 1) for text in (b"more", b"1 one", b"  more", b"", b"2 two", b"and:", b"3 three")]

    assert contents(lines, PATTERN) == [b"more", b"1 one\n  more\n", b"2 two\nand:", b"3 three"]


def test_a_pattern_is_asked_of_the_whole_line_and_a_gap_ends_its_event() -> None:
    lines = [
        (b"stdout", b"F", b"1 one", 1),
        (b"stdout", b"P", b"2", 1),
        (b"stdout", b"F", b" two", 1),
        (b"stderr", b"F", b"other", 1),
        (b"stdout", b"F", b"late", 2 * SECOND),
    ]

    assert contents(lines, PATTERN) == [b"1 one", b"2 two", b"other", b"late"]


def test_a_pattern_is_linear_in_the_line() -> None:
    """Where a backtracking engine would take for ever."""
    lines = [(b"stdout", b"F", b"a" * 5000 + b"b", 1)] * 3

    assert len(contents(lines, Grouping("pattern", pattern="^(a+)+$"))) == 1


def test_a_pod_asks_for_its_grouping() -> None:
    usual = Grouping("pattern", pattern="^x")

    assert grouping.requested_grouping(usual, "") == (usual, "")
    assert grouping.requested_grouping(usual, "off") == (Grouping("off"), "")
    assert grouping.requested_grouping(usual, "traces") == (Grouping(), "")
    assert grouping.requested_grouping(usual, "^y") == (Grouping("pattern", pattern="^y"), "")
    assert grouping.requested_grouping(usual, "(") == (Grouping(), "pattern '(': missing ): (")


def test_a_raw_line_longer_than_an_event_is_split_into_pieces_of_its_size() -> None:
    made = raw([(b"stdout", b"P", b"open", 1), (b"stdout", b"F", b"x" * 250, 1), (b"stdout", b"F", b"end", 1)])
    events = group(b"".join(made), grouping=Grouping(max_bytes=100))

    assert [(event[2], event[4], event[6], event[7]) for event in events] == [
        (len(made[0]), b"stdout", PARTIAL, 0),
        (100, b"stdout", SPLIT, 1),
        (100, b"", SPLIT | UNPARSED, 2),
        (len(made[1]) - 200, b"", SPLIT | UNPARSED, 3),
        (len(made[2]), b"stdout", 0, 0),
    ]
    assert b"".join(event[5] for event in events[1:4]) == b"x" * 250


def test_a_line_in_too_many_places_goes_on_as_another_part() -> None:
    made = raw([(b"stdout", b"P", b"a", 1), (b"stderr", b"F", b"-", 1)] * 4)
    events = group(b"".join(made), grouping=Grouping(max_places=3))

    assert [(event[5], event[6], event[7]) for event in events if event[4] == b"stdout"] == [
        (b"aaa", SPLIT, 1),
        (b"a", SPLIT | PARTIAL, 2),
    ]

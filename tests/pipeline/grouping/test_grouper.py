"""Lines into events: limits, gaps, streams; and wherever a run is cut between events, the events are the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.tailing import slice_boundary
from agents.tailing.slice_boundary import Chunk
from pipeline.contract.record import Continuation, Grouping, LogSlice, Segment, SourceFile
from pipeline.grouping.event import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event
from pipeline.grouping.grouper import Grouper, group_slice, requested_grouping, slice_runs
from pipeline.grouping.stack_trace import PATTERN_EVENT
from tests.support.cri_lines import LINES, SECOND, raw


def group(data: bytes, offset: int = 0, previous_time: bytes = b"", grouping: Grouping | None = None) -> list[Event]:
    grouper = Grouper(grouping or Grouping())
    grouper.add_runs([(0, offset, data)], previous_time)
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


def chunks(*data: bytes) -> list[Chunk[int]]:
    """The data as adjacent chunks of one file."""
    adjacent: list[Chunk[int]] = []
    for part in data:
        adjacent.append(Chunk(0, adjacent[-1].end() if adjacent else 0, part, 0, len(part)))
    return adjacent


@settings(max_examples=4 * settings().max_examples)
@given(LINES, GROUPINGS)
def test_cut_where_no_event_is_open_changes_nothing(
    lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping
) -> None:
    raw_lines = raw(lines)
    data = b"".join(raw_lines)
    whole = group(data, grouping=grouping)
    position, last_time = 0, b""
    for line in raw_lines:
        position += len(line)
        last_time = line.split(b" ", 1)[0] if line.startswith(b"2026") else last_time
        if slice_boundary.find_open_events(chunks(data[:position]), grouping):
            continue
        halves = group(data[:position], 0, b"", grouping), group(data[position:], position, last_time, grouping)
        assert halves[0] + halves[1] == whole


@settings(max_examples=4 * settings().max_examples)
@given(LINES, GROUPINGS)
def test_find_open_events_agrees_with_the_whole_grouping(
    lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping
) -> None:
    data = b"".join(raw(lines))
    grouper = Grouper(grouping)
    grouper.add_runs([(0, 0, data)])

    assert [event for event, _ in slice_boundary.find_open_events(chunks(data), grouping)] == grouper.open_events()


@settings(max_examples=6 * settings().max_examples)
@given(LINES, GROUPINGS, st.lists(st.integers(1, 6), min_size=1))
def test_events_do_not_depend_on_the_cut_into_slices(
    lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping, blocks: list[int]
) -> None:
    """Blocks of some lines are read; the open events at the end of each are held back for the next slice."""
    raw_lines = raw(lines)
    expected = group(b"".join(raw_lines), grouping=grouping)
    events: list[Event] = []
    held: list[Chunk[int]] = []
    continuations: tuple[Continuation, ...] = ()
    position = 0
    while raw_lines:
        size, blocks = blocks[0], [*blocks[1:], blocks[0]]
        block, raw_lines = raw_lines[:size], raw_lines[size:]
        data = b"".join(block)
        fresh = Chunk(0, position, data, 0, len(data))
        first = slice_boundary.end_of_unparsed(fresh) if held else 0
        if first:  # a slice of their own: their time is that of the line before them in the file
            events += group(data[:first], position, _time_before(expected, position), grouping)
            fresh = fresh.subrange(first, len(data))
        position += len(data)
        opened = slice_boundary.find_open_events([*held, fresh], grouping, continuations) if raw_lines else []
        chosen, rest = slice_boundary.split_off_open([*held, fresh], opened)
        grouper = Grouper(grouping)
        previous_time = _time_before(expected, chosen[0].offset) if chosen else b""
        grouper.add_runs([(0, chunk.offset, chunk.to_bytes()) for chunk in chosen], previous_time, continuations)
        continuations = tuple(event.continuation for event, _ in opened if event.continuation)
        events += grouper.finish(continuation.stream for continuation in continuations)
        held = rest

    assert sorted(events) == sorted(expected)


def _time_before(events: list[Event], offset: int) -> bytes:
    """The time of the event at the offset."""
    return next((event[3] for event in events if event[1] == offset), b"")


@given(LINES)
def test_every_byte_is_in_exactly_one_event(lines: list[tuple[bytes, bytes, bytes, int]]) -> None:
    data = b"".join(raw(lines))

    assert sum(event[2] for event in group(data)) == len(data)


def test_partials_are_joined_per_stream() -> None:
    raw_lines = raw(
        [(b"stdout", b"P", b"a", 1), (b"stderr", b"P", b"x", 1), (b"stdout", b"F", b"b", 1), (b"stderr", b"F", b"y", 1)]
    )

    assert [(event[4], event[5]) for event in group(b"".join(raw_lines))] == [(b"stdout", b"ab"), (b"stderr", b"xy")]


def test_partial_without_end_is_flagged() -> None:
    raw_lines = raw([(b"stdout", b"P", b"a", 1), (b"stdout", b"F", b"b", 61 * SECOND)])

    assert [(event[5], event[6]) for event in group(b"".join(raw_lines))] == [(b"a", PARTIAL), (b"b", 0)]


def test_trace_ends_at_a_gap() -> None:
    raw_lines = raw(
        [(b"stdout", b"F", b"java.lang.Error: x", 1), (b"stdout", b"F", b"\tat a.B.c(B.java:1)", 2 * SECOND)]
    )

    assert len(group(b"".join(raw_lines))) == 2


def test_line_that_is_not_cri_has_the_time_of_the_line_before() -> None:
    raw_lines = raw([(b"stdout", b"F", b"a", SECOND), (b"?", b"F", b"b", 1)])

    assert group(b"".join(raw_lines))[1][3:7] == (b"2026-01-01T00:00:01.000000000Z", b"", b"no cri b", UNPARSED)


def test_oversized_partial_is_split_and_numbered() -> None:
    raw_lines = raw([(b"stdout", b"P", b"x" * 100, 1)] * 4 + [(b"stdout", b"F", b"end", 1)])
    events = group(b"".join(raw_lines), grouping=Grouping(max_bytes=300))

    assert [(event[5], event[6], event[7]) for event in events] == [
        (b"x" * 200, SPLIT, 1),
        (b"x" * 200, SPLIT, 2),
        (b"end", SPLIT, 3),
    ]


def test_oversized_trace_is_split_by_lines() -> None:
    raw_lines = raw([(b"stdout", b"F", b"java.lang.Error: x", 1)] + [(b"stdout", b"F", b"\tat a.B.c(B.java:1)", 1)] * 5)
    events = group(b"".join(raw_lines), grouping=Grouping(max_lines=3))

    assert [(event[5].count(b"\n") + 1, event[6], event[7]) for event in events] == [
        (3, SPLIT | MULTILINE, 1),
        (3, SPLIT | MULTILINE, 2),
    ]


def test_mode_off_joins_partials_only() -> None:
    raw_lines = raw([(b"stdout", b"F", b"java.lang.Error: x", 1), (b"stdout", b"F", b"\tat a.B.c(B.java:1)", 1)])

    assert len(group(b"".join(raw_lines), grouping=Grouping(mode="off"))) == 2


PATTERN = Grouping("pattern", pattern=r"^\d+ ")


def contents(lines: list[tuple[bytes, bytes, bytes, int]], grouping: Grouping) -> list[bytes]:
    return [event[5] for event in group(b"".join(raw(lines)), grouping=grouping)]


def test_line_that_the_pattern_does_not_match_continues_the_event() -> None:
    lines = [(b"stdout", b"F", text, 1) for text in (b"more", b"1 one", b"  more", b"", b"2 two", b"and:", b"3 three")]

    assert contents(lines, PATTERN) == [b"more", b"1 one\n  more\n", b"2 two\nand:", b"3 three"]


def test_pattern_is_matched_against_the_joined_line_and_a_gap_ends_its_event() -> None:
    lines = [
        (b"stdout", b"F", b"1 one", 1),
        (b"stdout", b"P", b"2", 1),
        (b"stdout", b"F", b" two", 1),
        (b"stderr", b"F", b"other", 1),
        (b"stdout", b"F", b"late", 2 * SECOND),
    ]

    assert contents(lines, PATTERN) == [b"1 one", b"2 two", b"other", b"late"]


def test_pattern_takes_linear_time() -> None:
    """A backtracking engine would take exponential time."""
    lines = [(b"stdout", b"F", b"a" * 5000 + b"b", 1)] * 3

    assert len(contents(lines, Grouping("pattern", pattern="^(a+)+$"))) == 1


def test_part_of_pattern_event_resumes_after_change_of_grouping() -> None:
    data = b"".join(raw([(b"stdout", b"F", b"more", 1), (b"stdout", b"F", b"\tat a.B.c(B.java:1)", 1)]))
    for grouping in (Grouping(), Grouping("off")):
        grouper = Grouper(grouping)
        grouper.add_runs([(0, 0, data)], continuations=[Continuation("stdout", 3, PATTERN_EVENT)])

        assert [event[5:] for event in grouper.finish()] == [(b"more", SPLIT, 3), (b"\tat a.B.c(B.java:1)", 0, 0)]


def test_single_line_limit_splits_every_line_of_trace() -> None:
    raw_lines = raw([(b"stdout", b"F", b"java.lang.Error: x", 1)] + [(b"stdout", b"F", b"\tat a.B.c(B.java:1)", 1)] * 2)
    events = group(b"".join(raw_lines), grouping=Grouping(max_lines=1))

    assert [event[6:] for event in events] == [(SPLIT, 1), (SPLIT, 2), (SPLIT, 3)]


def test_pod_requests_its_grouping() -> None:
    default = Grouping("pattern", pattern="^x")

    assert requested_grouping(default, "") == (default, "")
    assert requested_grouping(default, "off") == (Grouping("off"), "")
    assert requested_grouping(default, "traces") == (Grouping(), "")
    assert requested_grouping(default, "^y") == (Grouping("pattern", pattern="^y"), "")
    assert requested_grouping(default, "(") == (Grouping(), "pattern '(': missing ): (")


def test_raw_line_longer_than_an_event_is_split_into_pieces() -> None:
    raw_lines = raw([(b"stdout", b"P", b"open", 1), (b"stdout", b"F", b"x" * 250, 1), (b"stdout", b"F", b"end", 1)])
    events = group(b"".join(raw_lines), grouping=Grouping(max_bytes=100))

    assert [(event[2], event[4], event[6], event[7]) for event in events] == [
        (len(raw_lines[0]), b"stdout", PARTIAL, 0),
        (100, b"stdout", SPLIT, 1),
        (100, b"", SPLIT | UNPARSED, 2),
        (len(raw_lines[1]) - 200, b"", SPLIT | UNPARSED, 3),
        (len(raw_lines[2]), b"stdout", 0, 0),
    ]
    assert b"".join(event[5] for event in events[1:4]) == b"x" * 250


def test_line_in_too_many_places_continues_as_another_part() -> None:
    raw_lines = raw([(b"stdout", b"P", b"a", 1), (b"stderr", b"F", b"-", 1)] * 4)
    events = group(b"".join(raw_lines), grouping=Grouping(max_places=3))

    assert [(event[5], event[6], event[7]) for event in events if event[4] == b"stdout"] == [
        (b"aaa", SPLIT, 1),
        (b"a", SPLIT | PARTIAL, 2),
    ]


@settings(max_examples=4 * settings().max_examples)
@given(LINES, GROUPINGS, st.sampled_from([b"", b"2026-11-24T09:42:29.1Z"]), st.booleans(), st.integers(0, 2))
def test_slice_of_one_line_has_the_event_that_the_grouper_makes(
    lines: list[tuple[bytes, bytes, bytes, int]],
    grouping: Grouping,
    previous_time: bytes,
    has_newline: bool,  # noqa: FBT001
    carried: int,
) -> None:
    """The short way for slices of one line; in the file the last line may end without a newline."""
    continuations = [(), (Continuation("stdout", 2, 0),), (Continuation("", 3, 0),)][carried]
    for line in raw(lines):
        segment = Segment(0, 77, len(line) - (not has_newline))
        files = (SourceFile("AAAAAAAAAAAAAAAA", "/0.log"),)
        log_slice = LogSlice(line, files, (segment,), "n", 1, grouping, b"{}", previous_time, continuations)
        grouper = Grouper(grouping)
        grouper.add_runs(slice_runs(log_slice), previous_time, continuations)
        assert group_slice(log_slice) == grouper.finish()

"""Stack traces of every language are one event; unrelated lines stay apart."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.record import Grouping
from pipeline.grouping import frames, message_lines, stack_trace
from pipeline.grouping.grouper import Grouper
from pipeline.parsing import exception
from tests.pipeline.grouping.traces import read_traces


def group(lines: list[tuple[str, str]]) -> list[str]:
    """The events of lines (stream, text) that are a millisecond apart."""
    data = "".join(
        f"2026-01-01T00:00:{number // 1000:02d}.{number % 1000:03d}Z {stream} F {text}\n"
        for number, (stream, text) in enumerate(lines)
    )
    grouper = Grouper(Grouping())
    grouper.add_runs([(0, 0, data.encode())])
    return [event[5].decode() for event in grouper.finish()]


def events(text: str) -> list[str]:
    """The events of the lines of a text on one stream."""
    return group([("stderr", line) for line in text.split("\n")])


TRACES = read_traces()


@pytest.mark.parametrize("name", TRACES)
def test_trace_between_ordinary_lines_is_one_event(name: str) -> None:
    trace = TRACES[name]

    assert events(f"before it\n{trace}\nafter it\nand more") == ["before it", trace, "after it", "and more"]


@pytest.mark.parametrize("name", TRACES)
def test_two_adjacent_traces_are_two_events(name: str) -> None:
    trace = TRACES[name]

    assert events(f"{trace}\n{trace}") == [trace, trace]


@pytest.mark.parametrize(
    "text",
    [
        "an error came\nand went",
        "ERROR one\nERROR two",
        "list:\n  one\n  two",
        '{"message":"java.lang.Error: x"}\n{"message":"\\tat x"}',
        "goroutine pool started\nready",
        "INFO fine\njava.lang.Error: x",
        "ERROR bad\norder 5 refused",
        "Unhandled exception:\n{}",
        "Traceback (most recent call last):\n[2026-01-01] INFO fine",
        "Nov 24, 2026 10:00:00 AM shop.Orders load\norder 5",
        "Nov 24, 2026 10:00:00 AM the order came\nINFO: fine",
        "[SQL: SELECT 1]\n[parameters: ()]",
        "ERROR bad\n/srv/orders is empty",
        "DETAIL:  one\nHINT:  two",
        "two errors:\n#1 no order\n#2 no price",
        "shop.IOError: gone\norder 5 refused\nand more",
        "shop.IOError: gone\nINFO fine\n\tat the shop",
        "shop.IOError: gone\n2026-01-01 fine\n\tat shop.A.b(A.java:1)",
        "the Error: gone\n\norder 5",
        "ERROR bad\n\norder 5 refused",
        "ERROR bad\n\nWARN bad too",
        "ERROR bad\nmain.main\nmore",
        "main.main\n\t/srv/main.go:3",
        "order refused\nmain.main\n\t/srv/main.go:3",
        "2 validation errors for Order\nid\nname",
        "Summary (today):\n3 orders",
        "/srv/a.js:5\norder 5\nthe end",
        "order 5\n^\nthe end",
        "[parameters: {}]\n(Background on this error at: x)",
        "[5b1f-77] started\n[5b1f-77] NoMethodError (no order):\n[77] app/a.rb:6 in it",
        "! java.lang.Error: x\n! at shop.A.b(A.java:1)",
        '{"a": 1,\n"stacktrace": 5}',
        "Caused by:\nStack backtrace:",
        "GET / HTTP/1.1\nHost: example.com",
    ],
)
def test_ordinary_lines_stay_apart(text: str) -> None:
    assert events(text) == text.split("\n")


@pytest.mark.parametrize(
    "after", ["WARNING: disk almost full", "INFO:root:fine", "Message: 'x'", "shop.Trouble: x", "order 5", ""]
)
def test_stack_without_an_error_ends_at_the_next_line(after: str) -> None:
    stack = '  File "/srv/a.py", line 3, in <module>\n    traceback.print_stack()'

    assert events(f"before\n{stack}\n{after}") == ["before", stack, after]
    assert events(f"Stack (most recent call last):\n{stack}\n{after}")[1:] == [after]


def test_message_is_joined_up_to_a_limit_of_lines() -> None:
    for count in (message_lines.MAX_LINES, message_lines.MAX_LINES + 1):
        text = "\n".join(["shop.IOError: gone", *["and more"] * count, "\tat shop.A.b(A.java:1)"])

        assert len(events(text)) == (1 if count == message_lines.MAX_LINES else count + 2)


def test_gap_within_a_message_separates_it() -> None:
    lines = [b"shop.IOError: gone", b"and more", b"\tat shop.A.b(A.java:1)"]
    grouper = Grouper(Grouping())
    raw = [b"2026-01-01T00:00:%02dZ stdout F %b\n" % pair for pair in zip((0, 2, 2), lines, strict=True)]
    grouper.add_runs([(0, 0, b"".join(raw))])

    assert [event[5] for event in grouper.finish()] == lines


@pytest.mark.parametrize("month", ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
def test_record_of_two_lines_with_any_month_is_one_event(month: str) -> None:
    text = f"{month} 3, 2026 1:00:00 PM shop.Orders load\nFINE: no order"

    assert events(f"before\n{text}\nafter") == ["before", text, "after"]


def test_streams_are_never_joined() -> None:
    lines = [("stderr", "java.lang.Error: x"), ("stdout", "\tat not.of.it"), ("stderr", "\tat a.B.c(B.java:1)")]

    assert group(lines) == ["java.lang.Error: x\n\tat a.B.c(B.java:1)", "\tat not.of.it"]


POOL = [
    *sorted({line.encode() for trace in TRACES.values() for line in trace.split("\n")}),
    b"plain text",
    b"INFO fine",
    b'{"a":1}',
    b"  nested exception is:",
    b"goroutine 1 [running]:",
    b"main.main()",
    b"rax    0x0",
    b"rbx    0x1",
    b"exit status 2",
    b"Unhandled exception:",
    b"#0      main (file:///a.dart:1:1)",
    b" ActionController::RoutingError (No route):",
    b"  ",
    b"  puma (3.10.0) lib/puma/server.rb:225:in `call'",
]
CONTENT = st.one_of(st.sampled_from(POOL), st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")))


@given(st.lists(CONTENT, min_size=2, max_size=12))
def test_line_that_certainly_starts_an_event_always_does(contents: list[bytes]) -> None:
    times = (b"2026-01-01T00:00:00.%03dZ" % number for number in range(len(contents)))
    raw = [b"%b stdout F %b\n" % pair for pair in zip(times, contents, strict=True)]
    grouper = Grouper(Grouping())
    grouper.add_runs([(0, 0, b"".join(raw))])
    starts = {event[1] for event in grouper.finish()}

    position = 0
    for number, (previous, content, line) in enumerate(zip(contents, contents[1:], raw, strict=False)):
        position += len(line)
        within_message = any(message_lines.may_begin(earlier) for earlier in contents[: number + 1])
        if stack_trace.certainly_starts_event(previous, content) and not within_message:
            assert position in starts


@given(CONTENT, CONTENT)
def test_second_line_may_continue_unless_the_first_decides_at_once(first: bytes, second: bytes) -> None:
    state = stack_trace.start_state(first)
    # A trace that was cut before a frame begins with that frame: its last line is an event of its own, on both sides.
    cut = first[:1] in {b" ", b"\t"}

    # After an undecided line an exception's class is looked for only in common packages (`ja`, `or`, …): a frame must
    # prove any other.
    uncommon_class = frames.ERROR_CLASS.match(second) and not stack_trace.may_continue(second)
    if (
        state
        and not cut
        and not uncommon_class
        and not stack_trace.decides_at_once(first)
        and stack_trace.next_state(state, second)
    ):
        assert stack_trace.may_continue(second)


def test_class_of_an_uncommon_package_after_a_log_line_continues_it_if_a_frame_follows() -> None:
    text = "WARNING: no lines\nshop.db.IntegrityError: duplicate key"

    assert events(text) == text.split("\n")
    assert events(f"{text}\n\tat shop.Db.load(Db.java:7)") == [f"{text}\n\tat shop.Db.load(Db.java:7)"]


@given(st.sampled_from(stack_trace.STATES), CONTENT)
def test_next_state_is_a_state_or_the_end(state: int, content: bytes) -> None:
    assert stack_trace.next_state(state, content) in {0, *stack_trace.STATES}


@pytest.mark.parametrize("unit", [b"a", b" ", b"a.", b":1", b"(", b"Exception ", b"at ", b"1:in ", b"x:1:in y "])
def test_very_long_line_takes_linear_time(unit: bytes) -> None:
    content = (unit * 2**20)[: 2**20]

    for state in stack_trace.STATES:
        stack_trace.next_state(state, content)
        stack_trace.next_state(state, b"  " + content)
    stack_trace.start_state(content)
    exception.from_trace(content.decode())
    exception.from_line(content.decode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("java", ("java.lang.IllegalStateException", "no order")),
        ("python", ("shop.Trouble", "")),
        ("python logging", ("KeyError", "'x'")),
        ("go", ("panic", "runtime error: invalid memory address or nil pointer dereference")),
        ("node", ("TypeError", "boom")),
        ("csharp", ("System.InvalidOperationException", "boom")),
        ("ruby", ("ZeroDivisionError", "divided by 0")),
        ("ruby 3.4", ("RuntimeError", "boom")),
        ("rails", ("ActionView::Template::Error", "no order")),
        ("php", ("Exception", "boom")),
        ("php 5", ("ShopException", "no order")),
        ("monolog", ("ShopError", "boom")),
        ("rust", ("panic", "index out of bounds: the len is 3 but the index is 7")),
        ("rust before 1.73", ("panic", "no order")),
        ("rust with its number", ("panic", "no order")),
        ("python syntax", ("SyntaxError", "expected ':'")),
        ("python group", ("ExceptionGroup", "two (2 sub-exceptions)")),
        ("celery", ("KeyError", "'x'")),
        ("java in a log line", ("java.lang.Error", "x")),
        ("java in a thread", ("java.lang.NullPointerException", 'no "shop"')),
        ("dotnet console", ("System.InvalidOperationException", "boom")),
        ("csharp within", ("System.AggregateException", "One or more errors occurred. (boom)")),
        ("go http", ("panic", "boom")),
        ("go klog", ("panic", "boom")),
        ("dart shows what it read", ("FormatException", "Unexpected character (at line 1, character 3)")),
        ("elixir", ("RuntimeError", "boom")),
        ("jul with a trace", ("java.lang.IllegalStateException", "no order")),
        ("tomcat", ("java.lang.NullPointerException", "no order")),
        ("python, a task that nobody awaited", ("KeyError", "'x'")),
        ("csharp behind its log line", ("System.InvalidOperationException", "boom")),
        ("ruby in rails", ("NoMethodError", "undefined method `total' for nil:NilClass")),
        ("ruby's logger", ("KeyError", "no order")),
        ("node unhandled", ("Error", "boom")),
        ("ruby 2.6", ("RuntimeError", "boom")),
        ("php with a cause", ("RuntimeException", "no order")),
    ],
)
def test_error_is_parsed_from_the_trace(name: str, expected: tuple[str, str]) -> None:
    text = TRACES[name]

    assert exception.from_trace(text) == expected


def test_message_of_an_error_keeps_its_details() -> None:
    error = exception.from_trace(TRACES["python with its statement"])

    assert error is not None
    assert error[0] == "shop.db.IntegrityError"
    assert "DETAIL:  Key (id)=(1) already exists." in error[1]


@pytest.mark.parametrize(
    ("previous", "content"),
    [(b"rax    0x0", b"rbx    0x1"), (b"main.main()", b"main.run(0x1)"), (b"cs     0x33", b"...")],
)
def test_go_functions_and_registers_may_follow_each_other(previous: bytes, content: bytes) -> None:
    assert not stack_trace.certainly_starts_event(previous, content)
    assert stack_trace.certainly_starts_event(b"GET /x(1)", b"plain")


@pytest.mark.parametrize(
    "pattern", [frames.ERROR_WORDS, stack_trace._LOGGED, stack_trace._PANIC], ids=("error_words", "logged", "panic")
)
def test_prefilter_matches_every_line_of_the_full_patterns(pattern: re.Pattern[bytes]) -> None:
    @given(st.from_regex(pattern))
    def check(content: bytes) -> None:
        assert stack_trace._ERROR_PREFILTER.search(content)

    check()

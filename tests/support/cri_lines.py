"""Runs of CRI lines for property tests: both streams, partial lines, stack traces, gaps in time."""

from hypothesis import strategies as st

from tests.pipeline.grouping.traces import read_traces

SECOND = 1_000_000_000
"""In nanoseconds."""
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
    b"ERROR failed",
    b"Shop$PaymentException: x",
    b"Detail: c",
    b"main.zap",
    b"\t/srv/main.go:3",
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
def partial_traces(draw: st.DrawFn) -> list[tuple[bytes, bytes, bytes, int]]:
    """Some consecutive lines of a trace of any language, on one stream."""
    trace = draw(st.sampled_from(TRACES))
    first = draw(st.integers(0, 3))
    stream = draw(st.sampled_from((b"stdout", b"stderr")))
    return [(stream, b"F", content, 1_000_000) for content in trace[first : first + draw(st.integers(1, 9))]]


LINES = st.lists(st.one_of(LINE, LINE, LINE, partial_traces()), max_size=14).map(
    lambda parts: [line for part in parts for line in (part if isinstance(part, list) else [part])]
)


def raw(lines: list[tuple[bytes, bytes, bytes, int]]) -> list[bytes]:
    """CRI lines (for the stream `?`: other lines), each after the given gap."""
    raw_lines = []
    elapsed = 0
    for stream, tag, content, gap in lines:
        elapsed += gap
        seconds, fraction = divmod(elapsed, SECOND)
        clock = b"%02d:%02d:%02d.%09dZ" % (seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)
        head = b"2026-01-01T" + clock + b" %b %b " % (stream, tag)
        raw_lines.append((head + content if stream != b"?" else b"no cri " + content) + b"\n")
    return raw_lines

"""Stack traces of every language are one event; what does not belong together stays apart."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import multiline
from pipeline.grouping import Grouper
from pipeline.record import Grouping

ROOT = Path(__file__).parent.parent.parent
CASES = ROOT.parent / "shared" / "cases" / "multiline.jsonl"


def grouped(lines: list[tuple[str, str]]) -> list[str]:
    """The events of lines (stream, text) that come a millisecond apart."""
    data = "".join(
        f"2026-01-01T00:00:{number // 1000:02d}.{number % 1000:03d}Z {stream} F {text}\n"
        for number, (stream, text) in enumerate(lines)
    )
    grouper = Grouper(Grouping())
    grouper.feed([(0, 0, data.encode())])
    return [event[5].decode() for event in grouper.finish()]


def events(text: str) -> list[str]:
    """The events of the lines of a text on one stream."""
    return grouped([("stderr", line) for line in text.split("\n")])


TRACES = {
    "java": """java.lang.IllegalStateException: no order
\tat shop.Orders.load(Orders.java:17)
\tat java.base/java.lang.Thread.run(Thread.java:1583)
\tSuppressed: java.io.IOException: closed
\t\tat shop.Db.close(Db.java:3)
Caused by: java.sql.SQLException: gone
\tat shop.Db.query(Db.java:9)
\t... 12 common frames omitted""",
    "java in a log line": """2026-11-24 10:00:00,123 ERROR [main] shop.Orders - failed: java.lang.Error: x
\tat shop.Orders.load(Orders.java:17)""",
    "java behind its log line": """[2026-11-24 11:56:56,598] WARN [Server] Error (o.a.k.Selector)
org.apache.kafka.common.network.InvalidReceiveException: Invalid receive (size = 1195725856)
\tat org.apache.kafka.common.network.NetworkReceive.readFrom(NetworkReceive.java:95) ~[kafka-clients-4.1.1.jar:?]
\tat java.base/java.lang.Thread.run(Thread.java:840) [?:?]""",
    "python": """Traceback (most recent call last):
  File "/srv/a.py", line 3, in f
    g()
    ^^^
ValueError: no number

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/a.py", line 5, in <module>
    raise shop.Trouble from None
shop.Trouble""",
    "python logging": """ERROR:shop.mailer:mail failed
Traceback (most recent call last):
  File "/srv/a.py", line 3, in f
    g()
KeyError: 'x'""",
    "python group": """  + Exception Group Traceback (most recent call last):
  |   File "/srv/a.py", line 3, in f
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +------------------------------------""",
    "go": """panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47b6a2]

goroutine 1 [running]:
main.(*Shop).Load(0x0, {0xc000012345, 0x5})
\t/srv/main.go:12 +0x1d
main.main()
\t/srv/main.go:20 +0x1c
exit status 2""",
    "go http": """2026/11/24 10:00:00 http: panic serving 10.0.0.1:4321: boom
goroutine 34 [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1868 +0xb9
created by net/http.(*Server).Serve in goroutine 1
\t/usr/local/go/src/net/http/server.go:3086 +0x5cb""",
    "node": """/srv/index.js:3
    throw new TypeError('boom');
    ^

TypeError: boom
    at main (/srv/index.js:3:11)
    at node:internal/main/run_main_module:28:49 {
  code: 'E_BOOM'
}""",
    "csharp": """Unhandled exception. System.InvalidOperationException: boom
 ---> System.ArgumentException: inner
   at Shop.Orders.Load() in /srv/Orders.cs:line 12
   --- End of inner exception stack trace ---
   at Shop.Program.Main(String[] args) in /srv/Program.cs:line 5""",
    "dotnet console": """fail: Shop.Orders[17]
      order refused
      System.InvalidOperationException: boom
         at Shop.Orders.Load() in /srv/Orders.cs:line 12""",
    "ruby": """orders.rb:6:in `/': divided by 0 (ZeroDivisionError)
\tfrom orders.rb:6:in `load'
\tfrom orders.rb:9:in `<main>'""",
    "php": """PHP Fatal error:  Uncaught Exception: boom in /srv/index.php:3
Stack trace:
#0 /srv/index.php(7): load()
#1 {main}
  thrown in /srv/index.php on line 3""",
    "rust": """thread 'main' panicked at src/main.rs:2:5:
index out of bounds: the len is 3 but the index is 7
stack backtrace:
   0: rust_begin_unwind
             at /rustc/std/src/panicking.rs:647:5
note: Some details are omitted""",
}


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_one_event_between_ordinary_lines(name: str) -> None:
    trace = TRACES[name]

    assert events(f"before it\n{trace}\nafter it\nand more") == ["before it", trace, "after it", "and more"]


@pytest.mark.parametrize("name", TRACES)
def test_two_traces_back_to_back_are_two(name: str) -> None:
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
    ],
)
def test_ordinary_lines_stay_apart(text: str) -> None:
    assert events(text) == text.split("\n")


def test_streams_never_join() -> None:
    lines = [("stderr", "java.lang.Error: x"), ("stdout", "\tat not.of.it"), ("stderr", "\tat a.B.c(B.java:1)")]

    assert grouped(lines) == ["java.lang.Error: x\n\tat a.B.c(B.java:1)", "\tat not.of.it"]


POOL = [
    *sorted({line.encode() for trace in TRACES.values() for line in trace.split("\n")}),
    b"plain text",
    b"INFO fine",
    b'{"a":1}',
    b"  nested exception is:",
    b"Unhandled exception:",
    b"#0      main (file:///a.dart:1:1)",
    b" ActionController::RoutingError (No route):",
    b"  ",
    b"  puma (3.10.0) lib/puma/server.rb:225:in `call'",
]
CONTENT = st.one_of(st.sampled_from(POOL), st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")))


@given(st.lists(CONTENT, min_size=2, max_size=12))
def test_what_separates_always_begins_an_event(contents: list[bytes]) -> None:
    times = (b"2026-01-01T00:00:00.%03dZ" % number for number in range(len(contents)))
    raw = [b"%b stdout F %b\n" % pair for pair in zip(times, contents, strict=True)]
    grouper = Grouper(Grouping())
    grouper.feed([(0, 0, b"".join(raw))])
    begins = {event[1] for event in grouper.finish()}

    position = 0
    for before, content, line in zip(contents, contents[1:], raw, strict=False):
        position += len(line)
        if multiline.separates(before, content):
            assert position in begins


@given(CONTENT, CONTENT)
def test_a_second_line_shows_its_shape_unless_the_first_ends_with_a_colon(first: bytes, second: bytes) -> None:
    state = multiline.start(first)

    if state and not first.endswith(b":") and multiline.step(state, second):
        assert multiline.may_continue(second)


@given(st.sampled_from(multiline.STATES), CONTENT)
def test_every_state_leads_to_a_state_or_to_the_end(state: int, content: bytes) -> None:
    assert multiline.step(state, content) in {0, *multiline.STATES}


@pytest.mark.parametrize("unit", [b"a", b" ", b"a.", b":1", b"(", b"Exception ", b"at ", b"1:in ", b"x:1:in y "])
def test_a_very_long_line_is_no_harm(unit: bytes) -> None:
    content = (unit * 2**20)[: 2**20]

    for state in multiline.STATES:
        multiline.step(state, content)
        multiline.step(state, b"  " + content)
    multiline.start(content)
    multiline.error_of(content.decode())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("java", ("java.lang.IllegalStateException", "no order")),
        ("python", ("shop.Trouble", "")),
        ("python logging", ("KeyError", "'x'")),
        ("go", ("panic", "runtime error: invalid memory address or nil pointer dereference")),
        ("node", ("TypeError", "boom")),
        ("csharp", ("System.InvalidOperationException", "boom")),
        ("ruby", ("ZeroDivisionError", "divided by 0")),
    ],
)
def test_the_error_is_read_from_the_trace(name: str, error: tuple[str, str]) -> None:
    text = TRACES[name]

    assert multiline.error_of(text if name != "node" else text.partition("\n\n")[2]) == error

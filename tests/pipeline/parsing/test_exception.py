"""Type and message of an exception: what a grammar proves, and nothing that only resembles it."""

import orjson
import pytest

from pipeline.parsing import exception
from pipeline.parsing.json import json_body
from pipeline.parsing.text import text_formats
from tests.pipeline.grouping.traces import read_traces

TRACES = read_traces()
SPRING = (
    "could not execute statement [ERROR: duplicate key\nDetail: Key (id)=(1) already exists.] "
    "[insert into orders (id) values (?)]\n\nmore of it"
)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("spring boot, a blank line on both sides", "java.lang.IllegalStateException", "x"),
        ("spring boot, a message of several lines", "shop.db.DataIntegrityViolationException", SPRING),
        ("java, an uncommon class behind its log line", "Shop$PaymentException", "order 4711 failed\nDetail: no funds"),
        ("java, messages of several lines", "shop.Trouble", "first\nsecond"),
        ("java with a message of two lines", "org.shop.db.QueryException", 'ERROR: no table "orders"\n  Position: 15'),
        ("logback, root cause first", "java.lang.IllegalStateException", "no order"),
        ("reactor's assembly", "java.lang.IllegalStateException", "x"),
        ("dropwizard", "java.lang.IllegalStateException", "x"),
        ("coloured level before its trace", "java.lang.IllegalStateException", "x"),
        ("go panics twice", "panic", "b"),
        ("gin's recovery", "panic", "card declined"),
        ("gin's recovery in release mode", "panic", "card declined"),
        ("pkg/errors", "", ""),
        ("zap", "", ""),
        (
            "csharp, its parts not indented",
            "System.IO.FileNotFoundException",
            "Could not load file or assembly 'Shop, Version=1.0.0.0'.\nFile name: 'Shop, Version=1.0.0.0'",
        ),
        ("npgsql", "Npgsql.PostgresException", '42P01: relation "orders" does not exist\n\nPOSITION: 15'),
        ("sql server", "Microsoft.Data.SqlClient.SqlException", "Invalid object name 'orders'."),
        ("sql server behind its log line", "Microsoft.Data.SqlClient.SqlException", "Invalid object name 'orders'."),
        ("dotnet console with a time", "System.InvalidOperationException", "boom"),
        ("node with a text", "PaymentError", "card declined"),
        ("node emitted", "PaymentError", "card declined"),
        ("node at the top", "PaymentError", "card declined\nsecond"),
        ("nest", "PaymentError", "card declined"),
        ("rails with tags", "NoMethodError", "undefined method `total' for nil:NilClass"),
        ("php in fpm", "Exception", "boom"),
        ("php, a message of two lines", "PDOException", "no order\nand no line"),
        ("rust before 1.73, with its backtrace", "panic", "no order"),
        ("python spaced by loguru", "ValueError", "card declined"),
        ("python in tornado", "ValueError", "card declined"),
        ("python, an error within logging", "TypeError", "not all arguments converted during string formatting"),
        (
            "java, a class within an exception's",
            "feign.FeignException$NotFound",
            '[404 Not Found] during [GET] to [http://shop/5]: [{"id":5}]',
        ),
        (
            "java, an outer error of an uncommon class",
            "shop.Callback$NotImplemented",
            "java.lang.IllegalStateException: x",
        ),
        ("csharp, a class within another", "Shop.Pay+NoOrderException", "no order 5"),
        ("python, a class within a function", "__main__.main.<locals>.Gone", "5"),
        ("python, a fatal error", "", "Segmentation fault"),
        ("ruby, an uncommon class", "Shop::Missing", "no order"),
        ("ruby, with its source", "NoMethodError", "undefined method 'id' for nil"),
        ("node, an event within a crash", "Error", "listen EADDRINUSE: address already in use :::3000"),
        (
            "node, a rejection without an error",
            "UnhandledPromiseRejection",
            'This error originated by rejecting a promise with the reason "no order".',
        ),
        ("pino-pretty", "PayError", "declined"),
        ("python group behind its log line", "ExceptionGroup", "all failed (1 sub-exception)"),
    ],
)
def test_error_of_a_trace_is_the_outer_one_with_its_whole_message(name: str, kind: str, message: str) -> None:
    assert exception.from_trace(TRACES[name]) == (kind, message)


@pytest.mark.parametrize(
    "text",
    [
        "info: Shop.Import[1]\n      ErrorCount: 0\n      FailureRate: 2",
        "info: Shop.Import[1]\n      ImportError: 0",
        "Summary (today):\n  3 orders",
        '  File "/srv/a.py", line 3, in f\n    traceback.print_stack()',
        "Traceback (most recent call last):\n",
        'Traceback (most recent call last):\n  File "/srv/a.py", line 3, in f\nINFO: fine',
        "Trace: here\n    at main (/srv/a.js:3:1)",
        "2026-11-24 panic: the button\nwas pressed",
        "INFO two lines\nand no error",
    ],
)
def test_text_without_a_proof_has_no_error(text: str) -> None:
    assert exception.from_trace(text) is None


def test_null_is_no_message() -> None:
    assert exception.from_trace("java.lang.NullPointerException: null\n\tat a.B.c(B.java:1)") == (
        "java.lang.NullPointerException",
        "",
    )


def test_errors_that_node_prints_in_brackets_have_their_own_type() -> None:
    text = "[AggregateError: All promises were rejected] {\n  [errors]: [\n    TypeError: x\n        at a (b.js:1:1)\n"

    assert exception.from_trace(text) == ("AggregateError", "All promises were rejected")


STACK = "shop.Trouble: first\nsecond\n\tat shop.A.b(A.java:1)"


@pytest.mark.parametrize(
    "body",
    [
        {"stack_trace": STACK},
        {"exc_info": STACK},
        {"exception": STACK},
        {"stack": STACK},
        {"error.stack_trace": STACK},
        {"error": {"stack_trace": STACK}},
        {"stackTraceAsArray": STACK.split("\n")},
        {"stacktrace": STACK.split("\n")},
    ],
)
def test_error_of_a_json_object_is_parsed_from_its_stack_trace(body: dict[str, object]) -> None:
    fields = json_body.parse_fields(orjson.dumps({"message": "failed", "level": "error", **body}), 100)

    assert fields is not None
    assert (fields["error.type"], fields["error.message"]) == ("shop.Trouble", "first\nsecond")
    assert fields["error.stack_trace"] == STACK


def test_error_that_a_json_object_names_is_kept() -> None:
    body = {"message": "failed", "error.type": "Own", "error.message": "own", "error.stack_trace": STACK}

    assert json_body.parse_fields(orjson.dumps(body), 100) == body


def test_first_of_the_exceptions_of_structlog_is_the_error() -> None:
    frame = {"filename": "/srv/a.py", "lineno": 3, "name": "load"}
    errors = [{"exc_type": kind, "exc_value": kind, "frames": [frame]} for kind in ("KeyError", "ValueError")]
    fields = json_body.parse_fields(orjson.dumps({"message": "failed", "exception": errors}), 100)

    assert fields is not None
    assert (fields["error.type"], fields["error.message"]) == ("KeyError", "KeyError")
    assert 'File "/srv/a.py", line 3, in load' in fields["error.stack_trace"]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("PHP Warning:  Undefined variable $x in /srv/a.php on line 3", {"log.level": "warn"}),
        (
            "NOTICE: PHP message: PHP Fatal error:  Uncaught ShopError: boom in /srv/index.php:3",
            {"log.level": "fatal", "error.type": "ShopError", "error.message": "boom"},
        ),
        ("NOTICE: PHP message: order 5", {"log.level": "notice"}),
        ("java.lang.NullPointerException: null", {"error.type": "java.lang.NullPointerException"}),
    ],
)
def test_line_with_an_error_has_its_level_and_type(line: str, fields: dict[str, str] | None) -> None:
    assert text_formats.parse(line) == fields

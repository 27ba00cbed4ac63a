"""Lines that begin with a time: loggers of many languages, servers and databases."""

from typing import Any

import pytest

from pipeline.message import textformat

LINES: list[tuple[str, dict[str, Any]]] = [
    (
        "[2026-11-24 10:00:00 +0000] [7] [INFO] Booting worker with pid: 7",
        {"@timestamp": "2026-11-24T10:00:00+00:00", "log.level": "info", "process.pid": 7},
    ),
    (
        "[2026-11-24T10:00:00,123][WARN ][o.e.c.Disk ] [n] high disk watermark",
        {"log.level": "warn", "log.logger": "o.e.c.Disk"},
    ),
    (
        "[2026-11-24 10:51:30,233] INFO [Server id=1] started (kafka.server.KafkaServer)",
        {"log.level": "info", "log.logger": "kafka.server.KafkaServer"},
    ),
    (
        "2026-11-24 10:00:00,123 [main] ERROR c.e.Foo - failed to do the thing",
        {"log.level": "error", "process.thread.name": "main", "log.logger": "c.e.Foo"},
    ),
    (
        "10:00:00.123 [main] INFO  com.example.App - started",
        {"log.level": "info", "process.thread.name": "main", "log.logger": "com.example.App"},
    ),
    (
        "2026-11-24 10:00:00,123 INFO  [w-1] shop.Index - x",
        {"log.level": "info", "log.logger": "shop.Index", "process.thread.name": "w-1"},
    ),
    (
        "2026-01-01T12:00:00.123+01:00  INFO 1 --- [shop] [           main] c.e.App       : Started App in 3.2 seconds",
        {
            "@timestamp": "2026-01-01T12:00:00.123+01:00",
            "log.level": "info",
            "log.logger": "c.e.App",
            "process.thread.name": "main",
            "process.pid": 1,
        },
    ),
    ("2026-11-24 10:00:00,123 - shop.mail - WARNING - x", {"log.level": "warn", "log.logger": "shop.mail"}),
    (
        '2026-11-24T10:00:00.123Z\tDEBUG\tsetup\tstarting manager\t{"a": 1}',
        {"@timestamp": "2026-11-24T10:00:00.123Z", "log.level": "debug", "log.logger": "setup"},
    ),
    (
        "2026-11-24T10:00:00.123Z\tINFO\tcontroller/main.go:12\tstarting",
        {
            "@timestamp": "2026-11-24T10:00:00.123Z",
            "log.level": "info",
            "log.origin.file.name": "controller/main.go",
            "log.origin.file.line": 12,
        },
    ),
    (
        "2026-11-24 10:00:00.123 UTC [123] LOG:  database ready",
        {"@timestamp": "2026-11-24T10:00:00.123Z", "log.level": "info", "process.pid": 123},
    ),
    (
        '2026-11-24 10:00:00.123 UTC [123] ERROR:  relation "x" does not exist at character 15',
        {"@timestamp": "2026-11-24T10:00:00.123Z", "log.level": "error", "process.pid": 123},
    ),
    (
        '2026-11-24 10:00:00.123 UTC [123] app@shop ERROR:  relation "x" does not exist',
        {"@timestamp": "2026-11-24T10:00:00.123Z", "log.level": "error", "process.pid": 123},
    ),
    ("2026-11-24 10:00:00.123 UTC [123] STATEMENT:  select 1", {"@timestamp": "2026-11-24T10:00:00.123Z"}),
    (
        "2026-11-24T10:00:00.123456Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.",
        {"@timestamp": "2026-11-24T10:00:00.123456Z", "log.level": "warn"},
    ),
    ("2026-11-24 10:00:00 0 [Note] mariadbd: ready for connections.", {"log.level": "notice"}),
    (
        "2026-11-24 10:00:00.123456+00:00 [info] <0.222.0> Starting broker",
        {"@timestamp": "2026-11-24T10:00:00.123456+00:00", "log.level": "info"},
    ),
    (
        "2026/11/24 10:00:00 [crit] 29#29: *1 open() failed (2: No such file)",
        {"log.level": "critical", "process.pid": 29},
    ),
    (
        "2026/11/24 10:00:00.123456 main.go:23: listening on :8080",
        {"log.origin.file.name": "main.go", "log.origin.file.line": 23},
    ),
    (
        "[2026-11-24 10:00:00.123][1][info][main] [source/server/server.cc:978] starting main dispatch loop",
        {"log.level": "info", "log.logger": "main", "process.thread.id": 1},
    ),
    (
        "2026-11-24T10:00:00.123456Z\tinfo\txdsproxy\tconnected to upstream XDS server",
        {"@timestamp": "2026-11-24T10:00:00.123456Z", "log.level": "info", "log.logger": "xdsproxy"},
    ),
    (
        "[2026-11-24T10:00:00Z INFO  my_crate::server] listening",
        {"@timestamp": "2026-11-24T10:00:00Z", "log.level": "info", "log.logger": "my_crate::server"},
    ),
    (
        "2026-11-24T10:00:00.123456Z  INFO my_crate::server: listening addr=0.0.0.0:80",
        {"@timestamp": "2026-11-24T10:00:00.123456Z", "log.level": "info", "log.logger": "my_crate::server"},
    ),
    (
        "2026-11-24T10:00:00.123456Z  WARN request{id=1}: my_crate::server: listening addr=0.0.0.0:80",
        {"@timestamp": "2026-11-24T10:00:00.123456Z", "log.level": "warn", "log.logger": "my_crate::server"},
    ),
    (
        "\x1b[2m2026-11-24T10:00:00.123456Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mmy_crate\x1b[0m\x1b[2m:\x1b[0m up",
        {"@timestamp": "2026-11-24T10:00:00.123456Z", "log.level": "info", "log.logger": "my_crate"},
    ),
    ("[10:00:00 INF] Starting up", {"log.level": "info"}),
    ("2026-11-24 10:00:00.123456 I | etcdserver: starting member", {"log.level": "info"}),
    (
        "2026-11-24 10:00:00.123 | INFO     | app.main:run:12 - started",
        {"log.level": "info", "log.logger": "app.main", "log.origin.function": "run", "log.origin.file.line": 12},
    ),
    ("[2026-11-24 10:00:00,123: WARNING/ForkPoolWorker-1] slow", {"log.level": "warn"}),
    (
        "2026-11-24T10:00:00.123+0000 I NETWORK  [listener] connection accepted",
        {"@timestamp": "2026-11-24T10:00:00.123+00:00", "log.level": "info"},
    ),
    (
        "10:00:00,123 INFO  [org.jboss.as] (Controller Boot Thread) WFLYSRV0025: started",
        {"log.level": "info", "log.logger": "org.jboss.as", "process.thread.name": "Controller Boot Thread"},
    ),
    (
        "2026-11-24 10:00:00,123 INFO  [io.quarkus] (main) shop 1.0 on JVM started",
        {"log.level": "info", "log.logger": "io.quarkus", "process.thread.name": "main"},
    ),
    (
        "[2026-11-24T10:00:00.123+0000] {taskinstance.py:1157} INFO - Dependencies all met",
        {
            "@timestamp": "2026-11-24T10:00:00.123+00:00",
            "log.level": "info",
            "log.origin.file.name": "taskinstance.py",
            "log.origin.file.line": 1157,
        },
    ),
    (
        "[2026-11-24 10:00:00] production.ERROR: Undefined variable $x",
        {"log.level": "error", "log.logger": "production"},
    ),
    (
        "2026-11-24T10:00:00.123Z [INFO]  agent: Synced node info",
        {"@timestamp": "2026-11-24T10:00:00.123Z", "log.level": "info", "log.logger": "agent"},
    ),
    (
        "2026-11-24T10:00:00.123+0100 [ERROR] core: sealed",
        {"@timestamp": "2026-11-24T10:00:00.123+01:00", "log.level": "error", "log.logger": "core"},
    ),
    (
        '2026/11/24 10:00:00 [error] 29#29: *1 open() "/x" failed (2: No such file), client: 10.0.0.1, server: _, '
        'request: "GET /x?a=1 HTTP/1.1", upstream: "http://10.0.0.2:80/x", host: "shop.invalid"',
        {
            "log.level": "error",
            "process.pid": 29,
            "source.address": "10.0.0.1",
            "source.ip": "10.0.0.1",
            "http.request.method": "GET",
            "http.version": "1.1",
            "url.original": "/x?a=1",
            "url.path": "/x",
            "url.query": "a=1",
            "url.domain": "shop.invalid",
        },
    ),
    ("[2026-11-24 10:00:00,123] INFO in app: hello", {"log.level": "info", "log.logger": "app"}),
    ("2026-11-24 10:00:00.1234|INFO|Shop.Program|started", {"log.level": "info", "log.logger": "Shop.Program"}),
    (
        "2026-11-24 10:00:00.123 [INFO][88] felix/table.go 710: Invalidating dataplane cache",
        {"log.level": "info", "log.origin.file.name": "felix/table.go", "log.origin.file.line": 710},
    ),
    ("[2026/11/24 10:00:00] [ info] [engine] started (pid=1)", {"log.level": "info", "log.logger": "engine"}),
    ("26/11/24 10:00:00 INFO SparkContext: Running", {"log.level": "info", "log.logger": "SparkContext"}),
    (
        "10:00:00.123 [main] INFO org.shop.Main -- started",
        {"log.level": "info", "process.thread.name": "main", "log.logger": "org.shop.Main"},
    ),
    (
        "2026-11-24T10:00:00.123Z ERROR 1 --- [nio-8080-exec-1] o.a.c.c.C.[.[.[/].[dispatcherServlet]    : threw",
        {
            "@timestamp": "2026-11-24T10:00:00.123Z",
            "log.level": "error",
            "log.logger": "o.a.c.c.C.[.[.[/].[dispatcherServlet]",
            "process.thread.name": "nio-8080-exec-1",
            "process.pid": 1,
        },
    ),
    (
        "2026-11-24 10:00:00 GMT [77] FATAL:  the database system is starting up",
        {"@timestamp": "2026-11-24T10:00:00Z", "log.level": "fatal", "process.pid": 77},
    ),
]


@pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line[:40] for line, _ in LINES])
def test_a_line_tells(line: str, wanted: dict[str, Any]) -> None:
    assert textformat.fields(line) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24",
        "10:00:00 is early",
        "2026-11-24 10:00:00 something happened",
        "2026-11-24 10:00:00 ERROR_CODE is 5",
        "2026-11-24 10:00:00,123 [main] starting up",
        "2026-11-24 10:00:00,123 [main] error of mine",
        "2026-11-24 10:00:00 - shop - nothing",
        "2026-11-24 10:00:00 I think",
        "26/11/24 is a date",
        "2026/11/24 10:00:00 listening on :8080",
        "[2026-11-24] ERROR",
        "[2026-11-24 10:00:00,123][x][y]",
    ],
)
def test_an_unknown_line_tells_nothing(line: str) -> None:
    assert textformat.fields(line) is None


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
        ("2026-11-24 10:00:00,5 UTC", "2026-11-24T10:00:00.5Z"),
        ("2026-11-24 10:00:00.123 GMT", "2026-11-24T10:00:00.123Z"),
        ("2026-11-24T10:00:00.123456789+0530", "2026-11-24T10:00:00.123456789+05:30"),
        ("2026-11-24 10:00:00 -08:00", "2026-11-24T10:00:00-08:00"),
        ("2026-11-24 10:00:00", None),
        ("2026/11/24 10:00:00", None),
        ("10:00:00", None),
    ],
)
def test_a_time_is_taken_where_it_names_its_zone(written: str, time: str | None) -> None:
    found = textformat.fields(f"{written} ERROR it broke")

    assert found is not None
    assert (found["log.level"], found.get("@timestamp")) == ("error", time)


def test_a_zone_alone_makes_a_line_worth_reading() -> None:
    assert textformat.fields("2026-11-24T10:00:00Z it happened") == {"@timestamp": "2026-11-24T10:00:00Z"}


@pytest.mark.parametrize("text", ["ERROR: no relation here", "ERROR failed: no", "INFO done - really", "ERROR see a b"])
def test_a_word_of_the_text_is_no_logger(text: str) -> None:
    assert textformat.fields(f"2026-11-24 10:00:00,123 {text}") == {"log.level": text.split(" ")[0].strip(":").lower()}

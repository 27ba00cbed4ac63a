"""What the captured programs logged: the events of each set-up in their order, as the programs' source has them."""

from dataclasses import dataclass, replace
from typing import Final


class Anything:
    """Matches every value: the set-up does not decide it."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "anything"


ANY: Final = Anything()
Text = str | None | Anything
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass(frozen=True, slots=True)
class Expected:
    """One event: `text` is part of its message; the fields as in the document, None: absent."""

    text: str
    level: Text = None
    logger: Text = None
    error_type: Text = None
    error_message: Text = None
    trace: Text = None
    stack: bool | Anything = ANY
    service: Text = ANY


def info(text: str, logger: Text = None, **fields: Text) -> Expected:
    """An event of level info."""
    return replace(Expected(text, "info", logger), **fields)  # type: ignore[arg-type] # all fields are Text


def error(text: str, kind: Text, message: Text, *, logger: Text = None, level: Text = "error") -> Expected:
    """An event with an exception and its stack trace."""
    return Expected(text, level, logger, kind, message, stack=True)


def three(logger: Text, kind: Text = None, message: Text = None, *, trace: Text = None) -> list[Expected]:
    """The three events of most programs; `kind` and `message` are those of the exception of the third."""
    third = Expected(
        "payment of 4711 failed", "error", logger, kind, message, trace, stack=ANY if kind is None else True
    )
    return [
        Expected("order 4711 paid", "info", logger, trace=trace),
        Expected("stock of 4711 is low", "warn", logger, trace=trace),
        third,
    ]


DECLINED = "card declined"
VALUE_ERROR = ("ValueError", DECLINED)
PAYMENT_ERROR = ("PaymentError", DECLINED)
JAVA = ("Shop$PaymentException", "order 4711 failed\nDetail: no funds")
PAY_SERVICE = "shop.pay.PayService"
_GO = [Expected("order 4711 paid"), Expected("stock of 4711 is low")]
_BOOT = [info("Starting ShopBoot", "ShopBoot"), info("No active profile", "ShopBoot"), info("Started Shop", "ShopBoot")]

PYTHON: dict[str, list[Expected]] = {
    "basic": three("shop.pay", *VALUE_ERROR),
    "asctime": three("shop.pay", *VALUE_ERROR),
    "asctime_level_first": three("shop.pay", *VALUE_ERROR),
    "opentelemetry": three("shop.pay", *VALUE_ERROR, trace=TRACE),
    "json_logger": three("shop.pay", *VALUE_ERROR, trace=TRACE),
    "ecs": three("shop.pay", *VALUE_ERROR),
    "structlog_json": three("shop.pay", *VALUE_ERROR, trace=TRACE),
    "structlog_dicts": three("shop.pay", *VALUE_ERROR, trace=TRACE),
    "structlog_logfmt": three("shop.pay", *VALUE_ERROR, trace=TRACE),
    "structlog_console": three(ANY, *VALUE_ERROR, trace=TRACE),
    "loguru_default": three("__main__", *VALUE_ERROR),
    "loguru_json": three("__main__", *VALUE_ERROR),
    "django": three(ANY, *VALUE_ERROR),
    "flask": three(ANY, *VALUE_ERROR),
    "tornado": three(ANY, *VALUE_ERROR),
    "celery": three(None, *VALUE_ERROR),
    "uncaught": [error("Traceback", *VALUE_ERROR, level=ANY)],
    "exception_group": [error("Traceback", "ExceptionGroup", "2 payments failed (2 sub-exceptions)", level=ANY)],
    "chained": [error("Traceback", "RuntimeError", "order 4711 failed", level=ANY)],
}
_UVICORN_ENDS = ["Shutting down", "Waiting for application shutdown", "shutdown complete", "Finished server process"]
SERVERS: dict[str, list[Expected]] = {
    "uvicorn": [
        *map(info, ["Started server process", "Waiting for application startup", "startup complete", "running on"]),
        info("GET /orders/4711"),
        info("GET /fail"),
        error("Exception in ASGI application", *VALUE_ERROR),
        *map(info, _UVICORN_ENDS),
    ],
    "aiohttp": [
        info("GET /orders/4711", "aiohttp.access"),
        error("Error handling request", *VALUE_ERROR, logger="aiohttp.server"),
        info("GET /fail", "aiohttp.access"),
    ],
    "flask": [
        Expected("GET /orders/4711", ANY),
        error("Traceback", *VALUE_ERROR, level=ANY),
        Expected("GET /fail", ANY),
    ],
    "tornado": [
        info("200 GET /orders/4711", ANY),
        error("Uncaught exception GET /fail", *VALUE_ERROR, logger=ANY),
        Expected("500 GET /fail", "error", ANY),
    ],
    "gunicorn": [
        *map(info, ["Starting gunicorn", "Listening at", "Using worker", "Booting worker"]),
        info("Control socket"),
        Expected("GET /orders/4711", ANY),
        error("Error handling request", *VALUE_ERROR),
        Expected("GET /fail", ANY),
        *map(info, ["Handling signal", "Worker exiting", "Shutting down"]),
    ],
}
NODE: dict[str, list[Expected]] = {
    "console": [
        Expected("order 4711 paid"),
        Expected("stock of 4711 is low"),
        error("PaymentError", *PAYMENT_ERROR, level=ANY),
    ],
    "console_text": [error("payment of 4711 failed", *PAYMENT_ERROR, level=ANY)],
    "cause": [error("order 4711 failed", "PaymentError", "order 4711 failed", level=ANY)],
    "aggregate": [error("2 payments failed", "AggregateError", "2 payments failed", level=ANY)],
    "crash": [error("Node.js v", *PAYMENT_ERROR, level=ANY)],
    "rejection": [error("Node.js v", *PAYMENT_ERROR, level=ANY)],
    "rejection_value": [error("Node.js v", "UnhandledPromiseRejection", ANY, level=ANY)],
    "emitted": [error("Node.js v", *PAYMENT_ERROR, level=ANY)],
    "pino": three(ANY, *PAYMENT_ERROR, trace=TRACE),
    "winston_json": [
        Expected("order 4711 paid", "info", trace=TRACE, service="shop"),
        Expected("stock of 4711 is low", "warn", trace=TRACE, service="shop"),
        error("card declined", *PAYMENT_ERROR),
    ],
    "winston_text": three("shop.pay"),
    "winston_simple": three(None),
    "bunyan": [*three(ANY, trace=TRACE)[:2], Expected("payment of", "error", ANY, "PaymentError", ANY, TRACE)],
    "log4js": three("shop.pay", *PAYMENT_ERROR),
    "nest": three("PayService", *PAYMENT_ERROR),
    "nest_json": three("PayService", *PAYMENT_ERROR),
    "fastify": [
        info("incoming request"),
        info("request completed"),
        info("incoming request"),
        error("card declined", *PAYMENT_ERROR),
        info("request completed"),
    ],
    "express": [
        Expected("GET /orders/4711", ANY),
        Expected("GET /fail", ANY),
        error("PaymentError", *PAYMENT_ERROR, level=ANY),
    ],
}
GO: dict[str, list[Expected]] = {
    "stdlog": [*_GO, Expected("payment of 4711 failed")],
    "slog_default": [*three(None, None, DECLINED, trace=TRACE), Expected("giving up", "error")],
    "slog_text": [*three(None, None, DECLINED, trace=TRACE), Expected("giving up", "error")],
    "slog_json": [*three(None, None, DECLINED, trace=TRACE), Expected("giving up", "error")],
    "zap": three("shop.pay", None, DECLINED, trace=TRACE),
    "zap_development": three("shop.pay", None, DECLINED, trace=TRACE),
    "zap_console": three("shop.pay", None, DECLINED, trace=TRACE),
    "zapr": [info("order 4711 paid", "shop"), Expected("payment of", "error", "shop", None, DECLINED, stack=True)],
    "zerolog": three(None, None, DECLINED, trace=TRACE),
    "zerolog_console": three(None, None, DECLINED, trace=TRACE),
    "logrus": three(None, None, DECLINED, trace=TRACE),
    "logrus_json": three(None, None, DECLINED, trace=TRACE),
    "klog": [
        info("order paid"),
        Expected("stock of 4711 is low", "warn"),
        Expected("payment failed", "error", error_message=DECLINED),
    ],
    "hclog": three("shop.pay", None, DECLINED, trace=TRACE),
    "hclog_json": three("shop.pay", None, DECLINED, trace=TRACE),
    "charm": three("shop.pay", None, DECLINED, trace=TRACE),
    "gin": [
        Expected("Creating an Engine", "warn", ANY),
        Expected("Running in", "warn", ANY),
        Expected("GET    /orders/4711", ANY, ANY),
        Expected("GET    /fail", ANY, ANY),
        Expected('"/orders/4711"', ANY, ANY),
        error("panic recovered", ANY, DECLINED, logger=ANY, level=ANY),
        Expected('"/fail"', ANY, ANY),
    ],
    "echo": [Expected("", ANY), Expected("", ANY, error_message=DECLINED)],
    "pkg_errors": [error("payment of 4711 failed", ANY, ANY, level=None)],
    "panic": [error("panic: card declined", ANY, DECLINED, level=ANY)],
    "panic_text": [error("panic: card declined", ANY, DECLINED, level=ANY)],
    "panic_value": [error("panic: ", ANY, "payment of 4711 failed", level=ANY)],
    "nil_pointer": [
        error("SIGSEGV", ANY, "runtime error: invalid memory address or nil pointer dereference", level=ANY)
    ],
    "repanic": [error("panic: card declined", ANY, "again: card declined", level=ANY)],
    "goroutine": [error("panic: card declined", ANY, DECLINED, level=ANY)],
}
RUST: dict[str, list[Expected]] = {
    **{
        name: three("shop::pay", None, DECLINED, trace=TRACE)
        for name in ("tracing", "tracing_colours", "tracing_json", "tracing_span")
    },
    "env_logger": [
        *three("shop::pay")[:2],
        error("payment of 4711 failed", ANY, ANY, logger="shop::pay"),  # nothing shows where the error's text begins
    ],
    "anyhow": [error("Error: payment", ANY, "payment of 4711 failed", level=ANY)],
    "unwrap": [error("panicked at", ANY, ANY, level=ANY)],
    "expect": [error("panicked at", ANY, "a number of items: ParseIntError { kind: InvalidDigit }", level=ANY)],
    "index": [error("panicked at", ANY, "index out of bounds: the len is 3 but the index is 5", level=ANY)],
    "thread": [error("panicked at", ANY, DECLINED, level=ANY)],
}
LOGBACK: dict[str, list[Expected]] = {
    "default": three(PAY_SERVICE, *JAVA),
    "dated": three(PAY_SERVICE, *JAVA, trace=TRACE),
    "iso": three(PAY_SERVICE, *JAVA),
    "logstash": three(PAY_SERVICE, *JAVA, trace=TRACE),
    "ecs": three(PAY_SERVICE, *JAVA, trace=TRACE),
}
LOG4J2: dict[str, list[Expected]] = {
    "default": three(PAY_SERVICE, *JAVA),
    "dated": three("s.p.PayService", *JAVA, trace=TRACE),
    "bracketed": three(PAY_SERVICE, *JAVA),
    "ecs": three(PAY_SERVICE, ANY, JAVA[1], trace=TRACE),
    "gelf": three(PAY_SERVICE, *JAVA, trace=TRACE),
    "logstash": three(PAY_SERVICE, ANY, JAVA[1], trace=TRACE),
    "json": three(PAY_SERVICE, ANY, JAVA[1], trace=TRACE),
}
BOOT: dict[str, list[Expected]] = {
    "console": [*_BOOT, *three(PAY_SERVICE, *JAVA)],
    "correlation": [*_BOOT, *three(PAY_SERVICE, *JAVA, trace=TRACE)],
    **{name: [*_BOOT, *three(PAY_SERVICE, *JAVA, trace=TRACE)] for name in ("ecs", "gelf", "logstash")},
}
JUL_ERROR = ("java.lang.IllegalStateException", DECLINED)
SETUPS: dict[str, list[Expected]] = {
    **{f"python-{name}": events for name, events in PYTHON.items()},
    **{f"python-server-{name}": events for name, events in SERVERS.items()},
    **{f"node-{name}": events for name, events in NODE.items()},
    **{f"go-{name}": events for name, events in GO.items()},
    **{f"rust-{name}": events for name, events in RUST.items()},
    **{f"logback-{name}": events for name, events in LOGBACK.items()},
    **{f"log4j2-{name}": events for name, events in LOG4J2.items()},
    **{f"boot-{name}": events for name, events in BOOT.items()},
    "jul": three("ShopJul", *JUL_ERROR),
    "jul-crash": [error("Exception in thread", *JUL_ERROR, level=ANY)],
}

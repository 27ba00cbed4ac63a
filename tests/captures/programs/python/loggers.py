"""Logs three events by one logging set-up, named by the argument: information, a warning, an exception."""

import logging
import logging.config
import sys

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def charge() -> None:
    """Fail as an application does."""
    raise ValueError("card declined")


def log_events(logger: logging.Logger, **extra: object) -> None:
    """Log the three events by the standard library's interface."""
    logger.info("order 4711 paid", **extra)
    logger.warning("stock of 4711 is low", **extra)
    try:
        charge()
    except ValueError:
        logger.exception("payment of 4711 failed", **extra)


def basic() -> None:
    """The default format of `basicConfig`."""
    logging.basicConfig(level=logging.INFO)
    log_events(logging.getLogger("shop.pay"))


def asctime() -> None:
    """The format of the logging cookbook."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    log_events(logging.getLogger("shop.pay"))


def asctime_level_first() -> None:
    """Time, level in brackets, logger and message."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s")
    log_events(logging.getLogger("shop.pay"))


def opentelemetry() -> None:
    """The format of OpenTelemetry's instrumentation, inside of a span."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class FixedIds(IdGenerator):
        def generate_trace_id(self) -> int:
            return int(TRACE, 16)

        def generate_span_id(self) -> int:
            return int(SPAN, 16)

    trace.set_tracer_provider(TracerProvider(id_generator=FixedIds()))
    LoggingInstrumentor().instrument(set_logging_format=True)
    with trace.get_tracer("shop").start_as_current_span("pay"):
        log_events(logging.getLogger("shop.pay"))


def json_logger() -> None:
    """python-json-logger with some of the record's attributes and a trace id."""
    from pythonjsonlogger.json import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    log_events(logging.getLogger("shop.pay"), extra={"trace_id": TRACE})


def ecs() -> None:
    """The formatter of ecs-logging."""
    import ecs_logging

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(ecs_logging.StdlibFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    log_events(logging.getLogger("shop.pay"))


def structlog_json() -> None:
    """structlog with its JSON renderer, exceptions as text."""
    import structlog

    _structlog([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


def structlog_dicts() -> None:
    """structlog with its JSON renderer, exceptions as dictionaries."""
    import structlog

    _structlog([structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()])


def structlog_logfmt() -> None:
    """structlog with its logfmt renderer."""
    import structlog

    keys = ["timestamp", "level", "event"]
    _structlog([structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer(key_order=keys)])


def structlog_console() -> None:
    """structlog's console without colours, exceptions as plain text."""
    import structlog

    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    _structlog([renderer])


def _structlog(processors: list[object]) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            *processors,
        ]
    )
    structlog.contextvars.bind_contextvars(trace_id=TRACE, logger="shop.pay")
    log_events(structlog.get_logger())


def loguru_default() -> None:
    """loguru as it is, with colours off as in a container."""
    _loguru()


def loguru_json() -> None:
    """loguru's serialised records."""
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, serialize=True)
    _loguru()


def _loguru() -> None:
    from loguru import logger

    logger.info("order 4711 paid")
    logger.warning("stock of 4711 is low")
    try:
        charge()
    except ValueError:
        logger.exception("payment of 4711 failed")


def django() -> None:
    """The formatter `verbose` of Django's documentation."""
    style = {"format": "{levelname} {asctime} {module} {process:d} {thread:d} {message}", "style": "{"}
    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"verbose": style},
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "verbose"}},
            "root": {"handlers": ["console"], "level": "INFO"},
        }
    )
    log_events(logging.getLogger("shop.pay"))


def flask() -> None:
    """The format of Flask's documentation."""
    style = {"format": "[%(asctime)s] %(levelname)s in %(module)s: %(message)s"}
    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"default": style},
            "handlers": {"wsgi": {"class": "logging.StreamHandler", "formatter": "default"}},
            "root": {"level": "INFO", "handlers": ["wsgi"]},
        }
    )
    log_events(logging.getLogger("shop.pay"))


def tornado() -> None:
    """Tornado's formatter without colours."""
    from tornado.log import enable_pretty_logging

    enable_pretty_logging()
    logging.getLogger().setLevel(logging.INFO)
    log_events(logging.getLogger("shop.pay"))


def celery() -> None:
    """The format of Celery's workers."""
    from celery.app.defaults import DEFAULT_PROCESS_LOG_FMT

    logging.basicConfig(level=logging.INFO, format=DEFAULT_PROCESS_LOG_FMT)
    log_events(logging.getLogger("shop.pay"))


def uncaught() -> None:
    """An exception that ends the program."""
    charge()


def exception_group() -> None:
    """An exception group that ends the program."""
    raise ExceptionGroup("2 payments failed", [ValueError("card declined"), KeyError("currency")])


def chained() -> None:
    """An exception that was raised from another."""
    try:
        charge()
    except ValueError as error:
        raise RuntimeError("order 4711 failed") from error


if __name__ == "__main__":
    globals()[sys.argv[1]]()

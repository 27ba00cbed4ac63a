"""Loggers' own spellings of ECS field names. Pure.

A suffix after a slash (`event.duration/ms`) is the unit or scale that the logger writes.
`SPELLINGS` apply to every line whose ECS name is free, in the order of each list. A `Dialect` is a logger (or a proxy)
that is recognised by names that it always writes; its spellings apply to its lines only, since elsewhere they are
ambiguous (`name`, `status`, `path`). `field_values` has the converters of the values.
"""

from dataclasses import dataclass

SPELLINGS: dict[str, str] = {
    "message": "msg short_message textPayload jsonPayload.message @m @message body body.stringValue event log @mt "
    "Message MESSAGE Msg MSG",
    "@timestamp": "timestamp time ts @t datetime asctime date eventTime timeUnixNano observedTimeUnixNano "
    "timestamp.seconds instant.epochSecond timeMillis timestampSeconds Timestamp TIMESTAMP Time TIME @Timestamp",
    "log.level": "level severity lvl loglevel log_level levelname level_name @l severityText severity_text "
    "SeverityText status_level logLevel LogLevel Level LEVEL Severity SEVERITY @level log.severity",
    "log.level/otel": "severityNumber severity_number SeverityNumber",
    "log.logger": "logger logger_name loggerName logger.name SourceContext instrumentationScope.name scope.name "
    "@module Logger LOGGER LoggerName",
    "trace.id": "trace_id traceId traceID TraceId traceid otelTraceID otel.trace_id dd.trace_id @tr "
    "logging.googleapis.com/trace TraceID TRACE_ID",
    "span.id": "span_id spanId spanID SpanId spanid otelSpanID otel.span_id dd.span_id @sp "
    "logging.googleapis.com/spanId SpanID SPAN_ID",
    "transaction.id": "transaction_id transactionId",
    "service.name": "service_name serviceName otelServiceName resource.attributes.service.name resource.service.name "
    "dd.service service",
    "service.version": "service_version resource.attributes.service.version resource.service.version dd.version",
    "service.environment": "resource.attributes.deployment.environment.name resource.attributes.deployment.environment "
    "resource.deployment.environment dd.env",
    "error.stack_trace": "stack_trace stacktrace stackTrace exc_info exception err.stack error.stack @x "
    "exception.stacktrace attributes.exception.stacktrace thrown.extendedStackTrace errorVerbose exception.stack_trace "
    "exception.error.stack_trace _exception.stack_trace _exception.stacktrace throwable.stackTrace "
    "throwable.stack_trace context.exception.stack_trace StackTrace Exception stack",
    "error.message": "err.message error err error_message exception.message attributes.exception.message "
    "thrown.message exception.exception_message exception.error.message _exception.message throwable.message "
    "context.exception.message Error",
    "error.type": "err.type err.name error.name error.kind exception.type attributes.exception.type thrown.name "
    "exception.exceptionType exception.exception_class exception.error.type exception.class _exception.type "
    "_exception.class throwable.className throwable.class throwable.type throwable.name context.exception.class "
    "exc_type",
    "process.pid": "pid process.processId",
    "process.thread.name": "thread thread_name threadName logger.thread_name ThreadName",
    "host.hostname": "hostname",
    "log.origin.function": "func funcName sourceLocation.function "
    "logging.googleapis.com/sourceLocation.function attributes.code.function code.function",
    "log.origin.file.name": "caller filename @caller logging.googleapis.com/sourceLocation.file "
    "sourceLocation.file attributes.code.filepath code.filepath",
    "log.origin.file.line": "lineno logging.googleapis.com/sourceLocation.line sourceLocation.line "
    "attributes.code.lineno code.lineno",
    "http.request.method": "httpRequest.requestMethod http.method attributes.http.request.method "
    "attributes.http.method",
    "http.response.status_code": "httpRequest.status http.status_code attributes.http.response.status_code "
    "attributes.http.status_code",
    "http.request.bytes": "httpRequest.requestSize",
    "http.response.bytes": "httpRequest.responseSize",
    "http.request.referrer": "httpRequest.referer http.referer",
    "http.version": "httpRequest.protocol http.version_number",
    "url.original": "httpRequest.requestUrl http.url attributes.url.full attributes.http.url attributes.http.target",
    "url.path": "attributes.url.path",
    "user_agent.original": "httpRequest.userAgent http.useragent attributes.user_agent.original "
    "attributes.http.user_agent",
    "source.address": "httpRequest.remoteIp network.client.ip attributes.client.address",
    "event.duration": "httpRequest.latency",
}
_ID_PARENTS = (
    "mdc MDC contextMap context ctx fields record.extra extra Scopes Properties properties labels attributes meta "
    "metadata data span spanContext span_context SpanContext logging.googleapis.com/labels"
)
"""Objects that hold what a logger adds to each line; an id in them is spelled as on the top level."""
for _name, _spellings in (
    ("trace.id", "trace_id traceId traceID TraceId traceid"),
    ("span.id", "span_id spanId spanID SpanId spanid"),
):
    _nested = (f"{parent}.{spelling}" for parent in _ID_PARENTS.split() for spelling in _spellings.split())
    SPELLINGS[_name] = " ".join((SPELLINGS[_name], *_nested))


@dataclass(frozen=True, slots=True)
class Dialect:
    """A logger whose lines have all `required_names` and no `excluded_names`; `spellings`: its name to the ECS name.

    `level` is that of a line without one; a value that equals `absent` is none.
    """

    name: str
    required_names: frozenset[str]
    spellings: dict[str, str]
    excluded_names: frozenset[str] = frozenset()
    level: str = ""
    absent: str | None = None


def _dialect(
    name: str, required: str, spellings: str, excluded: str = "", *, level: str = "", absent: str | None = None
) -> Dialect:
    pairs = dict(pair.split("=") for pair in spellings.split())
    return Dialect(name, frozenset(required.split()), pairs, frozenset(excluded.split()), level, absent)


DIALECTS: tuple[Dialect, ...] = (
    _dialect("Bunyan", "name hostname pid v", "name=log.logger"),
    _dialect("Python", "levelname name", "name=log.logger"),
    _dialect("Python, process", "levelname process", "process=process.pid"),
    _dialect("Monolog", "level_name channel datetime", "level_name=log.level channel=log.logger"),
    _dialect(
        "MongoDB",
        "t.$date s c ctx msg",
        "t.$date=@timestamp s=log.level c=log.logger ctx=process.thread.name id=event.code",
    ),
    _dialect(
        "PostgreSQL",
        "timestamp pid session_id error_severity backend_type",
        "error_severity=log.level remote_host=source.address remote_port=source.port",
    ),
    _dialect(
        "journald",
        "PRIORITY MESSAGE",
        "PRIORITY=log.level/syslog _PID=process.pid __REALTIME_TIMESTAMP=@timestamp/microseconds",
    ),
    _dialect("Elasticsearch", "type component cluster.name node.name", "component=log.logger"),
    _dialect(
        "Quarkus",
        "loggerClassName threadName",
        "processName=process.name processId=process.pid threadId=process.thread.id hostName=host.hostname",
    ),
    _dialect(
        "GELF",
        "version host short_message",
        "full_message=error.stack_trace/gelf host=host.hostname level=log.level/syslog "
        "_log_logger=log.logger _logger_name=log.logger _logger=log.logger "
        "_LoggerName=log.logger _SourceClassName=log.logger _process_pid=process.pid _pid=process.pid "
        "_process_thread_name=process.thread.name _thread_name=process.thread.name _thread=process.thread.name "
        "_Thread=process.thread.name _error_type=error.type _error_message=error.message "
        "_error_stack_trace=error.stack_trace _exception=error.stack_trace _stack_trace=error.stack_trace "
        "_StackTrace=error.stack_trace _traceId=trace.id _trace_id=trace.id _spanId=span.id _span_id=span.id "
        "_service_name=service.name _service_version=service.version _service_environment=service.environment "
        "_file=log.origin.file.name _line=log.origin.file.line _function=log.origin.function",
    ),
    _dialect("Log4j", "threadPriority endOfBatch", "threadId=process.thread.id"),
    _dialect("logstash-logback-encoder", "level_value", "level_value=event.severity"),
    _dialect("logrus", "func file", "file=log.origin.file.name"),
    _dialect("Datadog", "status message ddsource", "status=log.level", excluded="level severity"),
    _dialect("klog", "ts msg v caller", "v=log.level/klog", excluded="level severity"),
    _dialect("klog, an error", "ts msg err caller", "err=error.message/klog", excluded="level severity v"),
    _dialect("Pino", "level time pid hostname name", "name=log.logger"),
    _dialect(
        "Go slog",
        "source.function source.file source.line",
        "source.function=log.origin.function source.file=log.origin.file.name source.line=log.origin.file.line",
    ),
    _dialect("Serilog, compact", "@t @mt", "SourceContext=log.logger", "@l level", level="info"),
    _dialect("Serilog, rendered compact", "@t @m", "SourceContext=log.logger", "@l level", level="info"),
    _dialect("Nest", "level pid timestamp context", "context=log.logger"),
    _dialect("Nest with pino", "level time pid hostname context", "context=log.logger"),
    _dialect("Nest with winston", "level message ms context", "context=log.logger"),
    _dialect("gommon", "time level prefix file line message", "file=log.origin.file.name line=log.origin.file.line"),
    _dialect(
        "Rust tracing",
        "fields.message target level",
        "fields.message=message target=log.logger fields.error=error.message fields.err=error.message",
    ),
    _dialect(
        "loguru",
        "text record.message record.level.name record.time.timestamp",
        "record.message=message record.level.name=log.level record.time.timestamp=@timestamp record.name=log.logger "
        "record.function=log.origin.function record.file.path=log.origin.file.name record.line=log.origin.file.line "
        "record.process.id=process.pid record.thread.name=process.thread.name "
        "record.exception.type=error.type record.exception.value=error.message",
    ),
    _dialect(
        "loguru, an exception", "text record.exception.type record.time.timestamp", "text=error.stack_trace/loguru"
    ),
    _dialect(
        "Serilog",
        "Timestamp Level MessageTemplate",
        "RenderedMessage=message MessageTemplate=message Timestamp=@timestamp Level=log.level "
        "Exception=error.stack_trace Properties.SourceContext=log.logger SpanId=span.id",
    ),
    _dialect(
        ".NET console",
        "LogLevel Category Message",
        "Message=message LogLevel=log.level Category=log.logger Timestamp=@timestamp Exception=error.stack_trace",
    ),
    _dialect(
        "Caddy",
        "request.method request.uri status",
        "request.method=http.request.method request.uri=url.original request.host=url.domain "
        "request.proto=http.version request.remote_ip=source.address status=http.response.status_code "
        "size=http.response.body.bytes "
        "duration=event.duration request.headers.User-Agent=user_agent.original",
    ),
    _dialect(
        "Traefik",
        "RequestMethod RequestPath DownstreamStatus",
        "RequestMethod=http.request.method RequestPath=url.original DownstreamStatus=http.response.status_code "
        "DownstreamContentSize=http.response.body.bytes RequestProtocol=http.version RequestHost=url.domain "
        "ClientHost=source.address Duration=event.duration/ns request_User-Agent=user_agent.original "
        "StartUTC=@timestamp",
    ),
    _dialect(
        "Envoy",
        "method path response_code",
        "method=http.request.method path=url.original response_code=http.response.status_code protocol=http.version "
        "bytes_received=http.request.body.bytes bytes_sent=http.response.body.bytes duration=event.duration/ms "
        "user_agent=user_agent.original request_id=http.request.id authority=url.domain start_time=@timestamp "
        "x_forwarded_for=source.address downstream_remote_address=source.address/port",
        absent="-",
    ),
    _dialect(
        "Echo",
        "remote_ip method uri status latency_human",
        "remote_ip=source.address method=http.request.method uri=url.original status=http.response.status_code "
        "latency=event.duration/ns bytes_in=http.request.body.bytes bytes_out=http.response.body.bytes "
        "user_agent=user_agent.original host=url.domain id=http.request.id",
        absent="",
    ),
    _dialect(
        "fastify, request",
        "reqId req.method req.url",
        "reqId=http.request.id req.method=http.request.method req.url=url.original req.hostname=url.domain "
        "req.host=url.domain req.remoteAddress=source.address req.remotePort=source.port",
    ),
    _dialect(
        "fastify, response",
        "reqId res.statusCode responseTime",
        "reqId=http.request.id res.statusCode=http.response.status_code responseTime=event.duration/ms",
    ),
    _dialect(
        "nginx",
        "request_method request_uri status",
        "request_method=http.request.method request_uri=url.original status=http.response.status_code "
        "body_bytes_sent=http.response.body.bytes http_user_agent=user_agent.original remote_addr=source.address "
        "http_referer=http.request.referrer request_time=event.duration time_iso8601=@timestamp host=url.domain "
        "request_id=http.request.id server_protocol=http.version",
        absent="-",
    ),
    _dialect(
        "nginx, request line",
        "request status http_user_agent",
        "request=url.original/request status=http.response.status_code body_bytes_sent=http.response.body.bytes "
        "http_user_agent=user_agent.original remote_addr=source.address http_referer=http.request.referrer "
        "request_time=event.duration time_iso8601=@timestamp",
    ),
    _dialect("lograge", "method path controller action status", "duration=event.duration/ms"),
    _dialect(
        "request loggers of applications",
        "method path status",
        "method=http.request.method path=url.original status=http.response.status_code",
    ),
    _dialect(
        "pino-http",
        "req.method req.url res.statusCode",
        "req.method=http.request.method req.url=url.original res.statusCode=http.response.status_code "
        "req.headers.user-agent=user_agent.original responseTime=event.duration/ms",
    ),
)
"""Loggers and proxies that are recognised by their field names."""

_ORDER: dict[str, tuple[int, str]] = {
    alias: (rank, name) for name, aliases in SPELLINGS.items() for rank, alias in enumerate(aliases.split())
}

ALIASES: dict[str, str] = {alias: name for alias, (_, name) in _ORDER.items()}
"""Every spelling that applies to all lines, with its ECS name."""


def find_dialects(names: tuple[str, ...]) -> list[Dialect]:
    """Return the dialects of an object with these names."""
    present = frozenset(names)
    return [
        dialect for dialect in DIALECTS if dialect.required_names <= present and not dialect.excluded_names & present
    ]


def find_spellings(names: tuple[str, ...], dialects: list[Dialect] | None = None) -> dict[str, str]:
    """Return the names that are spellings, each with its ECS name, in order of precedence."""
    dialects = find_dialects(names) if dialects is None else dialects
    present = frozenset(names)
    by_dialect = {alias: name for dialect in dialects for alias, name in dialect.spellings.items() if alias in present}
    common = sorted(
        (alias for alias in names if alias in _ORDER and alias not in by_dialect), key=lambda a: _ORDER[a][0]
    )
    return {**by_dialect, **{alias: ALIASES[alias] for alias in common}}

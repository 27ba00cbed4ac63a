"""What one event says, as the first part of its document. Pure.

Two ways lead to the same bytes. The general one makes a dict of fields, which anything may look at and change, and
serialises it. The quick one is for what most lines are: whole, of the day, with nothing to change. A JSON body whose
fields are already those of a document goes in as its own bytes, which were parsed and found to name each field once;
a text in no format known here is one text and its time.
"""

import re
from dataclasses import replace
from typing import Any

import orjson

from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.documents.container_fields import ContainerFields
from pipeline.grouping.event import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event
from pipeline.parsing import ansi, exception, health_probe, json_body, text_formats, timestamp

PROBE_RULE = "health probe"
EXCLUDED_RULE = "pod excludes the stream"
FLAGS = ((PARTIAL, "partial"), (MULTILINE, "multiline"), (SPLIT, "split"), (UNPARSED, "unparsed"))
DAY_NS = 86400 * 10**9

Fields = dict[str, Any]
OwnFields = frozenset[str]
"""Names of the service's fields that a line has of its own."""

NO_OWN_FIELDS: OwnFields = frozenset()
ReadEvent = tuple[bytes, bytes, OwnFields, str]
"""The fields serialised, without the last brace; behind them, the name of the field that takes the runtime's time, up
to the value; which of the service's fields there are; the rule that drops the event."""

_RUNTIME = b',"@timestamp":"'
_IOTIME = b',"log.iotime":"'


class EventReader:
    """Reads the events of one container, by its parser: `auto` takes JSON bodies and every text format."""

    def __init__(self, container: ContainerFields, settings: Settings) -> None:
        self._parses_json = container.parser in {"auto", "json"}
        self._parse_text = text_formats.PARSERS[container.parser]
        self._field_limit = settings.field_limit
        self._strip_ansi = settings.ansi == "strip"
        self._probe_paths = frozenset(settings.health_paths.split())
        self._window_ns = int(settings.application_time_window_seconds * 1e9)
        self._window_covers_day = self._window_ns >= DAY_NS
        self._fractions = _MILLISECOND_SUFFIXES if self._window_covers_day else frozenset[str]()

    def read(self, event: Event, time: bytes, day: str, late: bool) -> ReadEvent:  # noqa: FBT001 - the hot path
        """What an event says whose runtime's time in UTC is `time`, on `day` (YYYY-MM-DD)."""
        content = event[5]
        if event[6] or late or self._strip_ansi:
            fields = self.read_fields(event)
            rule = self.probe_rule(fields)
            return *self.serialize(fields, time, day, late=late), rule
        own = NO_OWN_FIELDS
        if content[:1] == b"{" and self._parses_json and (body := json_body.parse(content, self._field_limit)):
            fields, verbatim, own = body
            if verbatim:
                moment = fields.get("@timestamp")
                if moment is None:
                    return content[:-1], _RUNTIME, own, ""
                if type(moment) is str and _day_by_second.get(moment[:19]) == day and moment[19:] in self._fractions:
                    return content[:-1], _IOTIME, own, ""
            elif fields.get("message") is None:
                fields["message"] = content.decode("utf-8", "replace")
        else:
            message = content.decode("utf-8", "replace")
            found = self._parse_text(message)
            if found is None:
                return orjson.dumps({"message": message})[:-1], _RUNTIME, NO_OWN_FIELDS, ""
            fields = found
            fields["message"] = message
        if "url.path" in fields and health_probe.is_probe(fields, self._probe_paths):
            return b"", b"", own, PROBE_RULE
        name = self._set_timestamp(fields, time, day)
        return orjson.dumps(fields)[:-1], name, own, ""

    def read_fields(self, event: Event) -> Fields:
        """The same as fields that may be changed before `finish`; the time is the line's own or not there."""
        _, _, _, _, stream, content, flags, part = event
        fields = (
            json_body.parse_fields(content, self._field_limit)
            if content[:1] == b"{" and self._parses_json and not flags
            else None
        )
        message = content.decode("utf-8", "replace")
        if fields is None:
            fields = self._parse_text(message) or {}
            fields["message"] = message
        elif fields.get("message") is None:
            fields["message"] = message
        if self._strip_ansi:
            fields["message"] = ansi.strip(fields["message"])
        if stream:
            fields["log.iostream"] = stream.decode()
        if flags:
            _add_flags(fields, flags, part)
        return fields

    def probe_rule(self, fields: Fields) -> str:
        """The name of the built-in rule if it drops the event."""
        return PROBE_RULE if "url.path" in fields and health_probe.is_probe(fields, self._probe_paths) else ""

    def serialize(self, fields: Fields, time: bytes, day: str, *, late: bool) -> tuple[bytes, bytes, OwnFields]:
        """The fields serialised, and where their runtime's time goes; the stream is told by the document's end."""
        name = self._set_timestamp(fields, time, day)
        if late:
            fields["log.flags"] = [*fields.get("log.flags", ()), "late"]
        fields.pop("log.iostream", None)
        return orjson.dumps(fields)[:-1], name if fields else name[1:], json_body.SERVICE_FIELDS.intersection(fields)

    def _set_timestamp(self, fields: Fields, time: bytes, day: str) -> bytes:
        """The line's own time, where it can be read and is near the runtime's, else the runtime's.

        Returns the name of the field that takes the runtime's.
        """
        own = fields.get("@timestamp")
        if own is None:
            fields.pop("@timestamp", None)
            return _RUNTIME
        if type(own) is str and self._window_covers_day and self._is_same_day(own, day):
            return _IOTIME
        moment = timestamp.parse(own)
        if moment is not None and abs(moment - (cri.nanoseconds(time) or 0)) <= self._window_ns:
            fields["@timestamp"] = timestamp.format_utc(moment)
            return _IOTIME
        fields["app.@timestamp"] = own if isinstance(own, str) else orjson.dumps(own).decode()
        del fields["@timestamp"]
        return _RUNTIME

    @staticmethod
    def _is_same_day(own: str, day: str) -> bool:
        """The common case, seen without any arithmetic: the runtime's day, in the spelling that we write too."""
        if own[:10] != day or (own[19:] not in _MILLISECOND_SUFFIXES and _FRACTION_SUFFIX.fullmatch(own, 19) is None):
            return False
        return _day_by_second.get(own[:19]) == day or _is_valid_second(own[:19])


class PerStreamEventReader(EventReader):
    """Reads the events of a container of which one stream has a parser of its own."""

    def __init__(self, container: ContainerFields, settings: Settings) -> None:
        super().__init__(container, settings)
        self._by_stream = {
            stream: EventReader(replace(container, parser=parser), settings)
            for stream, parser in container.stream_parsers.items()
        }

    def read(self, event: Event, time: bytes, day: str, late: bool) -> ReadEvent:  # noqa: FBT001 - as the reader
        """As the stream's own reader does, if it has one."""
        own = self._by_stream.get(event[4])
        return own.read(event, time, day, late) if own else super().read(event, time, day, late)

    def read_fields(self, event: Event) -> Fields:
        """As the stream's own reader does, if it has one."""
        own = self._by_stream.get(event[4])
        return own.read_fields(event) if own else super().read_fields(event)


def make_reader(container: ContainerFields, settings: Settings) -> EventReader:
    """What reads the events of a container."""
    return PerStreamEventReader(container, settings) if container.stream_parsers else EventReader(container, settings)


_MILLISECOND_SUFFIXES = frozenset(f".{number:03d}Z" for number in range(1000)) | {"Z"}
_FRACTION_SUFFIX = re.compile(r"\.\d{1,9}Z", re.ASCII)
_day_by_second: dict[str, str] = {}
_MAX_CACHED_SECONDS = 10_000


def _is_valid_second(text: str) -> bool:
    """Whether it is a date and time, to the second; remembered with its day, since many lines have the same."""
    if cri.nanoseconds(text.encode() + b"Z") is None:
        return False
    if len(_day_by_second) >= _MAX_CACHED_SECONDS:
        _day_by_second.clear()
    _day_by_second[text] = text[:10]
    return True


def _add_flags(fields: Fields, flags: int, part: int) -> None:
    fields["log.flags"] = [name for bit, name in FLAGS if flags & bit]
    if part:
        fields["crisp.part"] = part
    if flags & MULTILINE:
        found = exception.from_trace(fields["message"])
        if found is not None:
            fields.setdefault("error.type", found[0])
            fields.setdefault("error.message", found[1])
            fields.setdefault("error.stack_trace", fields["message"])

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
from pipeline.documents.container_fields import Container
from pipeline.grouping.event import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event
from pipeline.parsing import ansi, exception, health_probe, json_body, text_formats, timestamp

PROBE_RULE = "health probe"
EXCLUDED_RULE = "pod excludes the stream"
FLAGS = ((PARTIAL, "partial"), (MULTILINE, "multiline"), (SPLIT, "split"), (UNPARSED, "unparsed"))
DAY_NS = 86400 * 10**9

Fields = dict[str, Any]
Own = frozenset[str]
"""Names of the service's fields that a line has of its own."""

NONE: Own = frozenset()
Said = tuple[bytes, bytes, Own, str]
"""The fields serialised, without the last brace; behind them, the name of the field that takes the runtime's time, up
to the value; which of the service's fields there are; the rule that drops the event."""

_RUNTIME = b',"@timestamp":"'
_IOTIME = b',"log.iotime":"'


class Reader:
    """Reads the events of one container, by its parser: `auto` takes JSON bodies and every text format."""

    def __init__(self, of: Container, settings: Settings) -> None:
        self._json = of.parser in {"auto", "json"}
        self._text = text_formats.READERS[of.parser]
        self._limit = settings.field_limit
        self._strip = settings.ansi == "strip"
        self._probe_paths = frozenset(settings.health_paths.split())
        self._window = int(settings.application_time_window_seconds * 1e9)
        self._wide = self._window >= DAY_NS
        self._fractions = _MILLISECONDS if self._wide else frozenset[str]()

    def read(self, event: Event, time: bytes, day: str, late: bool) -> Said:  # noqa: FBT001 - the hot path
        """What an event says whose runtime's time in UTC is `time`, on `day` (YYYY-MM-DD)."""
        content = event[5]
        if event[6] or late or self._strip:
            fields = self.fields(event)
            rule = self.probe(fields)
            return *self.finish(fields, time, day, late=late), rule
        own = NONE
        if content[:1] == b"{" and self._json and (body := json_body.read(content, self._limit)):
            fields, verbatim, own = body
            if verbatim:
                moment = fields.get("@timestamp")
                if moment is None:
                    return content[:-1], _RUNTIME, own, ""
                if type(moment) is str and _days.get(moment[:19]) == day and moment[19:] in self._fractions:
                    return content[:-1], _IOTIME, own, ""
            elif fields.get("message") is None:
                fields["message"] = content.decode("utf-8", "replace")
        else:
            message = content.decode("utf-8", "replace")
            found = self._text(message)
            if found is None:
                return orjson.dumps({"message": message})[:-1], _RUNTIME, NONE, ""
            fields = found
            fields["message"] = message
        if "url.path" in fields and health_probe.is_probe(fields, self._probe_paths):
            return b"", b"", own, PROBE_RULE
        name = self._time(fields, time, day)
        return orjson.dumps(fields)[:-1], name, own, ""

    def fields(self, event: Event) -> Fields:
        """The same as fields that may be changed before `finish`; the time is the line's own or not there."""
        _, _, _, _, stream, content, flags, part = event
        fields = json_body.fields(content, self._limit) if content[:1] == b"{" and self._json and not flags else None
        message = content.decode("utf-8", "replace")
        if fields is None:
            fields = self._text(message) or {}
            fields["message"] = message
        elif fields.get("message") is None:
            fields["message"] = message
        if self._strip:
            fields["message"] = ansi.stripped(fields["message"])
        if stream:
            fields["log.iostream"] = stream.decode()
        if flags:
            _flag(fields, flags, part)
        return fields

    def probe(self, fields: Fields) -> str:
        """The name of the built-in rule if it drops the event."""
        return PROBE_RULE if "url.path" in fields and health_probe.is_probe(fields, self._probe_paths) else ""

    def finish(self, fields: Fields, time: bytes, day: str, *, late: bool) -> tuple[bytes, bytes, Own]:
        """The fields serialised, and where their runtime's time goes; the stream is told by the document's end."""
        name = self._time(fields, time, day)
        if late:
            fields["log.flags"] = [*fields.get("log.flags", ()), "late"]
        fields.pop("log.iostream", None)
        return orjson.dumps(fields)[:-1], name if fields else name[1:], json_body.SERVICE.intersection(fields)

    def _time(self, fields: Fields, time: bytes, day: str) -> bytes:
        """The line's own time, where it can be read and is near the runtime's, else the runtime's.

        Returns the name of the field that takes the runtime's.
        """
        own = fields.get("@timestamp")
        if own is None:
            fields.pop("@timestamp", None)
            return _RUNTIME
        if type(own) is str and self._wide and self._same_day(own, day):
            return _IOTIME
        moment = timestamp.nanoseconds(own)
        if moment is not None and abs(moment - (cri.nanoseconds(time) or 0)) <= self._window:
            fields["@timestamp"] = timestamp.text(moment)
            return _IOTIME
        fields["app.@timestamp"] = own if isinstance(own, str) else orjson.dumps(own).decode()
        del fields["@timestamp"]
        return _RUNTIME

    @staticmethod
    def _same_day(own: str, day: str) -> bool:
        """The common case, seen without any arithmetic: the runtime's day, in the spelling that we write too."""
        if own[:10] != day or (own[19:] not in _MILLISECONDS and _FRACTION.fullmatch(own, 19) is None):
            return False
        return _days.get(own[:19]) == day or _is_second(own[:19])


class Readers(Reader):
    """Reads the events of a container of which one stream has a parser of its own."""

    def __init__(self, of: Container, settings: Settings) -> None:
        super().__init__(of, settings)
        self._of = {stream: Reader(replace(of, parser=parser), settings) for stream, parser in of.parsers.items()}

    def read(self, event: Event, time: bytes, day: str, late: bool) -> Said:  # noqa: FBT001 - as the reader
        """As the stream's own reader does, if it has one."""
        own = self._of.get(event[4])
        return own.read(event, time, day, late) if own else super().read(event, time, day, late)

    def fields(self, event: Event) -> Fields:
        """As the stream's own reader does, if it has one."""
        own = self._of.get(event[4])
        return own.fields(event) if own else super().fields(event)


def reader(of: Container, settings: Settings) -> Reader:
    """What reads the events of a container."""
    return Readers(of, settings) if of.parsers else Reader(of, settings)


_MILLISECONDS = frozenset(f".{number:03d}Z" for number in range(1000)) | {"Z"}
_FRACTION = re.compile(r"\.\d{1,9}Z", re.ASCII)
_days: dict[str, str] = {}
_MOST_SECONDS = 10_000


def _is_second(text: str) -> bool:
    """Whether it is a date and time, to the second; remembered with its day, since many lines have the same."""
    if cri.nanoseconds(text.encode() + b"Z") is None:
        return False
    if len(_days) >= _MOST_SECONDS:
        _days.clear()
    _days[text] = text[:10]
    return True


def _flag(fields: Fields, flags: int, part: int) -> None:
    fields["log.flags"] = [name for bit, name in FLAGS if flags & bit]
    if part:
        fields["crisp.part"] = part
    if flags & MULTILINE:
        found = exception.of_trace(fields["message"])
        if found is not None:
            fields.setdefault("error.type", found[0])
            fields.setdefault("error.message", found[1])
            fields.setdefault("error.stack_trace", fields["message"])

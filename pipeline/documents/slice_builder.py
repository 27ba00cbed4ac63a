"""Build the documents of one slice from its events, serialised as JSON. Pure.

Fields that all lines of a slice share are serialised once and appended to each document. Every value from a log goes
through the serialiser. Log lines cannot set the pipeline's own fields (`json_body` moves such names below `app.`), so
no document has a duplicate key.
"""

import traceback
from collections import Counter
from collections.abc import Iterator

from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import LogSlice
from pipeline.documents import nul_bytes
from pipeline.documents.batch import BULK_OVERHEAD_BYTES, DocumentBatch
from pipeline.documents.container_context import ContainerContext, json_fragment
from pipeline.documents.event_reader import EXCLUDED_RULE, NO_OWN_FIELDS, OwnFields
from pipeline.documents.target import NO_TARGET, Target, Targets
from pipeline.grouping.event import Event
from pipeline.grouping.grouper import group_slice
from pipeline.rules.redaction.redaction import Redaction

NO_LINES: frozenset[tuple[int, int]] = frozenset()
TRACEBACK_FRAMES = 10
UNLIMITED = 1 << 62
MAX_SUFFIXES = 64
PATH_MAX = 4096


class SliceBuilder:
    """Builds the documents of one slice."""

    def __init__(
        self,
        log_slice: LogSlice,
        context: ContainerContext,
        redaction: Redaction | None,
        targets: Targets,
        common_fields: JsonObject,
    ) -> None:
        self._files = log_slice.files
        self._size = len(log_slice.value)
        self._context = context
        self._traffic = {context.names: (log_slice.value.count(b"\n"), self._size)}  # in the first part
        self._has_hooks = context.compiled_rules is not None and context.compiled_rules.has_hooks
        self._redaction = redaction
        self._targets = targets
        self._common_fields = common_fields
        self._suffixes: dict[tuple[int, bytes, OwnFields], bytes] = {}
        self._events = nul_bytes.remove_from(log_slice, group_slice(log_slice))
        self._key_lines = redaction.find_key_lines(log_slice.value, self._events) if redaction is not None else NO_LINES
        self._dropped: Counter[str] = Counter()
        self._hook_errors: Counter[str] = Counter()
        self._hook_tracebacks: dict[str, str] = {}
        if context.excluded_streams:
            self._drop_excluded(context.excluded_streams)

    def build(self, part_bytes: int = UNLIMITED) -> Iterator[DocumentBatch]:
        """Yield the documents in parts of about this size, at least one part.

        Each document repeats the container's fields, so a slice of short lines can have documents of a hundred times
        its size. The size of a part is estimated once: twice the slice's bytes, and the container's fields per event.
        """
        events = self._events
        if len(events) <= 1 or part_bytes >= UNLIMITED:
            yield self._build_part(events)
            return
        suffix = self._suffix(0, b"stdout", NO_OWN_FIELDS)
        per_event = len(suffix) + 2 * self._size // max(1, len(events)) + BULK_OVERHEAD_BYTES
        step = max(1, part_bytes // per_event)
        for start in range(0, len(events) or 1, step):
            yield self._build_part(events if len(events) <= step else events[start : start + step])
            self._dropped, self._hook_errors, self._hook_tracebacks = Counter(), Counter(), {}

    def _build_part(self, events: list[Event]) -> DocumentBatch:
        """Return documents. The hot loop: an event that no rule and no redaction concerns takes the short way."""
        suffixes, redaction, key_lines = self._suffixes, self._redaction, self._key_lines
        indices: list[str] = []
        ids: list[bytes] = []
        sources: list[bytes] = []
        lengths: dict[int, int] = {}
        context, has_rules = self._context, self._context.compiled_rules is not None
        read, route = context.reader.read, context.route
        last_file, last_day = -1, b"no day"  # one look-up of the target serves many lines
        for event in events:
            file, offset, length, time, stream, _, flags, _ = event
            if time[-1:] != b"Z":
                time = self._to_utc(time)
            secret = redaction is not None and redaction.may_contain(event, key_lines)
            if has_rules or secret:
                target, head, name, own, rule = self._read_and_change(event, time, secret=secret)
            else:
                if file != last_file or not time.startswith(last_day):
                    last_file, last_day = file, time[:10]
                    common_target = self._targets.get(route, last_file, last_day)
                target = common_target
                head, name, own, rule = read(event, time, target[2], target[3])
            if rule:
                self._dropped[rule] += 1
                continue
            if flags:
                lengths[len(ids)] = length
            suffix = suffixes.get((file, stream, own)) or self._suffix(file, stream, own)
            indices.append(target[0])
            ids.append(b"%b%010x" % (target[1], offset))
            sources.append(b'%b%b%b","log.offset":%d,"log.length":%d,%b}' % (head, name, time, offset, length, suffix))
        batch = DocumentBatch(indices, ids, sources, lengths, self._dropped, self._hook_errors, self._hook_tracebacks)
        batch.traffic, self._traffic = self._traffic, {}
        if context.metadata_missing:
            batch.metadata_missing = len(ids) + self._dropped.total()
        return batch

    def _read_and_change(
        self, event: Event, time: bytes, *, secret: bool
    ) -> tuple[Target, bytes, bytes, OwnFields, str]:
        """Read an event into fields, which rules and redaction may change.

        Returns the event's target, then the parts of a `ReadEvent`. `secret`: whether it may contain a secret.
        """
        fields, rule, route = self._apply_rules(event)
        if rule:
            return NO_TARGET, b"", b"", NO_OWN_FIELDS, rule
        if self._redaction is not None and (secret or self._has_hooks):
            self._redaction.redact_event(fields, event, self._key_lines)
        target = self._targets.get(route or self._context.route, event[0], time[:10])
        head, name, own = self._context.reader.serialize(fields, time, target[2], late=target[3])
        return target, head, name, own, ""

    def _apply_rules(self, event: Event) -> tuple[JsonObject, str, str]:
        """Return an event's fields after the rules, the rule that drops it, and the route that the rules select."""
        rules, reader = self._context.compiled_rules, self._context.reader
        if rules is None:
            fields = reader.read_fields(event)
            return fields, reader.probe_rule(fields), ""
        if rules.drop_all_rule:
            return {}, rules.drop_all_rule, ""
        fields = reader.read_fields(event)
        result = rules.apply(fields, self._files[event[0]].identity, event[1])
        if result.failed_hooks:
            self._count_hook_errors(result.failed_hooks)
        return fields, result.dropped_by or ("" if result.kept else reader.probe_rule(fields)), result.route

    def _count_hook_errors(self, failed: list[tuple[str, BaseException]]) -> None:
        for rule, error in failed:
            self._hook_errors[rule] += 1
            if rule not in self._hook_tracebacks:
                self._hook_tracebacks[rule] = "".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES))

    def _to_utc(self, time: bytes) -> bytes:
        """Return the runtime's time in UTC; when the slice was read, if neither the line nor an earlier one has one."""
        return (cri.utc(time) if time else str(self._common_fields["event.created"])).encode()

    def _suffix(self, file: int, stream: bytes, own: OwnFields) -> bytes:
        """The last part of a document, cached: `own` are the service fields of the line."""
        fields = {
            "log.iostream": stream.decode(),
            "log.file.path": self._files[file].path[:PATH_MAX],
            **self._common_fields,
        }
        fields = {name: value for name, value in fields.items() if value not in ("", None)}
        suffix = b"%b,%b" % (json_fragment(fields), self._context.suffix(own))
        if len(self._suffixes) >= MAX_SUFFIXES:  # each line of another shipper's record is a file
            self._suffixes.clear()
        self._suffixes[file, stream, own] = suffix
        return suffix

    def _drop_excluded(self, excluded: frozenset[bytes]) -> None:
        """Drop the events of the streams that are excluded."""
        kept = [event for event in self._events if event[4] not in excluded]
        if len(kept) < len(self._events):
            self._dropped[EXCLUDED_RULE] += len(self._events) - len(kept)
        self._events = kept

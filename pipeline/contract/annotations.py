"""Options that a pod sets by annotations: ours, and those of other shippers where the meaning is equal. Pure.

Ours and Fluent Bit's have the form `NAME[_STREAM][-CONTAINER]`: `logs.crisp/exclude`, `logs.crisp/multiline-app`,
`fluentbit.io/parser_stderr`. An annotation of the container precedes one of the pod, then one of a stream precedes one
of both; ours precede those of other shippers. Filebeat's `co.elastic.logs[.CONTAINER]/enabled` and Vector's
`vector.dev/exclude` (a label) and `vector.dev/exclude-containers` keep their meaning.
"""

import re
from typing import NamedTuple

from pipeline.contract.json_types import JsonObject

STREAMS = ("stdout", "stderr")
PARSERS = frozenset({"auto", "json", "text", "access", "klog", "logfmt", "none"})
"""Valid values of the annotation `parser` and of the setting."""

FLUENT_BIT = "fluentbit.io"
FILEBEAT = "co.elastic.logs"
VECTOR = "vector.dev"
VALUE_MAX_BYTES = 4 * 1024
"""Of the value of an annotation that sets an option; a larger one is ignored."""
_MIRROR = "kubernetes.io/config.mirror"
_NAME = re.compile(r"(exclude|parser)(?:_(stdout|stderr))?(?:-(.+))?|(multiline)(?:-(.+))?")
# Parsers that Fluent Bit ships, or that are usually defined under this name; and their equivalents.
_FLUENT_BIT_PARSERS = {
    **{name: name for name in ("json", "logfmt", "klog")},
    **dict.fromkeys(("apache", "apache2", "nginx", "k8s-nginx-ingress", "envoy", "istio-envoy-proxy"), "access"),
}
_TRUE = frozenset({"true", "on", "yes", "1"})
_FALSE = frozenset({"false", "off", "no", "0"})
_GO_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})  # strconv.ParseBool, which Filebeat uses


class PodOptions(NamedTuple):
    """Options of one container, from the annotations of its pod.

    `excluded_streams`: streams that are not indexed. `parsers`: the parser of each stream. `multiline`: `traces`,
    `off` or a pattern; empty: the default. `invalid`: one message for each invalid annotation.
    """

    excluded_streams: frozenset[str] = frozenset()
    parsers: dict[str, str] = {}  # noqa: RUF012 - never changed
    multiline: str = ""
    invalid: tuple[str, ...] = ()


NO_OPTIONS = PodOptions()
StreamAnnotations = dict[tuple[str, str], tuple[str, str]]
"""Annotation and value, by option and stream."""


def pod_options(pod: JsonObject, container: str, prefix: str) -> PodOptions:
    """Return the options of a container from its Pod object; `prefix` is that of our annotations."""
    metadata = pod.get("metadata") or {}
    annotations = {str(name): str(value) for name, value in (metadata.get("annotations") or {}).items()}
    invalid = [f"{name}: no such annotation" for name in annotations if _is_unknown(name, prefix)]
    for name, value in list(annotations.items()):
        if is_relevant(name, prefix) and (size := len(value.encode())) > VALUE_MAX_BYTES:
            del annotations[name]
            invalid.append(f"{name}: {size} bytes, at most {VALUE_MAX_BYTES}")
    ours, theirs = (
        _stream_annotations(annotations, prefix, container),
        _stream_annotations(annotations, FLUENT_BIT, container),
    )
    excluded = _excluded_for_other_shippers(annotations, metadata.get("labels") or {}, container, theirs)
    parsers: dict[str, str] = {}
    for stream in STREAMS:
        if ("exclude", stream) in ours:
            name, value = ours["exclude", stream]
            if value.lower() not in _TRUE | _FALSE:
                invalid.append(f"{name}: {value!r} is neither true nor false")
            excluded = excluded - {stream} | ({stream} if value.lower() in _TRUE else set())
        parser, problem = _select_parser(ours.get(("parser", stream)), theirs.get(("parser", stream)))
        parsers |= {stream: parser} if parser else {}
        invalid += [problem] if problem else []
    multiline = ours.get(("multiline", STREAMS[0]), ("", ""))[1].strip()
    return PodOptions(frozenset(excluded), parsers, multiline, tuple(dict.fromkeys(invalid)))


def is_relevant(name: str, prefix: str) -> bool:
    """Return whether an annotation of that name can change the options."""
    owner = name.partition("/")[0]
    return name == _MIRROR or owner in {prefix, FLUENT_BIT, VECTOR} or owner.startswith(FILEBEAT)


def is_mirror_pod(annotations: JsonObject) -> bool:
    """Return whether a pod with these annotations is a mirror pod: the API's object of a static pod."""
    return _MIRROR in annotations


def _is_unknown(name: str, prefix: str) -> bool:
    owner, _, rest = name.partition("/")
    return owner == prefix and _NAME.fullmatch(rest) is None


def _stream_annotations(annotations: dict[str, str], prefix: str, container: str) -> StreamAnnotations:
    """The annotations of one owner that concern the container, by option and stream."""
    matching = []
    for name, value in annotations.items():
        owner, _, rest = name.partition("/")
        match = _NAME.fullmatch(rest) if owner == prefix else None
        if match is not None and (match[3] or match[5]) in {None, container}:
            matching.append(((match[3] or match[5]) is not None, match[2] or "", match[1] or match[4], name, value))
    selected: StreamAnnotations = {}
    for _, annotated_stream, option, name, value in sorted(matching):
        for stream in (annotated_stream,) if annotated_stream else STREAMS:
            selected[option, stream] = (name, value)
    return selected


def _excluded_for_other_shippers(
    annotations: dict[str, str], labels: JsonObject, container: str, fluent_bit: StreamAnnotations
) -> set[str]:
    """The streams that annotations and labels exclude for other shippers."""
    enabled = annotations.get(f"{FILEBEAT}.{container}/enabled", annotations.get(f"{FILEBEAT}/enabled", ""))
    containers = annotations.get(f"{VECTOR}/exclude-containers", "").split(",")
    if (
        enabled in _GO_FALSE
        or labels.get(f"{VECTOR}/exclude") == "true"
        or container in {name.strip() for name in containers}
    ):
        return set(STREAMS)
    return {stream for stream in STREAMS if fluent_bit.get(("exclude", stream), ("", ""))[1].lower() in _TRUE - {"1"}}


def _select_parser(ours: tuple[str, str] | None, fluent_bit: tuple[str, str] | None) -> tuple[str, str]:
    """The parser of a stream (empty: the default), and the problem of an invalid one."""
    if ours is not None:
        name, value = ours
        return (value, "") if value in PARSERS else ("", f"{name}: no parser {value!r}")
    if fluent_bit is not None:
        name, value = fluent_bit
        parser = _FLUENT_BIT_PARSERS.get(value, "")
        return parser, "" if parser else f"{name}: no parser is equivalent to {value!r}"
    return "", ""

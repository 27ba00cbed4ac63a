"""What a pod asks for its logs by annotations: ours, and those of other shippers where the meaning is equal. Pure.

Ours and Fluent Bit's are spelled alike, `NAME[_STREAM][-CONTAINER]`: `logs.crisp/exclude`, `logs.crisp/multiline-app`,
`fluentbit.io/parser_stderr`. What is said of the container counts before what is said of the pod, then what is said of
the stream, then what is said of both; and ours before all others'. Filebeat's `co.elastic.logs[.CONTAINER]/enabled`
and Vector's `vector.dev/exclude` (a label) and `vector.dev/exclude-containers` mean what they mean there.
"""

import re
from typing import Any, NamedTuple

STREAMS = ("stdout", "stderr")
PARSERS = frozenset({"auto", "json", "text", "access", "klog", "logfmt", "none"})
"""How lines can be read, as annotation and setting name it."""

FLUENT_BIT = "fluentbit.io"
FILEBEAT = "co.elastic.logs"
VECTOR = "vector.dev"
_MIRROR = "kubernetes.io/config.mirror"
_NAME = re.compile(r"(exclude|parser)(?:_(stdout|stderr))?(?:-(.+))?|(multiline)(?:-(.+))?")
# Parsers that Fluent Bit comes with, or that everybody defines under such a name.
_FLUENT_BIT_PARSERS = {
    **{name: name for name in ("json", "logfmt", "klog")},
    **dict.fromkeys(("apache", "apache2", "nginx", "k8s-nginx-ingress", "envoy", "istio-envoy-proxy"), "access"),
}
_TRUE = frozenset({"true", "on", "yes", "1"})
_FALSE = frozenset({"false", "off", "no", "0"})
_GO_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})  # strconv.ParseBool, which Filebeat asks


class PodOptions(NamedTuple):
    """What a pod asks for one of its containers.

    `excluded`: streams that are not to be indexed. `parsers`: by stream, how its lines are read. `multiline`:
    `traces`, `off` or a pattern, empty for what is usual. `refused`: what is asked for and cannot be, in words.
    """

    excluded_streams: frozenset[str] = frozenset()
    parsers: dict[str, str] = {}  # noqa: RUF012 - never changed
    multiline: str = ""
    invalid: tuple[str, ...] = ()


NO_OPTIONS = PodOptions()
StreamAnnotations = dict[tuple[str, str], tuple[str, str]]
"""Annotation and value, by what is asked for and the stream."""


def pod_options(pod: dict[str, Any], container: str, prefix: str) -> PodOptions:
    """What a Pod object asks for a container; `prefix` is that of our annotations."""
    about = pod.get("metadata") or {}
    annotations = {str(name): str(value) for name, value in (about.get("annotations") or {}).items()}
    refused = [f"{name}: no such annotation" for name in annotations if _is_unknown(name, prefix)]
    ours, theirs = (
        _stream_annotations(annotations, prefix, container),
        _stream_annotations(annotations, FLUENT_BIT, container),
    )
    excluded = _excluded_for_other_shippers(annotations, about.get("labels") or {}, container, theirs)
    parsers: dict[str, str] = {}
    for stream in STREAMS:
        if ("exclude", stream) in ours:
            name, value = ours["exclude", stream]
            if value.lower() not in _TRUE | _FALSE:
                refused.append(f"{name}: {value!r} is neither true nor false")
            excluded = excluded - {stream} | ({stream} if value.lower() in _TRUE else set())
        parser, fault = _select_parser(ours.get(("parser", stream)), theirs.get(("parser", stream)))
        parsers |= {stream: parser} if parser else {}
        refused += [fault] if fault else []
    multiline = ours.get(("multiline", STREAMS[0]), ("", ""))[1].strip()
    return PodOptions(frozenset(excluded), parsers, multiline, tuple(dict.fromkeys(refused)))


def is_relevant(name: str, prefix: str) -> bool:
    """Whether an annotation of that name may mean something here."""
    owner = name.partition("/")[0]
    return name == _MIRROR or owner in {prefix, FLUENT_BIT, VECTOR} or owner.startswith(FILEBEAT)


def is_mirror_pod(annotations: dict[str, Any]) -> bool:
    """Whether a pod of these annotations stands for one that the node's kubelet has from a file."""
    return _MIRROR in annotations


def _is_unknown(name: str, prefix: str) -> bool:
    owner, _, rest = name.partition("/")
    return owner == prefix and _NAME.fullmatch(rest) is None


def _stream_annotations(annotations: dict[str, str], prefix: str, container: str) -> StreamAnnotations:
    """What annotations of one spelling say of the container, by what it is about and the stream."""
    asked = []
    for name, value in annotations.items():
        owner, _, rest = name.partition("/")
        match = _NAME.fullmatch(rest) if owner == prefix else None
        if match is not None and (match[3] or match[5]) in {None, container}:
            asked.append(((match[3] or match[5]) is not None, match[2] or "", match[1] or match[4], name, value))
    found: StreamAnnotations = {}
    for _, stream, kind, name, value in sorted(asked):
        for one in (stream,) if stream else STREAMS:
            found[kind, one] = (name, value)
    return found


def _excluded_for_other_shippers(
    annotations: dict[str, str], labels: dict[str, Any], container: str, fluent_bit: StreamAnnotations
) -> set[str]:
    """The streams that are excluded for other shippers."""
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
    """The parser of a stream, empty for what is usual; and what is wrong with what is asked for."""
    if ours is not None:
        name, value = ours
        return (value, "") if value in PARSERS else ("", f"{name}: no parser {value!r}")
    if fluent_bit is not None:
        name, value = fluent_bit
        parser = _FLUENT_BIT_PARSERS.get(value, "")
        return parser, "" if parser else f"{name}: no parser here has the meaning of {value!r}"
    return "", ""

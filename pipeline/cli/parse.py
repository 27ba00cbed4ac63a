"""`crisp parse`: show what becomes of raw CRI lines, by the very code that the worker runs. Touches no server."""

import argparse
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline.cli.terminal import output
from pipeline.config import settings
from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import Settings
from pipeline.contract import annotations, pod_metadata
from pipeline.contract.pod_metadata import Instance
from pipeline.documents.builder import DocumentBuilder, merge
from pipeline.documents.explain import Explainer
from pipeline.errors import CrispError
from pipeline.grouping import grouper
from pipeline.operations.log_input import STDIN, LogInput
from pipeline.rules import loader as rules
from pipeline.rules.test_case import to_hits

DEFAULT_PATH = "/var/log/pods/default_stdin_00000000-0000-0000-0000-000000000000/stdin/0.log"
EXAMPLE = """examples:
  echo '2026-11-24T10:00:00.000000001Z stdout F {"level":"warn","msg":"hi"}' | crisp parse
  crisp parse --explain --rules rules.yaml /var/log/pods/shop_pay-1_*/pay/0.log*
  kubectl get pod pay-1 -o json > pod.json && crisp parse --pod pod.json lines.txt

Prints an Elasticsearch hit per document: pretty on a terminal, else one JSON object a line. What is dropped, and what
is no CRI line, is counted on standard error.

exit code 0: all was read; 1: something cannot be read; 2: wrong usage, or settings or rules are refused"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("file", nargs="*", help="log files of a container, also packed (.gz); standard input without")
    parser.add_argument("--path", help="path of the file on its node: it names pod and container")
    parser.add_argument("--pod", metavar="FILE", help="the Pod object as JSON (kubectl get pod -o json)")
    parser.add_argument("--rules", metavar="FILE", help="the rules file, instead of CRISP_RULES_FILE")
    parser.add_argument("--explain", action="store_true", help="tell where each field came from, and what was dropped")


def run(args: argparse.Namespace) -> int:
    """Print what becomes of the lines; exit code 0. Raises CrispError."""
    effective = settings.load()
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules)
    summary = output.Summary()
    try:
        _print_documents(_open_inputs(args, effective), effective, summary, explain=args.explain)
        sys.stdout.flush()
    except BrokenPipeError:
        # `crisp parse | head` has seen enough; what Python flushes at its end must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for line in summary.lines(full=args.explain):
        print(line, file=sys.stderr)
    return 0


def parse(
    data: bytes, path: str, pod_object: dict[str, Any] | None, effective: Settings
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """What would be indexed of a file's bytes, as Elasticsearch's hits; and how many events which rule drops."""
    source = _open_input(
        pod_metadata.parse_path(path) or _default_instance(pod_object),
        [path],
        path,
        pod_object,
        effective,
        read=lambda _: iter((data,)),
    )
    documents = DocumentBuilder(effective, rules.load(effective))
    parcels = [documents.build(part, time.time_ns()) for part in source.slices()]
    whole = merge(parcels)
    return to_hits(whole.documents), dict(whole.dropped)


def _print_documents(inputs: list[LogInput], effective: Settings, summary: output.Summary, *, explain: bool) -> None:
    ruleset = rules.load(effective)
    documents, explainer = DocumentBuilder(effective, ruleset), Explainer(effective, ruleset)
    printer = output.Printer()
    for part in itertools.chain.from_iterable(source.slices() for source in inputs):
        if explain:
            for told in explainer.explain(part, time.time_ns()):
                printer.print_explanation(told)
                if told.hit is None:
                    summary.dropped[told.rule] += 1
                else:
                    summary.count(told.hit)
            continue
        parcel = documents.build(part, time.time_ns())
        summary.dropped += parcel.dropped
        for hit in to_hits(parcel.documents):
            printer.print_hit(hit)
            summary.count(hit)


def _open_inputs(args: argparse.Namespace, effective: Settings) -> list[LogInput]:
    """The files by the container instance that their paths name, in the order in which they were given."""
    about = _read_pod(args.pod)
    if args.path and pod_metadata.parse_path(args.path) is None:
        raise CrispError(f"--path {args.path}: not as the kubelet names logs, NAMESPACE_POD_UID/CONTAINER/0.log")
    files: dict[Instance, list[str]] = {}
    for name in args.file or [STDIN]:
        instance = pod_metadata.parse_path(args.path or str(Path(name).absolute())) or _default_instance(about)
        files.setdefault(instance, []).append(name)
    return [
        _open_input(instance, names, args.path or (DEFAULT_PATH if names == [STDIN] else ""), about, effective)
        for instance, names in files.items()
    ]


def _open_input(
    instance: Instance,
    files: list[str],
    path: str,
    pod_object: dict[str, Any] | None,
    effective: Settings,
    read: Callable[[str], Iterator[bytes]] | None = None,
) -> LogInput:
    node, wish = effective.node_name, annotations.NO_OPTIONS
    metadata = pod_metadata.from_path(instance, node)
    if pod_object is not None:
        wish = Exclusion(effective).pod_options(pod_object, instance.container)
        metadata = pod_metadata.from_api(instance, node, pod_object, frozenset(effective.annotations.split()), wish)
    metadata = pod_metadata.from_link(path or files[0], metadata)
    mode, fault = grouper.requested_grouping(effective.grouping, wish.multiline)
    for refused in (*wish.invalid, *([f"multiline: {fault}"] if fault else [])):
        print(f"annotation is not used: {refused}", file=sys.stderr)
    return LogInput(instance, files, path, grouping=mode, pod=metadata, node=node, read=read)


def _default_instance(pod_object: dict[str, Any] | None) -> Instance:
    """The instance of lines whose path tells none: the one container of the Pod object, if there is one."""
    instance = pod_metadata.parse_path(DEFAULT_PATH)
    assert instance is not None
    containers = ((pod_object or {}).get("spec") or {}).get("containers") or []
    return instance._replace(container=str(containers[0]["name"])) if len(containers) == 1 else instance


def _read_pod(file: str | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        found = orjson.loads(Path(file).read_bytes())
    except (OSError, ValueError) as fault:
        raise CrispError(f"--pod {file}: {fault}") from fault
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict) or "items" in found:
        raise CrispError(f"--pod {file}: not a Pod object, as `kubectl get pod NAME -o json` prints it")
    return found

"""`crisp parse`: print the documents made of raw CRI lines, with the worker's own code and without any server."""

import argparse
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from pipeline.cli.terminal import output
from pipeline.config.environment import load_settings
from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import RulesSettings, Settings, ShipperSettings
from pipeline.contract import annotations, pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance
from pipeline.documents.batch import merge
from pipeline.documents.builder import DocumentBuilder
from pipeline.documents.explain import Explainer
from pipeline.errors import CrispError
from pipeline.grouping import grouper
from pipeline.operations.log_input import STDIN, LogInput
from pipeline.rules import loader as rules_loader

DEFAULT_PATH = "/var/log/pods/default_stdin_00000000-0000-0000-0000-000000000000/stdin/0.log"
EXAMPLE = """examples:
  echo '2026-11-24T10:00:00.000000001Z stdout F {"level":"warn","msg":"hi"}' | crisp parse
  crisp parse --explain --rules rules.yaml /var/log/pods/shop_pay-1_*/pay/0.log*
  kubectl get pod pay-1 -o json > pod.json && crisp parse --pod pod.json lines.txt

Prints one Elasticsearch hit per document: formatted on a terminal, else one JSON object per line. Dropped events and
lines that are not CRI lines are counted on standard error.

exit code 0: all input was read; 1: an input is unreadable; 2: wrong usage, or invalid settings or rules"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("file", nargs="*", help="log files, also compressed (.gz); default: standard input")
    parser.add_argument("--path", help="path of the file on its node, which identifies pod and container")
    parser.add_argument("--pod", metavar="FILE", help="the Pod object as JSON (kubectl get pod -o json)")
    parser.add_argument("--rules", metavar="FILE", help="the rules file, instead of CRISP_RULES_FILE")
    parser.add_argument("--explain", action="store_true", help="print the origin of each field, and the dropped events")


def run(args: argparse.Namespace) -> int:
    """Print the documents made of the lines; return 0. Raises CrispError."""
    effective = load_settings()
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules)
    summary = output.Summary()
    try:
        _print_documents(_open_inputs(args, effective), effective, summary, explain=args.explain)
        sys.stdout.flush()
    except BrokenPipeError:
        # `crisp parse | head` has closed the pipe. Python flushes at exit, which must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for line in summary.lines(full=args.explain):
        print(line, file=sys.stderr)
    return 0


def parse(
    data: bytes, path: str, pod_object: JsonObject | None, effective: Settings
) -> tuple[list[JsonObject], dict[str, int]]:
    """Return the documents made of a file's bytes, as Elasticsearch hits, and the number of dropped events by rule."""
    source = _open_input(
        pod_metadata.parse_path(path) or _default_instance(pod_object),
        [path],
        path,
        pod_object,
        effective,
        read=lambda _: iter((data,)),
    )
    builder = DocumentBuilder(effective, rules_loader.load(effective))
    batch = merge([builder.build(log_slice, time.time_ns()) for log_slice in source.slices()])
    return batch.to_hits(), dict(batch.dropped)


def _print_documents(
    inputs: list[LogInput], effective: RulesSettings, summary: output.Summary, *, explain: bool
) -> None:
    ruleset = rules_loader.load(effective)
    builder, explainer = DocumentBuilder(effective, ruleset), Explainer(effective, ruleset)
    printer = output.Printer()
    for log_slice in itertools.chain.from_iterable(source.slices() for source in inputs):
        if explain:
            for explanation in explainer.explain(log_slice, time.time_ns()):
                printer.print_explanation(explanation)
                if explanation.hit is None:
                    summary.dropped[explanation.rule] += 1
                else:
                    summary.count(explanation.hit)
            continue
        batch = builder.build(log_slice, time.time_ns())
        summary.dropped += batch.dropped
        for hit in batch.to_hits():
            printer.print_hit(hit)
            summary.count(hit)


def _open_inputs(args: argparse.Namespace, effective: ShipperSettings) -> list[LogInput]:
    """Group the files by the container instance that their paths identify, in the order given."""
    pod_object = _read_pod(args.pod)
    if args.path and pod_metadata.parse_path(args.path) is None:
        raise CrispError(f"--path {args.path}: not a log path of the kubelet, NAMESPACE_POD_UID/CONTAINER/0.log")
    files: dict[Instance, list[str]] = {}
    for name in args.file or [STDIN]:
        instance = pod_metadata.parse_path(args.path or str(Path(name).absolute())) or _default_instance(pod_object)
        files.setdefault(instance, []).append(name)
    return [
        _open_input(instance, names, args.path or (DEFAULT_PATH if names == [STDIN] else ""), pod_object, effective)
        for instance, names in files.items()
    ]


def _open_input(
    instance: Instance,
    files: list[str],
    path: str,
    pod_object: JsonObject | None,
    effective: ShipperSettings,
    read: Callable[[str], Iterator[bytes]] | None = None,
) -> LogInput:
    node, options = effective.node_name, annotations.NO_OPTIONS
    metadata = pod_metadata.from_path(instance, node)
    if pod_object is not None:
        options = Exclusion(effective).pod_options(pod_object, instance.container)
        metadata = pod_metadata.from_api(instance, node, pod_object, frozenset(effective.annotations), options)
    metadata = pod_metadata.from_link(path or files[0], metadata)
    grouping, problem = grouper.requested_grouping(effective.grouping, options.multiline)
    for invalid in (*options.invalid, *([f"multiline: {problem}"] if problem else [])):
        print(f"invalid annotation: {invalid}", file=sys.stderr)
    return LogInput(instance, files, path, grouping=grouping, pod=metadata, node=node, read=read)


def _default_instance(pod_object: JsonObject | None) -> Instance:
    """Return the instance for lines without a path: the container of the Pod object, if it has exactly one."""
    instance = pod_metadata.parse_path(DEFAULT_PATH)
    assert instance is not None
    containers = ((pod_object or {}).get("spec") or {}).get("containers") or []
    return instance._replace(container=str(containers[0]["name"])) if len(containers) == 1 else instance


def _read_pod(file: str | None) -> JsonObject | None:
    if file is None:
        return None
    try:
        pod_object = orjson.loads(Path(file).read_bytes())
    except OSError as error:
        raise CrispError(f"--pod {file}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise CrispError(f"--pod {file}: not JSON: {error}") from error
    if not isinstance(pod_object, dict) or not isinstance(pod_object.get("metadata"), dict) or "items" in pod_object:
        raise CrispError(f"--pod {file}: not a Pod object, as `kubectl get pod NAME -o json` prints it")
    return pod_object

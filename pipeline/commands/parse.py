"""`crisp parse`: show what becomes of raw CRI lines, by the very code that the worker runs. Touches no server."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from pipeline import cri, grouping, pod, record, settings
from pipeline.document import Documents
from pipeline.errors import CrispError
from pipeline.record import LogSlice, Segment, SourceFile
from pipeline.rules import file as rules
from pipeline.rules.trial import hits
from pipeline.settings import Settings

STANDARD_PATH = "/var/log/pods/default_stdin_00000000-0000-0000-0000-000000000000/stdin/0.log"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("file", nargs="?", help="raw lines of a container's log file; standard input without it")
    parser.add_argument("--path", help="path of the file on its node: it names pod and container")
    parser.add_argument("--rules", metavar="FILE", help="the rules file, instead of CRISP_RULES_FILE")
    parser.add_argument("--pod", help="file with the Pod object as JSON (kubectl get pod -o json)")


def run(args: argparse.Namespace) -> int:
    """Print a hit per document: pretty on a terminal, else one JSON object a line."""
    effective = settings.load()
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules)
    data = Path(args.file).read_bytes() if args.file else sys.stdin.buffer.read()
    path = args.path or (str(Path(args.file).resolve()) if args.file else STANDARD_PATH)
    found, dropped = parse(data, path, _pod(args.pod), effective)
    console = Console() if sys.stdout.isatty() else None
    for hit in found:
        if console:
            console.print_json(data=hit)
        else:
            sys.stdout.buffer.write(orjson.dumps(hit) + b"\n")
    for rule, number in dropped.items():
        print(f"{number} events dropped: {rule}", file=sys.stderr)
    return 0


def _pod(file: str | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        found = orjson.loads(Path(file).read_bytes())
    except (OSError, ValueError) as fault:
        raise CrispError(f"--pod {file}: {fault}") from fault
    if not isinstance(found, dict):
        raise CrispError(f"--pod {file}: not a Pod object")
    return found


def parse(
    data: bytes, path: str, of: dict[str, Any] | None, effective: Settings
) -> tuple[Iterator[dict[str, Any]], dict[str, int]]:
    """What would be indexed of a file's lines, as Elasticsearch's hits; and how many events which rule drops."""
    if not data:
        return iter(()), {}
    instance = pod.instance(path) or pod.instance(STANDARD_PATH)
    assert instance is not None
    node = effective.node_name
    metadata = pod.from_path(instance, node) if of is None else pod.from_api(instance, node, of)
    first = data.partition(b"\n")[0]
    known = cri.parse(first) is not None
    identity = record.identity(instance.uid, instance.container, instance.restart, first) if known else "A" * 16
    part = LogSlice(
        value=data if data.endswith(b"\n") else data + b"\n",
        files=(SourceFile(identity, path),),
        segments=(Segment(0, 0, len(data)),),
        node=node,
        read=time.time_ns(),
        grouping=grouping.by(effective),
        pod=metadata,
    )
    parcel = Documents(effective, rules.load(effective)).of(part, time.time_ns())
    return iter(hits(parcel.documents)), dict(parcel.dropped)

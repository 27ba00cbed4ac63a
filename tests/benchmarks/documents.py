"""The cost of building documents, by kind of lines, in lines per CPU-second.

`python -m tests.benchmarks.documents`; no server, no Kafka. Medians of several interleaved runs in one process.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBuilder
from pipeline.parsing import timestamp
from tests.benchmarks import lines

LINES_PER_SLICE = 600  # of a slice under load
NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z


def slices(count: int, kinds: list[Callable[[random.Random, int], str]], settings: Settings) -> list[LogSlice]:
    """Return slices of one container each, every container with its own kind of lines."""
    return [_slice(index, kinds[index % len(kinds)], settings) for index in range(count)]


def _slice(index: int, line: Callable[[random.Random, int], str], settings: Settings) -> LogSlice:
    random_ = random.Random(index)
    start = NOW - LINES_PER_SLICE * 500_000
    value = "".join(
        f"{timestamp.format_utc(start + number * 500_000)} stdout F {line(random_, start + number * 500_000)}\n"
        for number in range(LINES_PER_SLICE)
    ).encode()
    instance = Instance("shop", f"app-{index % 20}", f"{index % 20:08d}-1111-2222-3333-444444444444", "app", 0)
    labels = {"app": "shop", "app.kubernetes.io/version": "2.4.1", "pod-template-hash": "66b6d9f8c4"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "shop/app:2.4.1"}]}}
    return LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", "/var/log/pods/shop_app_u/app/0.log"),),
        segments=(Segment(0, 0, len(value)),),
        node="node-1",
        read_at=NOW,
        grouping=settings.grouping,
        pod=pod_metadata.from_api(instance, "node-1", pod),
    )


def rate(log_slices: list[LogSlice], builder: DocumentBuilder) -> float:
    """Build the documents; return the lines per CPU-second."""
    started = time.process_time()
    for log_slice in log_slices:
        builder.build(log_slice, NOW + 10**9)
    return len(log_slices) * LINES_PER_SLICE / (time.process_time() - started)


def main() -> None:
    """Print one JSON object: the median rate of each kind of lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    mixed = [kind for text in lines.FORMATS for kind in (lines.ecs, text)]
    kinds: dict[str, Any] = {"mixed": mixed, "json": [lines.ecs]}
    kinds |= {f"text {kind.__name__.strip('_')}": [kind] for kind in lines.FORMATS}
    settings = Settings()
    work = {name: (slices(args.slices, chosen, settings), DocumentBuilder(settings)) for name, chosen in kinds.items()}
    runs = [{name: rate(*pair) for name, pair in work.items()} for _ in range(args.runs)]
    print(json.dumps({name: round(statistics.median(run[name] for run in runs)) for name in work}, indent=1))


if __name__ == "__main__":
    main()

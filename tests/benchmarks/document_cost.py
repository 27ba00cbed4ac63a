"""What documents cost Elasticsearch: CPU-seconds per million, and bytes after merging; whole documents, or each field.

`python -m tests.benchmarks.document_cost`; a real Elasticsearch with this version's index template, the documents of
`workload`'s lines. To compare two versions in turns in one run, save the other one's documents and template with
`--save DIRECTORY` in its own checkout, then add `--compare DIRECTORY`. `--fields` measures each field: the documents
have a time, a message, and the field eight times under eight names, so that the difference to the time and message
alone is above the noise.

CPU is that of the process of Elasticsearch (/proc/PID/stat), with refreshes and merges; merging into one segment
afterwards is not counted. The first round warms the JVM and is not counted; medians of the others. The distribution for
tests has no mapper for `match_only_text` and `wildcard`: there they are `text`, which is dearer.
"""

import argparse
import http.client
import itertools
import json
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pipeline.config.settings import Settings
from pipeline.documents.builder import DocumentBuilder
from pipeline.elasticsearch import index_template
from pipeline.elasticsearch.index_template import Unsupported
from pipeline.local.stack import DEFAULT_VERSION, Stack
from tests.benchmarks import lines
from tests.benchmarks.documents import LINES_PER_SLICE, NOW, slices

BUILD = Path(__file__).parent.parent.parent / "build"
BULK_DOCUMENTS = 1000
COPIES = 8
BASE = ("@timestamp", "message")
HEAD = (
    "| documents | CPU-seconds per million | merged bytes per document | sent bytes per document |\n|---|--:|--:|--:|"
)


class Variant(NamedTuple):
    """Documents, and the body of the index that they are indexed in."""

    body: dict[str, Any]
    sources: list[bytes]


class Cost(NamedTuple):
    """The cost of one run, per document: CPU in microseconds, and bytes."""

    cpu: float
    merged: float
    sent: float

    def row(self, name: str, base: "Cost", copies: int = 1) -> str:
        """Return a row of the table: the difference to `base`, per copy."""
        cpu, merged, sent = ((mine - its) / copies for mine, its in zip(self, base, strict=True))
        return f"| {name} | {cpu:.2f} | {merged:.1f} | {sent:.0f} |"


class Server:
    """A running Elasticsearch; one index at a time."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._connection = http.client.HTTPConnection("127.0.0.1", stack.address.es_port, timeout=600)
        self._numbers = itertools.count()

    def request(self, method: str, path: str, body: bytes = b"", *, allowed: tuple[int, ...] = (200,)) -> Any:
        """Return the response as JSON. Ends the program if the status is another."""
        self._connection.request(method, path, body or None, {"content-type": "application/json"})
        response = self._connection.getresponse()
        content = orjson.loads(response.read())
        if response.status not in allowed:
            raise SystemExit(f"{method} {path}: {response.status} {str(content)[:2000]}")
        return content

    def supported_index(self, settings: Settings) -> dict[str, Any]:
        """Return settings and mappings of the index template of this version, without what the server lacks."""
        unsupported = Unsupported(settings=frozenset({index_template.LIFECYCLE_SETTING}))
        template = index_template.all_templates(settings)[0]
        while True:
            body = index_template.body(template, settings, unsupported)
            answer = self.request("POST", "/_index_template/_simulate", orjson.dumps(body), allowed=(200, 400))
            more = index_template.unsupported_features(str(answer.get("error", "")))
            if more <= unsupported:
                index: dict[str, Any] = body["template"]
                return index
            unsupported = Unsupported(unsupported.types | more.types, unsupported.settings | more.settings)

    def measure(self, variant: Variant) -> Cost:
        """Index the documents, merge them into one segment, delete the index."""
        name = f"bench-{next(self._numbers)}"
        settings = {**variant.body["settings"], "index.auto_expand_replicas": False, "index.number_of_replicas": 0}
        self.request("PUT", f"/{name}", orjson.dumps({**variant.body, "settings": settings}))
        count = len(variant.sources)
        before = self._stack.elasticsearch.cpu_seconds()
        for body in _bulks(variant.sources):
            answer = self.request("POST", f"/{name}/_bulk?filter_path=errors,items.*.error", body)
            if answer["errors"]:
                raise SystemExit(f"rejected: {str(answer['items'][0])[:2000]}")
        self.request("POST", f"/{name}/_refresh")
        cpu = self._stack.elasticsearch.cpu_seconds() - before
        self.request("POST", f"/{name}/_forcemerge?max_num_segments=1&flush=true")
        self.request("POST", f"/{name}/_flush?force=true")
        stats = self.request("GET", f"/{name}/_stats/store,docs")["_all"]["primaries"]
        if stats["docs"]["count"] != count:
            raise SystemExit(f"{stats['docs']['count']} documents are there, {count} were sent")
        self.request("DELETE", f"/{name}")
        return Cost(cpu / count * 1e6, stats["store"]["size_in_bytes"] / count, sum(map(len, variant.sources)) / count)


def _bulks(sources: list[bytes]) -> Iterator[bytes]:
    for start in range(0, len(sources), BULK_DOCUMENTS):
        part = enumerate(sources[start : start + BULK_DOCUMENTS], start)
        yield b"".join(b'{"create":{"_id":"AAAAAAAAAAAAAAAA-%010x"}}\n%b\n' % (240 * at, text) for at, text in part)


def documents(count: int, settings: Settings) -> list[bytes]:
    """Return this many documents of the workload's lines: half JSON, half text in five formats, with metadata."""
    kinds: list[Callable[[random.Random, int], str]] = [kind for text in lines.FORMATS for kind in (lines.ecs, text)]
    builder = DocumentBuilder(settings)
    log_slices = slices(-(-count // LINES_PER_SLICE), kinds, settings)
    batches = [builder.build(log_slice, NOW + 10**9).sources for log_slice in log_slices]
    rounds = (source for row in itertools.zip_longest(*batches) for source in row if source)  # as containers interleave
    return list(itertools.islice(rounds, count))


def field_variants(whole: Variant) -> dict[str, Variant]:
    """Return a variant for each field, with copies of it, after the one with a time and a message alone."""
    bodies = [orjson.loads(source) for source in whole.sources]
    properties = whole.body["mappings"]["properties"]
    variants = {"time and message": _copies("", bodies, whole.body, {})}
    for name in dict.fromkeys(name for body in bodies[:1000] for name in body if name not in BASE):
        variants[name] = _copies(name, bodies, whole.body, properties.get(name, {"type": "keyword"}))
    return variants


def _copies(name: str, bodies: list[dict[str, Any]], index: dict[str, Any], mapping: dict[str, Any]) -> Variant:
    names = [f"copy_{number}" for number in range(COPIES)] if name else []
    properties = {base: index["mappings"]["properties"][base] for base in BASE} | dict.fromkeys(names, mapping)
    sources = []
    for body in bodies:
        copies = dict.fromkeys(names, body[name]) if name in body else {}
        sources.append(orjson.dumps({base: body[base] for base in BASE} | copies))
    settings = {key: value for key, value in index["settings"].items() if "default_field" not in key}
    return Variant({"settings": settings, "mappings": {"dynamic": "strict", "properties": properties}}, sources)


def save(directory: Path, variant: Variant) -> None:
    """Write documents and index."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.json").write_bytes(orjson.dumps(variant.body))
    (directory / "documents.ndjson").write_bytes(b"\n".join(variant.sources))


def load(directory: Path) -> Variant:
    """Read what `save` has written."""
    sources = (directory / "documents.ndjson").read_bytes().split(b"\n")
    return Variant(orjson.loads((directory / "index.json").read_bytes()), sources)


def run(server: Server, variants: dict[str, Variant], rounds: int) -> dict[str, Cost]:
    """Measure every variant in each round, in turns; return the medians without the first round."""
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name, variant in variants.items():
            costs[name].append(server.measure(variant))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "documents.json").write_text(json.dumps(costs, indent=1))
    return {name: Cost(*map(statistics.median, zip(*rows[1:], strict=True))) for name, rows in costs.items()}


def variants_of(server: Server, args: argparse.Namespace) -> dict[str, Variant]:
    """Return what is measured, by name; the first is what the fields are compared with."""
    settings = Settings()
    whole = Variant(server.supported_index(settings), documents(args.count, settings))
    if args.save:
        save(args.save, whole)
        return {}
    if args.fields:
        return field_variants(whole)
    logsdb = {}
    if not args.version.startswith("8.11."):
        logsdb["this version, logsdb"] = whole._replace(body=server.supported_index(Settings(index_mode="logsdb")))
    return {**{path.name: load(path) for path in args.compare}, "this version": whole, **logsdb}


def table(medians: dict[str, Cost], *, fields: bool) -> str:
    """Return the costs as a table; of fields, what each costs beyond a time and a message."""
    first, nothing = next(iter(medians)), Cost(0, 0, 0)
    rows = [
        cost.row(name, medians[first], COPIES) if fields and name != first else cost.row(name, nothing)
        for name, cost in medians.items()
    ]
    return "\n".join([HEAD, *rows])


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="documents in a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--version", default=DEFAULT_VERSION)
    parser.add_argument("--save", type=Path, help="write documents and template there, measure nothing")
    parser.add_argument("--compare", type=Path, nargs="*", default=[], help="what another version has saved")
    parser.add_argument("--fields", action="store_true", help="measure each field")
    return parser.parse_args()


def main() -> None:
    """Print the table; write it to `build/documents.md`, with every run in `build/documents.json`."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="crisp-bench-") as temporary:
        Path(temporary).chmod(0o755)  # Elasticsearch runs as another user
        stack = Stack(Path(temporary), args.version)
        stack.start_elasticsearch()
        try:
            stack.wait_elasticsearch()
            server = Server(stack)
            variants = variants_of(server, args)
            medians = run(server, variants, args.rounds) if variants else {}
        finally:
            stack.elasticsearch.kill()
    if medians:
        title = f"{args.count:,} documents, Elasticsearch {args.version}, {args.rounds} rounds"
        text = f"{title}\n\n{table(medians, fields=args.fields)}"
        (BUILD / "documents.md").write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    main()

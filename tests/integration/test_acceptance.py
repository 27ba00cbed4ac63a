"""Elasticsearch accepts the documents of all kinds of lines: in one index, in any order."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract import cri
from pipeline.parsing import timestamp
from tests.captures.expectations import SETUPS
from tests.captures.test_captures import CAPTURES, documents
from tests.integration.flow import Flow
from tests.pipeline.grouping.traces import read_traces
from tests.pipeline.parsing.examples import LOGGERS, TEXTS

HOSTILE = [
    '{"message":{"nested":1}}',
    '{"message":["a","b"]}',
    '{"message":null}',
    '{"a":1}',
    '{"a":"text"}',
    '{"a":{"b":1}}',
    '{"a":[1,"x",null]}',
    '{"a":true}',
    '{"a":1.5}',
    '{"b":true}',
    '{"b":"yes"}',
    '{"source.ip":"not an address","http.response.status_code":"OK","event.duration":"long"}',
    '{"@timestamp":"never","event":"text","event.created":"x"}',
    '{"":1," ":2,".":3,"a..b":4,".c":5,"d.":6,"_id":7,"_source":8,"_index":9,"_type":10,"_ignored":11}',
    '{"kubernetes.labels":"x","kubernetes":{"labels":{"app":{"deep":1}}},"labels":"text","labels.x":{"y":1}}',
    '{"stream":"mine","log":"text","host":"h","service":"s","error":{"stack_trace":1},"tags":{"a":1}}',
    '{"big":123456789012345678901234567890,"small":1e-400,"huge":1e308}',
    '{"long":"%s"}' % ("x" * 40000),
    '{"%s":1}' % ("k" * 2000),
    '{"log.level":["error"],"trace.id":{"a":1},"url.path":["/a"],"url":"text"}',
    '{"crisp":{"safe":1},"app":{"overflow":1},"app.overflow":{"x":2}}',
    json.dumps({f"field{number}": number for number in range(1000)}),
    '{"deep":' * 60 + "1" + "}" * 60,
]


def _conformance_lines(path: Path) -> list[str]:
    """The content of each line of the conformance cases, without duplicates."""
    contents: dict[str, None] = {}
    for file in sorted((path / "cases").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            for raw in json.loads(line).get("input_lines", ()):
                text = raw if isinstance(raw, str) else str(raw.get("line", raw.get("message")))
                parts = text.split(" ", 3)
                contents[parts[3] if len(parts) == 4 and parts[1] in {"stdout", "stderr"} else text] = None
    return [text for text in contents if "\n" not in text]


def _ship(flow: Flow, lines: list[str]) -> list[dict[str, Any]]:
    """Ship the lines in two orders and return the documents; fails unless each line is one document."""
    for seed in (1, 2):
        shuffled = random.Random(seed).sample(lines, len(lines))
        start = time.time_ns() - len(lines) * 2_000_000_000
        # Two seconds apart: no line continues the one before.
        text = "".join(
            f"{timestamp.format_utc(start + number * 2_000_000_000)} stdout F {line}\n"
            for number, line in enumerate(shuffled)
        )
        (flow.make_container(f"pod-{seed}") / "0.log").write_text(text, "utf-8", "surrogatepass")
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker, seconds=180)  # hundreds of new fields, each a change of the mapping
    hits = flow.documents()
    assert len(hits) == 2 * len(lines)
    return hits


def test_hostile_lines_and_every_format_are_indexed_without_rejection(flow: Flow) -> None:
    examples = [example.line for example in TEXTS + LOGGERS if "\n" not in example.line]
    hits = _ship(flow, HOSTILE + examples)

    assert [hit["_source"]["crisp.rejected.reason"] for hit in hits if "crisp.rejected.reason" in hit["_source"]] == []
    assert "dead-lettered" not in flow.worker.output.read_text()


def test_captured_lines_of_real_loggers_are_indexed_without_rejection(flow: Flow) -> None:
    """Each capture is the log of a container; its lines keep their distance in time."""
    now = time.time_ns()
    for name in SETUPS:
        lines = [line.split(b" ", 1) for line in (CAPTURES / f"{name}.log").read_bytes().splitlines()]
        times = [cri.nanoseconds(written) or 0 for written, _ in lines]
        text = (
            b"%b %b\n" % (timestamp.format_utc(now + moment - times[0]).encode(), rest)
            for moment, (_, rest) in zip(times, lines, strict=True)
        )
        (flow.make_container(name.replace("_", "-")) / "0.log").write_bytes(b"".join(text))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker, seconds=180)
    hits = flow.documents()

    assert len(hits) == sum(len(documents(name)) for name in SETUPS)
    assert [hit["_source"]["crisp.rejected.reason"] for hit in hits if "crisp.rejected.reason" in hit["_source"]] == []
    assert "dead-lettered" not in flow.worker.output.read_text()


def test_stack_trace_of_every_language_is_one_document(flow: Flow) -> None:
    traces = read_traces()
    start = time.time_ns() - len(traces) * 2_000_000_000
    lines = []
    for number, trace in enumerate(traces.values()):
        for position, text in enumerate(trace.split("\n")):
            lines.append(f"{timestamp.format_utc(start + number * 2_000_000_000 + position)} stderr F {text}\n")
    (flow.make_container("pod") / "0.log").write_text("".join(lines))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    sources = [hit["_source"] for hit in flow.documents()]

    # Elasticsearch 7 writes one JSON object on several lines: its message is that of the object.
    messages = [json.loads(trace)["message"] if trace.startswith("{") else trace for trace in traces.values()]
    assert sorted(source["message"] for source in sources) == sorted(messages)
    assert not [source for source in sources if "crisp.rejected.reason" in source]


def test_conformance_cases_are_indexed_without_rejection(flow: Flow, shared: Path) -> None:
    hits = _ship(flow, _conformance_lines(shared))

    assert [hit["_source"]["crisp.rejected.reason"] for hit in hits if "crisp.rejected.reason" in hit["_source"]] == []


@pytest.mark.parametrize(("query", "number"), [("a:1", 1), ("message:refused", 2), ("log.level:warn", 1), ("b.c:x", 1)])
def test_query_finds_logged_values(flow: Flow, query: str, number: int) -> None:
    lines = ['{"a":1,"message":"refused"}', '{"level":"warning","message":"x"}', "refused too", '{"b":{"c":"x"}}']
    (flow.make_container("pod") / "0.log").write_text(
        "".join(f"{timestamp.format_utc(time.time_ns() + index)} stdout F {line}\n" for index, line in enumerate(lines))
    )
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    flow.documents()

    assert flow.request(f"{flow.prefix}-*/_count?q={query}")["count"] == number


def test_value_of_another_type_than_its_field_is_found(flow: Flow) -> None:
    lines = ['{"n":1,"status":200,"user_id":9007199254740993,"source.ip":"10.0.0.1"}', '{"n":1.5,"status":"ok"}']
    lines += ['{"source.ip":"web-1"}', '{"user_id":9007199254740992}']
    for number, line in enumerate(lines):
        pod = flow.make_container(f"pod-{number}") / "0.log"
        pod.write_text(f"{timestamp.format_utc(time.time_ns())} stdout F {line}\n")
        flow.run_once(flow.shipper)
        flow.run_once(flow.worker)
    flow.documents()

    queries = ["n:1.5", "n:1", "status:200", "status.as_text:ok", "app.source.ip:web\\-1", "user_id:9007199254740993"]
    found = {query: flow.request(f"{flow.prefix}-*/_count?q={query}")["count"] for query in queries}
    assert found == dict.fromkeys(queries, 1)

"""Whatever a log says, the real Elasticsearch takes the document: all in one index, in any order."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.parsing import timestamp
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
    """What every line of every case says, once each."""
    found: dict[str, None] = {}
    for file in sorted((path / "cases").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            for raw in json.loads(line).get("input_lines", ()):
                text = raw if isinstance(raw, str) else str(raw.get("line", raw.get("message")))
                head = text.split(" ", 3)
                found[head[3] if len(head) == 4 and head[1] in {"stdout", "stderr"} else text] = None
    return [text for text in found if "\n" not in text]


def _ship(flow: Flow, lines: list[str]) -> list[dict[str, Any]]:
    """The documents of the lines, in two orders; fails unless each line is one."""
    for seed in (1, 2):
        shuffled = random.Random(seed).sample(lines, len(lines))
        at = time.time_ns() - len(lines) * 2_000_000_000
        # Two seconds apart: no line continues the one before.
        text = "".join(
            f"{timestamp.format_utc(at + number * 2_000_000_000)} stdout F {line}\n"
            for number, line in enumerate(shuffled)
        )
        (flow.make_container(f"pod-{seed}") / "0.log").write_text(text, "utf-8", "surrogatepass")
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    hits = flow.documents()
    assert len(hits) == 2 * len(lines)
    return hits


def test_hostile_lines_and_every_format_are_taken_as_they_are(flow: Flow) -> None:
    examples = [example.line for example in TEXTS + LOGGERS if "\n" not in example.line]
    hits = _ship(flow, HOSTILE + examples)

    assert [hit["_source"]["crisp.rejected.reason"] for hit in hits if "crisp.rejected.reason" in hit["_source"]] == []
    assert "dead-lettered" not in flow.worker.output.read_text()


def test_traces_of_every_language_are_taken_whole(flow: Flow) -> None:
    traces = read_traces()
    at = time.time_ns() - len(traces) * 2_000_000_000
    lines = []
    for number, trace in enumerate(traces.values()):
        for place, text in enumerate(trace.split("\n")):
            lines.append(f"{timestamp.format_utc(at + number * 2_000_000_000 + place)} stderr F {text}\n")
    (flow.make_container("pod") / "0.log").write_text("".join(lines))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    found = [hit["_source"] for hit in flow.documents()]

    assert sorted(source["message"] for source in found) == sorted(traces.values())
    assert not [source for source in found if "crisp.rejected.reason" in source]


def test_the_conformance_cases_are_taken_as_they_are(flow: Flow, shared: Path) -> None:
    hits = _ship(flow, _conformance_lines(shared))

    assert [hit["_source"]["crisp.rejected.reason"] for hit in hits if "crisp.rejected.reason" in hit["_source"]] == []


@pytest.mark.parametrize(("query", "number"), [("a:1", 1), ("message:refused", 2), ("log.level:warn", 1), ("b.c:x", 1)])
def test_what_was_logged_is_found(flow: Flow, query: str, number: int) -> None:
    lines = ['{"a":1,"message":"refused"}', '{"level":"warning","message":"x"}', "refused too", '{"b":{"c":"x"}}']
    (flow.make_container("pod") / "0.log").write_text(
        "".join(f"{timestamp.format_utc(time.time_ns() + index)} stdout F {line}\n" for index, line in enumerate(lines))
    )
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    flow.documents()

    assert flow.request(f"{flow.prefix}-*/_count?q={query}")["count"] == number

"""Explanations: every field of every document has an origin, and the documents equal the worker's."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import Settings
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.explain import Explainer, Explanation
from tests.pipeline.rules.rulesfile import NOW, build_batch, metadata, parse_valid

RULES = """rules:
  - {name: noise, when: {message: /noise/}, drop: true}
  - {name: team, when: {level: ">=warn"}, set: {team: "${label.app}"}}
  - {name: took, parse: {pattern: 'took (?P<ms>\\d+)'}}
  - {name: old names, rename: {usr: user.name}}
"""


def explain(value: bytes, rules: str = RULES, **settings: Any) -> list[Explanation]:
    log_slice = LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", "/var/log/pods/x/0.log"),),
        segments=(Segment(0, 0, len(value)),),
        node="n-1",
        read_at=NOW,
        grouping=Grouping(),
        pod=metadata(labels={"app": "pay", "version": "7"}),
    )
    return list(Explainer(Settings(**settings), parse_valid(rules).ruleset).explain(log_slice, NOW))


def origins_of_line(content: str, **settings: Any) -> dict[str, str]:
    (explanation,) = explain(f"2026-11-24T09:42:30Z stdout F {content}\n".encode(), **settings)
    return explanation.origins


def test_fields_of_text_json_rules_and_pod_have_their_origins() -> None:
    text = origins_of_line("WARN request took 12 ms")
    body = origins_of_line('{"severity":"WARN","msg":"took 12","usr":"me","a":{"b":1},"time":"2026-11-24T09:42:29Z"}')

    assert (text["log.level"], text["message"], text["team"], text["ms"]) == (
        "text format",
        "the line",
        "rule team",
        "rule took",
    )
    assert (body["log.level"], body["message"], body["a.b"]) == ("JSON body, severity", "JSON body, msg", "JSON body")
    assert (body["user.name"], body["@timestamp"], body["log.iotime"]) == (
        "rule old names",
        "JSON body, time",
        "the runtime",
    )
    assert (text["@timestamp"], text["service.name"], text["service.version"], text["service.environment"]) == (
        "the runtime",
        "label app",
        "label version",
        "namespace",
    )
    assert (text["kubernetes.namespace"], text["log.offset"]) == ("pod metadata", "place in the file")


def test_dropped_event_is_explained_by_its_rule() -> None:
    probe = '10.0.0.1 - - [24/Nov/2026:09:42:30 +0000] "GET /healthz HTTP/1.1" 200 2'
    lines = f"2026-11-24T09:42:30Z stdout F noise\n2026-11-24T09:42:30Z stdout F {probe}\n".encode()

    assert [(entry.rule, entry.hit, entry.to_json()["dropped"]) for entry in explain(lines)] == [
        ("noise", None, "noise"),
        ("health probe", None, "health probe"),
    ]


def test_redaction_and_stack_traces_are_explained() -> None:
    trace = b"2026-11-24T09:42:30Z stderr F java.lang.Error: x\n2026-11-24T09:42:30Z stderr F \tat a.B.c(B.java:1)\n"
    (explanation,) = explain(trace)

    assert (explanation.origins["error.type"], explanation.origins["log.flags"]) == ("stack trace", "joining of lines")
    assert origins_of_line("to a@mail.example.org", redact=("email",))["message"] == "the line, redacted"


BODIES = st.dictionaries(
    st.sampled_from(
        ["msg", "message", "level", "time", "a", "b.c", "usr", "path", "method", "status", "err", "kubernetes"]
    )
    | st.text(max_size=3),
    st.recursive(
        st.none() | st.integers() | st.booleans() | st.text(max_size=8) | st.sampled_from(["WARN", "GET", "/a?b"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    ),
    max_size=6,
).map(lambda body: json.dumps(body).encode())
TEXTS = st.sampled_from(
    [
        b"WARN took 5 ms",
        b"I1124 09:42:30.000000       1 main.go:7] x",
        b"noise",
        b"\tat a.B.c(B.java:1)",
        b"java.lang.Error: x",
        b'10.0.0.1 - - [24/Nov/2026:09:42:30 +0000] "GET /x?y HTTP/1.1" 200 2',
        b"level=info msg=x traceID=abc",
        b"mail a@mail.example.org",
    ]
)


@given(st.lists(BODIES | TEXTS | st.binary(max_size=20), min_size=1, max_size=5), st.sampled_from(["", "email card"]))
def test_every_field_of_any_line_has_an_origin(contents: list[bytes], redact: str) -> None:
    value = b"".join(b"2026-11-24T09:42:30Z stdout F " + content.replace(b"\n", b"") + b"\n" for content in contents)

    for explanation in explain(value, redact=tuple(redact.split())):
        if explanation.hit is None:
            assert explanation.rule
        else:
            assert list(explanation.origins) == list(explanation.hit["_source"])
            assert all(explanation.origins.values()), explanation.origins
            assert explanation.rule == ""


def test_explained_document_equals_the_indexed_one() -> None:
    plain = build_batch(RULES, "WARN took 5").to_hits()
    explained = [explanation.hit for explanation in explain(b"2026-11-24T09:42:30Z stdout F WARN took 5\n")]

    assert [hit["_id"] for hit in plain] == [hit["_id"] for hit in explained if hit]

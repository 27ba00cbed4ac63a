"""Actions of rules, and how rules decide together."""

from typing import Any

import pytest

from pipeline.rules.test_case import to_hits
from tests.pipeline.rules.rulesfile import HOOKS, build_batch, parse_valid, sources


def single_source(rules: str, content: str, **about: Any) -> dict[str, Any]:
    (found,) = sources(rules, content, **about)
    return found


def test_what_is_dropped_is_counted_by_the_rules_name() -> None:
    found = build_batch("rules: [{name: noise, when: {message: /x/}, drop: true}]", "x", "y", "xx")

    assert (len(found.documents), dict(found.dropped)) == (1, {"noise": 2})


def test_a_container_that_a_rule_drops_whole_is_not_even_parsed_but_counted() -> None:
    rules = "rules: [{name: all of it, when: {namespace: shop}, drop: true}]"

    assert dict(build_batch(rules, "a", '{"b":1}').dropped) == {"all of it": 2}
    assert not build_batch(rules, "a", pod={"namespace": "pay"}).dropped


def test_the_first_rule_that_decides_is_the_last() -> None:
    rules = """rules:
      - {name: errors stay, when: {level: ">=error"}, keep: true}
      - {name: payments go, when: {message: /payment/}, drop: true}
      - {name: mark, set: {tags: [seen]}}"""
    found = build_batch(rules, "ERROR payment", "INFO payment", "INFO basket")

    assert dict(found.dropped) == {"payments go": 1}
    assert [hit["_source"]["tags"] for hit in to_hits(found.documents)] == [["seen"], ["seen"]]


def test_a_kept_probe_is_not_dropped_as_a_probe() -> None:
    line = '10.0.0.1 - - [24/Nov/2026:09:42:30 +0000] "GET /healthz HTTP/1.1" 200 2'

    assert len(sources("rules: [{name: k, when: {namespace: shop}, keep: true}]", line)) == 1
    assert dict(build_batch("rules: [{name: k, when: {namespace: pay}, keep: true}]", line).dropped) == {
        "health probe": 1
    }
    assert dict(build_batch("rules: [{name: s, set: {a: b}}]", line).dropped) == {"health probe": 1}


def test_unless_passes_events_over() -> None:
    rules = "rules: [{name: a, when: {namespace: shop}, unless: [{level: error}, {label.app: web}], drop: true}]"

    assert dict(build_batch(rules, "INFO x", "ERROR x").dropped) == {"a": 1}
    assert not build_batch(rules, "INFO x", pod={"labels": {"app": "web"}}).dropped


def test_a_sample_is_the_same_whenever_it_is_taken_and_grows_with_its_rate() -> None:
    lines = [f"line {number}" for number in range(2000)]
    kept = {
        rate: {found["log.offset"] for found in sources(f"rules: [{{name: s, sample: {rate}}}]", *lines)}
        for rate in (0.05, 0.2, 0.2, 0.9)
    }

    assert kept[0.05] < kept[0.2] < kept[0.9]
    assert 350 < len(kept[0.2]) < 450
    assert {found["crisp.sample"] for found in sources("rules: [{name: s, sample: 0.2}]", *lines)} == {0.2}


def test_a_sample_is_counted_by_its_name() -> None:
    found = build_batch("rules: [{name: few, sample: 0.01}]", *["x"] * 500)

    assert found.dropped["few"] + len(found.documents) == 500


def test_a_route_names_the_index() -> None:
    rules = "rules: [{name: r, when: {message: /login/}, route: audit}]"
    found = build_batch(rules, "login of x", "other")

    assert [hit["_index"] for hit in to_hits(found.documents)] == ["logs-audit.2026.11.24", "logs-2026.11.24"]
    assert found.indices == {"logs-audit.2026.11.24", "logs-2026.11.24"}


def test_set_gives_values_of_fields_labels_and_texts() -> None:
    rules = """rules:
      - name: s
        set:
          service.name: "${label.app}-${namespace}"
          service.version: 1.10
          level: WARNING
          n: 5
          absent: "${label.none}"
          tags: [a, b]"""
    found = single_source(rules, "x")

    assert (found["service.name"], found["service.version"], found["log.level"]) == ("pay-shop", "1.10", "warn")
    assert (found["n"], found["tags"], "absent" in found) == (5, ["a", "b"], False)


def test_rename_loses_no_value() -> None:
    rules = "rules: [{name: r, rename: {user: user.name, severity_word: level, when_it_was: '@timestamp'}}]"
    body = '{"message":"x","user":"a","user.name":"b","severity_word":"WARN","when_it_was":"2026-11-24T09:42:29Z"}'
    found = single_source(rules, body)

    assert (found["user.name"], found["app.user.name"], found["log.level"]) == ("a", "b", "warn")
    assert (found["@timestamp"], found["log.iotime"]) == ("2026-11-24T09:42:29Z", "2026-11-24T09:42:30Z")


def test_remove_takes_fields_by_name_and_by_star_but_none_of_crisps() -> None:
    rules = "rules: [{name: r, remove: [a.b, 'debug.*', 'log.*']}]"
    found = single_source(rules, '{"message":"x","a":{"b":1,"c":2},"debug":{"x":1,"y":2},"log.level":"info"}')

    assert (found["a.c"], "a.b" in found, [name for name in found if name.startswith("debug")]) == (2, False, [])
    assert ("log.level" in found, found["log.iostream"], found["log.offset"]) == (False, "stdout", 0)


@pytest.mark.parametrize(
    ("parse", "content", "expected"),
    [
        pytest.param("json", 'prefix {"a":1}', {"message": 'prefix {"a":1}'}, id="no_json"),
        pytest.param(
            "{format: json, field: payload}",
            '{"message":"x","payload":"{\\"a\\":{\\"b\\":1},\\"level\\":\\"warn\\"}"}',
            {"message": "x", "a.b": 1, "log.level": "warn"},
            id="json_in_a_field",
        ),
        pytest.param(
            "logfmt",
            'at=info method=GET took=1.5 n=3 msg="a \\"b\\"" flag',
            {"method": "GET", "took": 1.5, "n": 3},
            id="logfmt",
        ),
        pytest.param("{pattern: 'took (?P<ms>\\d+) ms'}", "it took 12 ms", {"ms": "12"}, id="pattern"),
        pytest.param(
            "{pattern: '^(?P<c>\\S+) (?P<s>\\d+)$', fields: {c: source.address, s: http.response.status_code}}",
            "10.0.0.1 503",
            {"source.address": "10.0.0.1", "http.response.status_code": 503, "message": "10.0.0.1 503"},
            id="pattern_with_fields",
        ),
        pytest.param("{pattern: '(?P<level>[A-Z]+)!'}", "x WARN!", {"log.level": "warn"}, id="pattern_with_a_level"),
        pytest.param(
            "{format: access, field: request}",
            '{"message":"x","request":"10.0.0.1 - - [24/Nov/2026:09:42:30 +0000] \\"GET /a HTTP/1.1\\" 404 2"}',
            {"http.response.status_code": 404, "url.path": "/a"},
            id="access",
        ),
        pytest.param(
            "{format: klog, field: inner}",
            '{"message":"x","inner":"E1124 09:42:30.000000       1 main.go:7] boom"}',
            {"log.level": "error", "log.origin.file.name": "main.go"},
            id="klog",
        ),
    ],
)
def test_parse_makes_fields_of_text(parse: str, content: str, expected: dict[str, Any]) -> None:
    found = single_source(f"rules: [{{name: p, parse: {parse}}}]", content)

    assert {name: found.get(name) for name in expected} == expected


def test_what_parse_finds_moves_what_was_there_aside() -> None:
    rules = "rules: [{name: p, parse: {pattern: 'user=(?P<user>\\w+)'}}]"
    found = single_source(rules, '{"message":"user=b","user":"a"}')

    assert (found["user"], found["app.user"]) == ("b", "a")


def test_no_rule_can_take_a_name_of_crisps() -> None:
    rules = "rules: [{name: p, parse: {format: json, field: p}}]"
    found = single_source(
        rules, '{"message":"x","p":"{\\"kubernetes\\":{\\"namespace\\":\\"evil\\"},\\"log.offset\\":9}"}'
    )

    assert (found["kubernetes.namespace"], found["app.kubernetes.namespace"]) == ("shop", "evil")
    assert (found["log.offset"], found["app.log.offset"]) == (0, 9)


def test_a_rules_file_marks_every_document() -> None:
    text = "rules: [{name: r, when: {namespace: other}, drop: true}]"

    assert single_source(text, "x")["crisp.rules"] == parse_valid(text).ruleset.digest


def _changes(fields: dict[str, Any]) -> None:
    fields["team"] = fields["kubernetes.labels"]["app"]
    fields["kubernetes.namespace"] = "evil"
    fields["log.offset"] = 7


def _fails(fields: dict[str, Any]) -> None:
    fields["half"] = 1
    raise KeyError("x")


def test_a_hook_changes_the_event_but_nothing_of_crisps() -> None:
    HOOKS["m:changes"] = _changes
    found = single_source("rules: [{name: h, python: 'm:changes'}]", "INFO x")

    assert (found["team"], found["log.level"], found["message"]) == ("pay", "info", "INFO x")
    assert (found["kubernetes.namespace"], found["app.kubernetes.namespace"]) == ("shop", "evil")
    assert (found["log.offset"], found["app.log.offset"], found["log.iostream"]) == (0, 7, "stdout")


@pytest.mark.parametrize(
    "hook",
    [
        pytest.param(_fails, id="raises"),
        pytest.param(lambda _: 5, id="no_fields"),
        pytest.param(lambda _: {"a": object()}, id="no_json"),
        pytest.param(lambda _: {1: 2}, id="no_names"),
        pytest.param(lambda _: {"a": 2**70}, id="too_large"),
        pytest.param(lambda _: {"a": "\ud800"}, id="no_text"),
        pytest.param(lambda _: exit(3), id="exits"),
    ],
)
def test_a_hook_that_fails_is_counted_and_the_line_goes_on_as_it_was(hook: Any) -> None:
    HOOKS["m:fails"] = hook
    found = build_batch("rules: [{name: h, python: 'm:fails'}]", "INFO x")
    (source,) = [hit["_source"] for hit in to_hits(found.documents)]

    assert dict(found.hook_errors) == {"h": 1}
    assert (source["message"], source["log.level"], "half" in source) == ("INFO x", "info", False)


def test_a_hook_may_drop_and_may_answer_other_fields() -> None:
    HOOKS["m:drops"] = lambda _: False
    HOOKS["m:answers"] = lambda _: {"message": "other", "a": {"b": [1, 2]}}

    assert dict(build_batch("rules: [{name: h, python: 'm:drops'}]", "x").dropped) == {"h": 1}
    found = single_source("rules: [{name: h, python: 'm:answers'}]", "x")
    assert (found["message"], found["a.b"]) == ("other", [1, 2])


def test_without_rules_that_concern_a_container_nothing_is_left_to_do() -> None:
    rules = parse_valid(
        "rules: [{name: a, when: {namespace: pay, level: error}, drop: true}, {name: b, when: {pod: x*}, keep: true}]"
    )

    assert rules.ruleset.compile_for({"kubernetes.namespace": "shop", "kubernetes.pod.name": "y"}) is None

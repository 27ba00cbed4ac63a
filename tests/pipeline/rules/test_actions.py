"""Actions of rules, and the combined result of several rules."""

from typing import Any

import pytest

from tests.pipeline.rules.rulesfile import HOOKS, build_batch, parse_valid, sources


def single_source(rules: str, content: str, **options: Any) -> dict[str, Any]:
    (source,) = sources(rules, content, **options)
    return source


def test_dropped_event_is_counted_by_rule_name() -> None:
    batch = build_batch("rules: [{name: noise, when: {message: /x/}, drop: true}]", "x", "y", "xx")

    assert (len(batch), dict(batch.dropped)) == (1, {"noise": 2})


def test_container_dropped_by_rule_is_counted_without_parsing() -> None:
    rules = "rules: [{name: all of it, when: {namespace: shop}, drop: true}]"

    assert dict(build_batch(rules, "a", '{"b":1}').dropped) == {"all of it": 2}
    assert not build_batch(rules, "a", pod={"namespace": "pay"}).dropped


def test_first_deciding_rule_disables_later_ones() -> None:
    rules = """rules:
      - {name: errors stay, when: {level: ">=error"}, keep: true}
      - {name: payments go, when: {message: /payment/}, drop: true}
      - {name: mark, set: {tags: [seen]}}"""
    batch = build_batch(rules, "ERROR payment", "INFO payment", "INFO basket")

    assert dict(batch.dropped) == {"payments go": 1}
    assert [hit["_source"]["tags"] for hit in batch.to_hits()] == [["seen"], ["seen"]]


def test_kept_probe_passes_the_probe_filter() -> None:
    line = '10.0.0.1 - - [24/Nov/2026:09:42:30 +0000] "GET /healthz HTTP/1.1" 200 2'

    assert len(sources("rules: [{name: k, when: {namespace: shop}, keep: true}]", line)) == 1
    assert dict(build_batch("rules: [{name: k, when: {namespace: pay}, keep: true}]", line).dropped) == {
        "health probe": 1
    }
    assert dict(build_batch("rules: [{name: s, set: {a: b}}]", line).dropped) == {"health probe": 1}


def test_event_matching_unless_is_skipped() -> None:
    rules = "rules: [{name: a, when: {namespace: shop}, unless: [{level: error}, {label.app: web}], drop: true}]"

    assert dict(build_batch(rules, "INFO x", "ERROR x").dropped) == {"a": 1}
    assert not build_batch(rules, "INFO x", pod={"labels": {"app": "web"}}).dropped


def test_sample_is_deterministic_and_grows_with_its_rate() -> None:
    lines = [f"line {number}" for number in range(2000)]
    kept = {
        rate: {source["log.offset"] for source in sources(f"rules: [{{name: s, sample: {rate}}}]", *lines)}
        for rate in (0.05, 0.2, 0.2, 0.9)
    }

    assert kept[0.05] < kept[0.2] < kept[0.9]
    assert 350 < len(kept[0.2]) < 450
    assert {source["crisp.sample"] for source in sources("rules: [{name: s, sample: 0.2}]", *lines)} == {0.2}


def test_sampled_out_events_are_counted_by_rule_name() -> None:
    batch = build_batch("rules: [{name: few, sample: 0.01}]", *["x"] * 500)

    assert batch.dropped["few"] + len(batch) == 500


def test_route_selects_the_index() -> None:
    rules = "rules: [{name: r, when: {message: /login/}, route: audit}]"
    batch = build_batch(rules, "login of x", "other")

    assert [hit["_index"] for hit in batch.to_hits()] == ["logs-audit.2026.11.24", "logs-2026.11.24"]
    assert set(batch.indices) == {"logs-audit.2026.11.24", "logs-2026.11.24"}


def test_set_assigns_values_from_fields_labels_and_texts() -> None:
    rules = """rules:
      - name: s
        set:
          service.name: "${label.app}-${namespace}"
          service.version: 1.10
          level: WARNING
          n: 5
          absent: "${label.none}"
          tags: [a, b]"""
    source = single_source(rules, "x")

    assert (source["service.name"], source["service.version"], source["log.level"]) == ("pay-shop", "1.10", "warn")
    assert (source["n"], source["tags"], "absent" in source) == (5, ["a", "b"], False)


def test_rename_keeps_every_value() -> None:
    rules = "rules: [{name: r, rename: {user: user.name, severity_word: level, when_it_was: '@timestamp'}}]"
    body = '{"message":"x","user":"a","user.name":"b","severity_word":"WARN","when_it_was":"2026-11-24T09:42:29Z"}'
    source = single_source(rules, body)

    assert (source["user.name"], source["app.user.name"], source["log.level"]) == ("a", "b", "warn")
    assert (source["@timestamp"], source["log.iotime"]) == ("2026-11-24T09:42:29Z", "2026-11-24T09:42:30Z")


def test_remove_deletes_fields_by_name_and_glob_except_reserved_ones() -> None:
    rules = "rules: [{name: r, remove: [a.b, 'debug.*', 'log.*']}]"
    source = single_source(rules, '{"message":"x","a":{"b":1,"c":2},"debug":{"x":1,"y":2},"log.level":"info"}')

    assert (source["a.c"], "a.b" in source, [name for name in source if name.startswith("debug")]) == (2, False, [])
    assert ("log.level" in source, source["log.iostream"], source["log.offset"]) == (False, "stdout", 0)


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
def test_parse_adds_fields_from_text(parse: str, content: str, expected: dict[str, Any]) -> None:
    source = single_source(f"rules: [{{name: p, parse: {parse}}}]", content)

    assert {name: source.get(name) for name in expected} == expected


def test_parse_moves_the_old_value_under_app() -> None:
    rules = "rules: [{name: p, parse: {pattern: 'user=(?P<user>\\w+)'}}]"
    source = single_source(rules, '{"message":"user=b","user":"a"}')

    assert (source["user"], source["app.user"]) == ("b", "a")


def test_parse_cannot_set_reserved_fields() -> None:
    rules = "rules: [{name: p, parse: {format: json, field: p}}]"
    source = single_source(
        rules, '{"message":"x","p":"{\\"kubernetes\\":{\\"namespace\\":\\"evil\\"},\\"log.offset\\":9}"}'
    )

    assert (source["kubernetes.namespace"], source["app.kubernetes.namespace"]) == ("shop", "evil")
    assert (source["log.offset"], source["app.log.offset"]) == (0, 9)


def test_every_document_has_the_rules_digest() -> None:
    text = "rules: [{name: r, when: {namespace: other}, drop: true}]"

    assert single_source(text, "x")["crisp.rules"] == parse_valid(text).ruleset.digest


def _changes(fields: dict[str, Any]) -> None:
    fields["team"] = fields["kubernetes.labels"]["app"]
    fields["kubernetes.namespace"] = "evil"
    fields["log.offset"] = 7


def _fails(fields: dict[str, Any]) -> None:
    fields["half"] = 1
    raise KeyError("x")


def test_hook_changes_the_event_except_reserved_fields() -> None:
    HOOKS["m:changes"] = _changes
    source = single_source("rules: [{name: h, python: 'm:changes'}]", "INFO x")

    assert (source["team"], source["log.level"], source["message"]) == ("pay", "info", "INFO x")
    assert (source["kubernetes.namespace"], source["app.kubernetes.namespace"]) == ("shop", "evil")
    assert (source["log.offset"], source["app.log.offset"], source["log.iostream"]) == (0, 7, "stdout")


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
def test_failed_hook_is_counted_and_the_event_stays_unchanged(hook: Any) -> None:
    HOOKS["m:fails"] = hook
    batch = build_batch("rules: [{name: h, python: 'm:fails'}]", "INFO x")
    (source,) = [hit["_source"] for hit in batch.to_hits()]

    assert dict(batch.hook_errors) == {"h": 1}
    assert batch.hook_tracebacks["h"].startswith("Traceback (most recent call last):\n  File ")
    assert (source["message"], source["log.level"], "half" in source) == ("INFO x", "info", False)


def test_hook_drops_the_event_or_returns_other_fields() -> None:
    HOOKS["m:drops"] = lambda _: False
    HOOKS["m:returns"] = lambda _: {"message": "other", "a": {"b": [1, 2]}}

    assert dict(build_batch("rules: [{name: h, python: 'm:drops'}]", "x").dropped) == {"h": 1}
    source = single_source("rules: [{name: h, python: 'm:returns'}]", "x")
    assert (source["message"], source["a.b"]) == ("other", [1, 2])


def test_rules_without_match_for_a_container_compile_to_none() -> None:
    rules = parse_valid(
        "rules: [{name: a, when: {namespace: pay, level: error}, drop: true}, {name: b, when: {pod: x*}, keep: true}]"
    )

    assert rules.ruleset.compile_for({"kubernetes.namespace": "shop", "kubernetes.pod.name": "y"}) is None


def test_ecs_labels_are_set_renamed_and_removed_beside_the_labels_of_the_pod() -> None:
    rules = """rules:
    - {name: a, set: {labels.team: 7, labels.of: '${label.app}'}}
    - {name: b, rename: {labels.of: labels.app}}
    - {name: c, remove: [labels.none]}
    """

    source = single_source(rules, "INFO x", pod={"labels": {"app": "web", "team": "pay"}})

    assert (source["labels.team"], source["labels.app"]) == ("7", "web")
    assert source["kubernetes.labels"] == {"app": "web", "team": "pay"}

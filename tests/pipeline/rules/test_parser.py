"""Rules files: every fault with its place, whatever the file holds."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.rules import rulesfile
from tests.pipeline.rules.rulesfile import CONTEXT, list_problems, parse_rules_file, parse_valid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("rules:\n - {name: a, dorp: true}", '2:14 unknown key "dorp" (did you mean "drop"?)', id="key"),
        pytest.param("ruls: []", '1:1 unknown key "ruls" (did you mean "rules"?)', id="top_key"),
        pytest.param("", '1:1 expected a mapping with "rules", found nothing', id="empty"),
        pytest.param("- a", '1:1 expected a mapping with "rules", found a list', id="list"),
        pytest.param("rules: {a: b}", "1:8 expected a list of rules, found a mapping", id="rules_no_list"),
        pytest.param("rules: [x]", "1:9 expected a rule: a mapping", id="rule"),
        pytest.param(
            "rules:\n- {name: a, drop: true}\n- {name: a, keep: true}", "is there already, in line 2", id="name"
        ),
        pytest.param("rules: [{drop: true}]", '1:9 a rule without a "name"', id="nameless"),
        pytest.param("rules: [{name: health probe, drop: true}]", "is the name of the built-in rule", id="built_in"),
        pytest.param("rules: [{name: a}]", "1:9 the rule does nothing: expected one of drop, keep", id="no_action"),
        pytest.param("rules: [{name: a, drop: true, keep: true}]", '1:31 one action a rule: "drop"', id="two_actions"),
        pytest.param("rules: [{name: a, drop: yes}]", '1:25 expected true, found "yes"', id="drop_yes"),
        pytest.param(
            "rules: [{name: a, name: b, drop: true}]", '1:19 "name" comes twice (first in line 1)', id="twice"
        ),
        pytest.param(
            "rules: [{name: a, when: {}, drop: true}]", "1:25 expected conditions, found an empty", id="empty_when"
        ),
        pytest.param(
            "rules: [{name: a, when: {kubernetes.namespce: x}, drop: true}]",
            '"kubernetes.namespce" is no field of a container (did you mean "kubernetes.namespace"?)',
            id="field",
        ),
        pytest.param("rules: [{name: a, when: {log.offset: 1}, drop: true}]", "is set after the rules", id="too_early"),
        pytest.param(
            "rules: [{name: a, when: {labels: web}, drop: true}]", "a mapping of names under labels", id="labels"
        ),
        pytest.param("rules: [{name: a, when: {level: wran}, drop: true}]", '"wran" is no level (did you', id="level"),
        pytest.param(
            "rules: [{name: a, when: {x: '>=y'}, drop: true}]", "1:29 expected a number behind >=", id="compare"
        ),
        pytest.param("rules: [{name: a, when: {x: 9..1}, drop: true}]", "1:29 9..1 holds no number", id="range"),
        pytest.param(
            "rules: [{name: a, when: {x: /(/}, drop: true}]", "1:29 not a pattern of RE2: missing )", id="pattern"
        ),
        pytest.param("rules: [{name: a, when: {x: '/a(?=b)/'}, drop: true}]", "not a pattern of RE2", id="lookahead"),
        pytest.param(
            "rules: [{name: a, when: {x: {contians: y}}, drop: true}]", '(did you mean "contains"?)', id="operator"
        ),
        pytest.param("rules: [{name: a, when: {url.path: /x/}, drop: true}]", "may be a path or a pattern", id="path"),
        pytest.param("rules: [{name: a, sample: 5}]", "1:27 expected a part between 0 and 1", id="rate"),
        pytest.param("rules: [{name: a, route: infr}]", '1:26 no route "infr" (did you mean "infra"?)', id="route"),
        pytest.param("rules: [{name: a, redact: crd}]", 'no kind of secret "crd" (did you mean "card"?)', id="secret"),
        pytest.param("rules: [{name: a, redact: {in: message}}]", '1:27 expected "pattern"', id="redact_nothing"),
        pytest.param("rules: [{name: a, parse: jsn}]", '1:26 no format "jsn" (did you mean "json"?)', id="format"),
        pytest.param("rules: [{name: a, parse: {pattern: abc}}]", "a pattern without named groups", id="no_groups"),
        pytest.param("rules: [{name: a, parse: {pattern: '(?P<node>x)'}}]", "group node:", id="reserved_group"),
        pytest.param("rules: [{name: a, python: x}]", "1:27 no hook x", id="hook"),
        pytest.param("rules: [{name: a, set: {'@timestamp': x}}]", '"@timestamp" is a time of the line', id="set_time"),
        pytest.param("rules: [{name: a, set: {log.offset: 1}}]", '"log.offset" is crisp\'s own', id="set_offset"),
        pytest.param("rules: [{name: a, remove: [kubernetes.pod.uid]}]", "is crisp's own", id="remove_ours"),
        pytest.param("rules: [{name: a, rename: {a: crisp.b}}]", '"crisp.b" is crisp\'s own', id="rename_to_ours"),
        pytest.param("rules: [{name: a, set: {a: '${log.offset}'}}]", "${log.offset}: ", id="set_of_what_is_unknown"),
        pytest.param("rules: [{name: a, set: {process.pid: x}}]", "takes a whole number", id="type"),
        pytest.param("rules: [{name: a, set: {source.ip: home}}]", "takes an address", id="address"),
        pytest.param("rules: [a: !!python/object:os.system x]", "1:9", id="tag"),
        pytest.param("rules: &a [*a]", "deeper than", id="alias_of_itself"),
        pytest.param("rules: [", "1:9 not YAML: while parsing", id="syntax"),
        pytest.param("rules: []\n---\nrules: []", "2:1 not YAML: expected a single document", id="two_documents"),
        pytest.param('rules: "\\UFFFFFFFF"', "not YAML", id="escape"),
        pytest.param("rules: " + "[" * 5000, "1:", id="deep"),
        pytest.param("tests: [{line: x}]\nrules: []", '1:9 a test without "name"', id="test_without_name"),
        pytest.param(
            "tests: [{name: a, line: x, expect: {}}]\nrules: []", "found an empty mapping", id="expects_nothing"
        ),
        pytest.param(
            "tests: [{name: a, line: x, pod: {nmespace: b}, expect: {kept: true}}]\nrules: []", "nmespace", id="pod"
        ),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, expected: str) -> None:
    found = list_problems(text)

    assert any(expected in fault for fault in found), found
    assert all(re.match(r"rules\.yaml:\d+:\d+ \S", fault) for fault in found)


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "rules:\n- name: a\n  dorp: true\n- name: b\n  sample: 7\n- name: c\n  route: nowhere\n"

    assert [fault.split(" ")[0] for fault in list_problems(text)] == [
        "rules.yaml:3:3",
        "rules.yaml:5:11",
        "rules.yaml:7:10",
    ]


def test_a_name_that_only_an_application_could_have_is_a_warning() -> None:
    found = parse_valid("rules: [{name: a, when: {namespce: x}, drop: true}]")

    assert found.warnings == [
        'rules.yaml:1:26 "namespce" is a field that only an application has (did you mean "namespace"?);'
        " if not, write {field: {namespce: ...}}"
    ]


def test_the_digest_follows_the_rules_and_nothing_else() -> None:
    one = parse_valid("rules: [{name: a, drop: true}]")
    commented = parse_valid("# why\nrules:\n  - name: a\n    drop: true\ntests: []")
    other = parse_valid("rules: [{name: b, drop: true}]")

    assert one.ruleset.digest == commented.ruleset.digest != other.ruleset.digest


def test_anchors_may_be_used() -> None:
    text = "rules: [{name: a, when: {namespace: &n [x, y]}, drop: true}, {name: b, when: {namespace: *n}, keep: true}]"

    assert len(parse_valid(text).ruleset.rules) == 2


_WORDS = """rules tests name when unless drop keep sample redact set rename remove parse route python pattern in
with field fields format label level message is not matches true 0.5 >=warn /(/ /a+/ 1..2 card infra json line *"""
WORDS = st.sampled_from(_WORDS.split())
TREES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)


@given(TREES | TREES.map(lambda tree: {"rules": [tree, {"name": "x", "when": tree}], "tests": tree}))
def test_any_yaml_is_rules_or_faults_with_places(tree: object) -> None:
    found = parse_rules_file(
        yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"), "rules.yaml", CONTEXT
    )

    assert all(re.match(r"rules\.yaml:\d+:\d+ \S", fault) for fault in found.problems)
    assert found.problems or found.ruleset.rules or not isinstance(tree, dict) or tree.get("rules") in ([], None)


@given(
    st.binary(max_size=80) | st.text(alphabet="rules: [{}]&*!|>\"'\\-#,\n\t%@é\x00\x85", max_size=60).map(str.encode)
)
def test_any_bytes_are_rules_or_faults_with_places(data: bytes) -> None:
    for text in (data, b"rules:\n" + data, b"rules: [{name: a, drop: true, when: {a: " + data):
        found = rulesfile.list_problems(text)
        assert all(re.match(r"rules\.yaml:\d+:\d+ \S", fault) for fault in found)

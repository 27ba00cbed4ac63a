"""Rules files: every problem with line and column, for any content."""

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
        pytest.param("", '1:1 expected a mapping with "rules", got nothing', id="empty"),
        pytest.param("- a", '1:1 expected a mapping with "rules", got a list', id="list"),
        pytest.param("rules: {a: b}", "1:8 expected a list of rules, got a mapping", id="rules_no_list"),
        pytest.param("rules: [x]", "1:9 expected a rule: a mapping", id="rule"),
        pytest.param(
            "rules:\n- {name: a, drop: true}\n- {name: a, keep: true}",
            'duplicate rule name "a" (first in line 2)',
            id="name",
        ),
        pytest.param("rules: [{drop: true}]", '1:9 missing key "name"', id="missing_name"),
        pytest.param("rules: [{name: health probe, drop: true}]", "is the name of the built-in rule", id="built_in"),
        pytest.param("rules: [{name: a}]", "1:9 the rule does nothing: expected one of drop, keep", id="no_action"),
        pytest.param(
            "rules: [{name: a, drop: true, keep: true}]", '1:31 only one action per rule: "drop"', id="two_actions"
        ),
        pytest.param("rules: [{name: a, drop: yes}]", '1:25 expected true, got "yes"', id="drop_yes"),
        pytest.param(
            "rules: [{name: a, name: b, drop: true}]", '1:19 duplicate key "name" (first in line 1)', id="duplicate"
        ),
        pytest.param(
            "rules: [{name: a, when: {}, drop: true}]", "1:25 expected conditions, got an empty", id="empty_when"
        ),
        pytest.param(
            "rules: [{name: a, when: {kubernetes.namespce: x}, drop: true}]",
            '"kubernetes.namespce" is not a container field (did you mean "kubernetes.namespace"?)',
            id="field",
        ),
        pytest.param("rules: [{name: a, when: {log.offset: 1}, drop: true}]", "is set after the rules", id="too_early"),
        pytest.param(
            "rules: [{name: a, when: {labels: web}, drop: true}]", "a mapping of names under labels", id="labels"
        ),
        pytest.param(
            "rules: [{name: a, when: {level: wran}, drop: true}]", '"wran" is not a level (did you', id="level"
        ),
        pytest.param(
            "rules: [{name: a, when: {x: '>=y'}, drop: true}]", "1:29 expected a number after >=", id="compare"
        ),
        pytest.param("rules: [{name: a, when: {x: 9..1}, drop: true}]", "1:29 9..1 is an empty range", id="range"),
        pytest.param(
            "rules: [{name: a, when: {x: /(/}, drop: true}]", "1:29 not a valid RE2 pattern: missing )", id="pattern"
        ),
        pytest.param(
            "rules: [{name: a, when: {x: '/a(?=b)/'}, drop: true}]", "not a valid RE2 pattern", id="lookahead"
        ),
        pytest.param(
            "rules: [{name: a, when: {x: {contians: y}}, drop: true}]", '(did you mean "contains"?)', id="operator"
        ),
        pytest.param("rules: [{name: a, when: {url.path: /x/}, drop: true}]", "may be a path or a pattern", id="path"),
        pytest.param("rules: [{name: a, sample: 5}]", "1:27 expected a fraction between 0 and 1", id="rate"),
        pytest.param(
            "rules: [{name: a, route: infr}]", '1:26 unknown route "infr" (did you mean "infra"?)', id="route"
        ),
        pytest.param(
            "rules: [{name: a, redact: crd}]", 'unknown kind of secret "crd" (did you mean "card"?)', id="secret_kind"
        ),
        pytest.param("rules: [{name: a, redact: {in: message}}]", '1:27 expected "pattern"', id="redact_nothing"),
        pytest.param("rules: [{name: a, parse: jsn}]", '1:26 unknown format "jsn" (did you mean "json"?)', id="format"),
        pytest.param("rules: [{name: a, parse: {pattern: abc}}]", "a pattern without named groups", id="no_groups"),
        pytest.param("rules: [{name: a, parse: {pattern: '(?P<node>x)'}}]", "group node:", id="reserved_group"),
        pytest.param("rules: [{name: a, python: x}]", "1:27 no hook x", id="hook"),
        pytest.param(
            "rules: [{name: a, set: {'@timestamp': x}}]", '"@timestamp" is the line\'s own time', id="set_time"
        ),
        pytest.param("rules: [{name: a, set: {log.offset: 1}}]", '"log.offset" is reserved by crisp', id="set_offset"),
        pytest.param("rules: [{name: a, remove: [kubernetes.pod.uid]}]", "is reserved by crisp", id="remove_reserved"),
        pytest.param(
            "rules: [{name: a, rename: {a: crisp.b}}]", '"crisp.b" is reserved by crisp', id="rename_to_reserved"
        ),
        pytest.param("rules: [{name: a, set: {a: '${log.offset}'}}]", "${log.offset}: ", id="set_from_later_field"),
        pytest.param("rules: [{name: a, set: {'${pod}': 1}}]", '1:25 "${pod}" is used as it is', id="set_name"),
        pytest.param("rules: [{name: a, rename: {a: '${pod}'}}]", '1:31 "${pod}" is used as it is', id="rename_name"),
        pytest.param("rules: [{name: a, remove: ['${pod}']}]", '1:28 "${pod}" is used as it is', id="remove_name"),
        pytest.param("rules: [{name: a, parse: {format: json, field: '${a}'}}]", '"${a}" is used as', id="parse_field"),
        pytest.param("rules: [{name: a, when: {stream: [stdot]}, drop: true}]", 'and never "stdot"', id="stream"),
        pytest.param("rules: [{name: a, set: {process.pid: x}}]", "needs an integer", id="type"),
        pytest.param("rules: [{name: a, set: {source.ip: home}}]", "needs an IP address", id="ip"),
        pytest.param("rules: [a: !!python/object:os.system x]", "1:9", id="tag"),
        pytest.param("rules: &a [*a]", "deeper than", id="alias_of_itself"),
        pytest.param("rules: [", "1:9 not YAML: while parsing", id="syntax"),
        pytest.param("rules: []\n---\nrules: []", "2:1 not YAML: expected a single document", id="two_documents"),
        pytest.param('rules: "\\UFFFFFFFF"', "not YAML", id="escape"),
        pytest.param("rules: " + "[" * 1000, "nested too deeply", id="deep"),
        pytest.param("tests: [{line: x}]\nrules: []", '1:9 missing key "name"', id="test_without_name"),
        pytest.param(
            "tests: [{name: a, line: x, expect: {}}]\nrules: []", "got an empty mapping", id="expects_nothing"
        ),
        pytest.param(
            "tests: [{name: a, line: x, pod: {nmespace: b}, expect: {kept: true}}]\nrules: []", "nmespace", id="pod"
        ),
    ],
)
def test_problem_has_line_and_column(text: str, expected: str) -> None:
    problems = list_problems(text)

    assert any(expected in problem for problem in problems), problems
    assert all(re.match(r"rules\.yaml:\d+:\d+ \S", problem) for problem in problems)


def test_all_problems_are_reported_in_file_order() -> None:
    text = "rules:\n- name: a\n  dorp: true\n- name: b\n  sample: 7\n- name: c\n  route: nowhere\n"

    assert [problem.split(" ")[0] for problem in list_problems(text)] == [
        "rules.yaml:3:3",
        "rules.yaml:5:11",
        "rules.yaml:7:10",
    ]


def test_likely_typo_of_a_short_name_is_a_warning() -> None:
    parsed = parse_valid("rules: [{name: a, when: {namespce: x}, drop: true}]")

    assert parsed.warnings == [
        'rules.yaml:1:26 "namespce" is not a field of crisp (did you mean "namespace"?);'
        " for a field of the application write {field: {namespce: ...}}"
    ]


def test_digest_depends_on_rules_only() -> None:
    plain = parse_valid("rules: [{name: a, drop: true}]")
    commented = parse_valid("# why\nrules:\n  - name: a\n    drop: true\ntests: []")
    other = parse_valid("rules: [{name: b, drop: true}]")

    assert plain.ruleset.digest == commented.ruleset.digest != other.ruleset.digest


def test_anchors_are_supported() -> None:
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
def test_any_yaml_gives_rules_or_problems_with_positions(tree: object) -> None:
    parsed = parse_rules_file(
        yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"), "rules.yaml", CONTEXT
    )

    assert all(re.match(r"rules\.yaml:\d+:\d+ \S", problem) for problem in parsed.problems)
    assert parsed.problems or parsed.ruleset.rules or not isinstance(tree, dict) or tree.get("rules") in ([], None)


@given(
    st.binary(max_size=80) | st.text(alphabet="rules: [{}]&*!|>\"'\\-#,\n\t%@é\x00\x85", max_size=60).map(str.encode)
)
def test_any_bytes_give_rules_or_problems_with_positions(data: bytes) -> None:
    for text in (data, b"rules:\n" + data, b"rules: [{name: a, drop: true, when: {a: " + data):
        problems = rulesfile.list_problems(text)
        assert all(re.match(r"rules\.yaml:\d+:\d+ \S", problem) for problem in problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules: [{name: a, drop: true}]", "1:9 the rule drops every event: give it a condition"),
        (
            "rules: [{name: a, set: {x: 'of ${tpyo}'}}]",
            "1:28 ${tpyo} is not a field of crisp: where the application does not log it, nothing is set",
        ),
        (
            "rules: [{name: a, set: {x: '${namespce}'}}]",
            "1:28 ${namespce} is not a field of crisp (did you mean namespace?)",
        ),
        (
            "rules: [{name: a, set: {x: '${lable.app}'}}]",
            "1:28 ${lable.app} is not a field of crisp (did you mean label.app?",
        ),
        ("rules: [{name: a, set: {x: 'of $namespace'}}]", "1:28 $namespace is used as it is: the placeholder is ${"),
        ("rules: [{name: a, redact: {pattern: /x/, with: '${user}'}}]", '1:48 "${user}" is used as it is'),
        ("rules: [{name: a, when: {message: '${user}'}, drop: true}]", '1:35 "${user}" is used as it is'),
        ("rules: [{name: a, when: {lable.app: x}, drop: true}]", '(did you mean "label.app"?); for a field of the'),
        ("rules: [{name: a, when: {mesage: x}, drop: true}]", '(did you mean "message"?)'),
        ("rules: [{name: a, when: {http.respons.status_code: 500}, drop: true}]", '"http.response.status_code"?)'),
        (
            "rules: [{name: a, when: {status: [5xx]}, drop: true}]",
            '"5xx" matches this text only: for a number write 500..599',
        ),
    ],
)
def test_rule_that_is_probably_a_mistake_is_a_warning(text: str, expected: str) -> None:
    warnings = parse_valid(text).warnings

    assert any(expected in warning for warning in warnings), warnings


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{name: a, when: {pod: x}, keep: true}, {name: b, drop: true}]",
        "rules: [{name: a, unless: {pod: x}, drop: true}]",
        "rules: [{name: a, sample: 0.5}]",
        "rules: [{name: a, set: {x: '${pod} ${label.app} ${labels.app} ${url.path} ${kubernetes.labels.a/b}'}}]",
        "rules: [{name: a, when: {field: {order: '*'}}, set: {x: '${order}'}}]",
        "rules: [{name: a, parse: {pattern: '(?P<order>x)'}}, {name: b, set: {x: '${order}'}}]",
        "rules: [{name: a, set: {order: 1}}, {name: b, set: {x: '${order}'}}]",
        "rules: [{name: a, when: {field: {lable.app: x, mesage: y}}, drop: true}]",
        "rules: [{name: a, when: {grade: 5xx, label.tier: 5xx, user.nickname: x, status: 500..599}, drop: true}]",
        "rules: [{name: a, rename: {id: order}}, {name: b, set: {x: '${order}', y: 'costs $5 {x}'}}]",
    ],
)
def test_rule_that_means_what_it_says_has_no_warning(text: str) -> None:
    assert parse_valid(text).warnings == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set: {x: '${pod'}", '1:28 "${pod" is not a placeholder: expected ${name}'),
        ("set: {x: '${}'}", '"${}" is not a placeholder'),
        ("when: {http.response.status_code: 5xx}, drop: true", 'never "5xx": write 500..599'),
        ("when: {http.response.status_code: [404, 4XX]}, drop: true", 'never "4XX": write 400..499'),
        ("when: {http.response.status_code: {is: 5xx}}, drop: true", 'never "5xx": write 500..599'),
        ("when: {http.response.status_code: {not: 2xx}}, drop: true", 'never "2xx": write 200..299'),
        (
            "when: {http.response.status_code: ok}, drop: true",
            'status_code" is a number, and never "ok"',
        ),
        ("when: {process.pid: true}, drop: true", '"process.pid" is a number, and never "true"'),
        ("when: {source.ip: home}, drop: true", '"source.ip" is an IP address, and never "home"'),
        ("set: {kubernetes.labels.team: x}", '"kubernetes.labels.team" is reserved by crisp'),
        ("set: {label.team: x}", '"kubernetes.labels.team" is reserved by crisp'),
    ],
)
def test_value_that_never_applies_is_a_problem(text: str, expected: str) -> None:
    problems = list_problems(f"rules: [{{name: a, {text}}}]")

    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    "value", ["503", "'503'", "500..599", "'>=500'", "5*", "'/^5/'", "{starts_with: '5'}", "null", "[500, 503]"]
)
def test_status_in_any_notation_that_can_match_is_valid(value: str) -> None:
    assert list_problems(f"rules: [{{name: a, when: {{http.response.status_code: {value}}}, drop: true}}]") == []

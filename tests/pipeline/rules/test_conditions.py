"""Conditions of rules: values that match them."""

from typing import Any

import pytest

from tests.pipeline.rules.rulesfile import matches

BODY = (
    '{"log.level":"WARNING","message":"disk is full","n":503,"f":1.5,"ok":true,"v":"1.10","tags":["a","b"],"t":"a*b"}'
)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        pytest.param("{namespace: shop}", True, id="short_name"),
        pytest.param("{kubernetes.namespace: shop}", True, id="full_name"),
        pytest.param("{namespace: [pay, shop]}", True, id="any_of_a_list"),
        pytest.param("{namespace: [pay, other]}", False, id="none_of_a_list"),
        pytest.param("{namespace: sh*}", True, id="glob"),
        pytest.param("{namespace: '*o*'}", True, id="glob_on_both_sides"),
        pytest.param("{namespace: s*x}", False, id="glob_matches_the_whole_value"),
        pytest.param("{namespace: hop}", False, id="text_matches_the_whole_value"),
        pytest.param("{pod: /^pay-\\d$/}", True, id="pattern"),
        pytest.param("{container: pay, pod: pay-2}", False, id="all_conditions"),
        pytest.param("[{pod: pay-2}, {container: pay}]", True, id="any_of_a_list_of_conditions"),
        pytest.param("{label.app: pay}", True, id="label"),
        pytest.param("{label: {app: pay, tier: null}}", True, id="labels_as_mapping"),
        pytest.param("{kubernetes.labels.app: pay}", True, id="label_by_full_name"),
        pytest.param("{label.app.kubernetes.io/name: pay}", False, id="absent_label"),
        pytest.param("{stream: stdout}", True, id="stream"),
        pytest.param("{level: warn}", True, id="level"),
        pytest.param("{level: WARNING}", True, id="level_in_any_spelling"),
        pytest.param("{level: '>=info'}", True, id="level_from"),
        pytest.param("{level: '> warn'}", False, id="level_above"),
        pytest.param("{level: '<error'}", True, id="level_below"),
        pytest.param("{message: /is (full|empty)/}", True, id="pattern_matches_anywhere"),
        pytest.param("{message: /is full/}", True, id="pattern_without_any_special_character"),
        pytest.param("{message: {contains: [x, full]}}", True, id="contains"),
        pytest.param("{message: {starts_with: disk, ends_with: full}}", True, id="all_operators"),
        pytest.param("{message: {starts_with: disk, ends_with: empty}}", False, id="not_all_operators"),
        pytest.param("{message: {not: /full/}}", False, id="not"),
        pytest.param("{message: {matches: '^disk'}}", True, id="matches"),
        pytest.param("{n: 503}", True, id="number"),
        pytest.param("{n: '503'}", True, id="number_as_text"),
        pytest.param("{n: 500..599}", True, id="range"),
        pytest.param("{n: 400..499}", False, id="outside_a_range"),
        pytest.param("{n: '>=503'}", True, id="comparison"),
        pytest.param("{f: '<1.5'}", False, id="comparison_of_fractions"),
        pytest.param("{f: 1..2}", True, id="range_of_fractions"),
        pytest.param("{message: 1..2}", False, id="text_is_in_no_range"),
        pytest.param("{ok: true}", True, id="boolean"),
        pytest.param("{ok: false}", False, id="other_boolean"),
        pytest.param("{ok: 1}", False, id="true_is_not_the_number_1"),
        pytest.param("{v: 1.10}", True, id="version_that_looks_like_a_number"),
        pytest.param("{v: 1.1}", True, id="the_same_number"),
        pytest.param("{tags: b}", True, id="one_of_several_values"),
        pytest.param("{tags: {not: b}}", False, id="none_of_several_values"),
        pytest.param("{t: {is: a*b}}", True, id="literal"),
        pytest.param("{message: {is: 'disk*'}}", False, id="literal_is_not_a_glob"),
        pytest.param("{absent: null}", True, id="absent_field"),
        pytest.param("{n: null}", False, id="present_field"),
        pytest.param("{n: {not: null}}", True, id="present_by_not"),
        pytest.param("{absent: '*'}", False, id="star_needs_a_value"),
        pytest.param("{service.name: pay}", True, id="service_of_the_container"),
        pytest.param("{field: {namespace: shop}}", False, id="field_of_the_application_only"),
    ],
)
def test_condition_matches_or_not(when: str, expected: Any) -> None:
    assert matches(when, BODY) is expected


def test_path_field_needs_an_explicit_pattern() -> None:
    line = '10.0.0.1 - - [24/Nov/2026:09:42:30 +0000] "GET /api/ HTTP/1.1" 200 2'

    assert matches("{url.path: {is: /api/}}", line)
    assert matches("{http.request.path: /api/*}", line)
    assert matches("{url.path: {matches: ^/a}}", line)
    assert not matches("{url.path: /api}", line)


def test_service_name_of_the_event_overrides_the_containers() -> None:
    assert matches("{service.name: mine}", '{"message":"x","service.name":"mine"}')
    assert not matches("{service.name: pay}", '{"message":"x","service.name":"mine"}')


def test_field_group_matches_application_field_with_a_short_name() -> None:
    assert matches("{field: {namespace: theirs}}", '{"message":"x","namespace":"theirs"}')

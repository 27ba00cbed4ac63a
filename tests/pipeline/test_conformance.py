"""The assertions of other shippers' own tests hold for crisp, on the path of `crisp parse`."""

from typing import Any

import pytest

from tests.support.conformance import (
    KNOWN_DIFFERENCES,
    MONTHS,
    Case,
    cases,
    damage,
    differences,
    documents,
    needs_cases,
)

OFFERED: dict[str, dict[str, Any]] = {
    "detectexc/json_field_message": {},
    "detectexc_out/split_after_timeout": {"trace_gap_seconds": 1.0},
    "filebeat/add_json_fields_02": {},
    "filebeat/add_json_fields_05": {},
    "filebeat/decode_json_07": {},
    "otel/recombine_EntriesNonMatchingForLastEntryWithMaxUnmatchedBatchSize_1": {},
    "filebeat/file_elasticsearch_multiline": {"multiline_pattern": r"^\["},
    "filebeat/multiline_TestMultilineAfterNegateOK": {"multiline_pattern": "^-"},
    "fluentbit/issue_3817_1": {"multiline_pattern": "- $"},
    "otel/recombine_EntriesNonMatchingForFirstEntry": {"multiline_pattern": "^test1$"},
    "otel/recombine_EntriesNonMatchingForFirstEntryWithMaxUnmatchedBatchSize_0": {"multiline_pattern": "^test1$"},
    "otel/recombine_EntriesMatchingForFirstEntryOneFileOnly": {"multiline_pattern": "^start$"},
    "vector/line_agg_two_lines_emit_with_halt_before": {"multiline_pattern": "^START "},
    "concat/regexp_multiline_start_regexp_and_multiline_end_regexp": {"multiline_pattern": "^start"},
    "concat/regexp_continuous_line_regexp": {"multiline_pattern": "^[^ ]"},
    "concat/regexp_missing_keys": {"multiline_pattern": "^[^ ]"},
}
"""Cases of the tier config whose option crisp supports, as settings."""

NOT_OFFERED: dict[str, str] = {
    "the line that ends an event": "otel/recombine_TwoEntriesLast otel/recombine_CombineWithEmptyString "
    "otel/recombine_TestCustomSourceIdentifier otel/recombine_TestMaxBatchSizeUnlimited "
    "otel/recombine_TestMaxBatchSize filebeat/file_c_style "
    "otel/recombine_EntriesNonMatchingForLastEntryWithMaxUnmatchedBatchSize_0 "
    "filebeat/multiline_TestMultilineBeforeOK filebeat/multiline_TestMultilineBeforeNegateOKWithEmptyLine "
    "concat/regexp_multiline_with_single_line_logs concat/partial_key_filter_with_docker_style_events",
    "only lines between two patterns": "vector/line_agg_two_lines_emit_with_continue_through",
    "a number of lines": "concat/lines_filter_excess concat/lines_filter_2_groups concat/lines_missing_keys "
    "concat/lines_stream_identity",
    "traces of some languages alone": "detectexc/buffer_single_language_go detectexc/buffer_python_only",
    "another limit of lines or bytes": "detectexc/max_lines_limit detectexc_out/flush_after_max_lines "
    "otel/recombine_TestMaxLogSizeForFirstEntry otel/recombine_TestBatchSplitWhenTriggerTheBatchSizeLimit",
    "dropping an event at the end": "otel/recombine_ThreeEntriesFirstOldest",
    "docker's lines without stream and time": "fluentbit/tail_dockermode_splitted_multiple_lines",
    "traces in a field of JSON objects": "detectexc/json_field_mydata",
    "JSON under a key, or another key for the message": "filebeat/decode_json_03 filebeat/decode_json_08 "
    "filebeat/decode_json_10 filebeat/add_json_fields_03 filebeat/add_json_fields_04",
    "fields added earlier by the collector": "filebeat/add_json_fields_10 filebeat/add_json_fields_11",
}
"""Cases of the tier config, by the unsupported option that they need."""


def _ids(case: Case) -> str:
    return str(case["id"])


KINDS = ("cri", "multiline", "merge_json", "metadata")
DEFAULT_CASES = [case for kind in KINDS for case in cases(kind, "core", "derived")]
SETTABLE = [case for kind in KINDS for case in cases(kind, "config") if case["id"] in OFFERED]


@needs_cases
@pytest.mark.parametrize("case", [case for case in DEFAULT_CASES if case["id"] not in KNOWN_DIFFERENCES], ids=_ids)
def test_case_of_another_shipper_passes(case: Case) -> None:
    assert list(differences(case, documents(case))) == []


@needs_cases
@pytest.mark.parametrize("case", [case for case in DEFAULT_CASES if case["id"] in KNOWN_DIFFERENCES], ids=_ids)
def test_known_difference_still_differs(case: Case) -> None:
    assert list(differences(case, documents(case)))


@needs_cases
@pytest.mark.parametrize("case", [case for case in DEFAULT_CASES if "cri_split" in case["id"]], ids=_ids)
def test_halves_of_a_line_months_apart_are_joined_by_setting(case: Case) -> None:
    assert list(differences(case, documents(case, partial_gap_seconds=MONTHS))) == []


@needs_cases
@pytest.mark.parametrize("case", SETTABLE, ids=_ids)
def test_case_with_a_supported_option_passes(case: Case) -> None:
    assert list(differences(case, documents(case, **OFFERED[case["id"]]))) == []


@needs_cases
@pytest.mark.parametrize("case", cases("hostile_json", "hostile"), ids=_ids)
def test_hostile_body_is_one_document(case: Case) -> None:
    assert list(damage(case, documents(case))) == []


@needs_cases
def test_every_case_is_listed() -> None:
    settable = {case["id"] for kind in KINDS for case in cases(kind, "config")}
    not_offered = [name for names in NOT_OFFERED.values() for name in names.split()]
    assert settable - set(not_offered) == set(OFFERED) == {case["id"] for case in SETTABLE}
    assert set(not_offered) <= settable
    assert set(KNOWN_DIFFERENCES) < {case["id"] for case in DEFAULT_CASES}

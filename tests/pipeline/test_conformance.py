"""What the peers assert of the same job in their own tests holds for ours, through the path of `crisp parse`."""

from typing import Any

import pytest

from tests.pipeline.conformance import CASES, MONTHS, Case, cases, damage, differences, documents

KNOWN_DIFFERENCES = {
    "filebeat/cri_split": "a month between the halves of a line, the gap is a minute: met with a longer one",
    "filebeat/cri_split_newline": "the same",
    "fluentbit/tail_multiline_001_json_and_regex": "frames, each within a JSON object: joined, other fields were lost",
}
"""Cases of the tiers core and derived that differ by default, and why; ARCHITECTURE.md says the same."""

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
"""Cases of the tier config whose option we have, as settings."""

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
    "another most of lines or bytes": "detectexc/max_lines_limit detectexc_out/flush_after_max_lines "
    "otel/recombine_TestMaxLogSizeForFirstEntry otel/recombine_TestBatchSplitWhenTriggerTheBatchSizeLimit",
    "an event at the end thrown away": "otel/recombine_ThreeEntriesFirstOldest",
    "docker's lines without stream and time": "fluentbit/tail_dockermode_splitted_multiple_lines",
    "traces in a field of JSON objects": "detectexc/json_field_mydata",
    "JSON under a key, or another key for the message": "filebeat/decode_json_03 filebeat/decode_json_08 "
    "filebeat/decode_json_10 filebeat/add_json_fields_03 filebeat/add_json_fields_04",
    "fields that the collector added before": "filebeat/add_json_fields_10 filebeat/add_json_fields_11",
}
"""By the option that we have not: the cases of the tier config that need it."""


def _ids(case: Case) -> str:
    return str(case["id"])


needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no ../shared beside the repository")
KINDS = ("cri", "multiline", "merge_json", "metadata")
HOLD = [case for kind in KINDS for case in cases(kind, "core", "derived")]
SETTABLE = [case for kind in KINDS for case in cases(kind, "config") if case["id"] in OFFERED]


@needs_cases
@pytest.mark.parametrize("case", [case for case in HOLD if case["id"] not in KNOWN_DIFFERENCES], ids=_ids)
def test_as_the_peers_assert(case: Case) -> None:
    assert list(differences(case, documents(case))) == []


@needs_cases
@pytest.mark.parametrize("case", [case for case in HOLD if case["id"] in KNOWN_DIFFERENCES], ids=_ids)
def test_what_is_not_met_is_said(case: Case) -> None:
    assert list(differences(case, documents(case)))


@needs_cases
@pytest.mark.parametrize("case", [case for case in HOLD if "cri_split" in case["id"]], ids=_ids)
def test_halves_of_a_line_that_are_months_apart_join_by_setting(case: Case) -> None:
    assert list(differences(case, documents(case, partial_gap_seconds=MONTHS))) == []


@needs_cases
@pytest.mark.parametrize("case", SETTABLE, ids=_ids)
def test_options_do_what_the_peers_do(case: Case) -> None:
    assert list(differences(case, documents(case, **OFFERED[case["id"]]))) == []


@needs_cases
@pytest.mark.parametrize("case", cases("hostile_json", "hostile"), ids=_ids)
def test_a_hostile_body_is_one_document(case: Case) -> None:
    assert list(damage(case, documents(case))) == []


@needs_cases
def test_no_case_is_forgotten() -> None:
    settable = {case["id"] for kind in KINDS for case in cases(kind, "config")}
    not_offered = [name for names in NOT_OFFERED.values() for name in names.split()]
    assert settable - set(not_offered) == set(OFFERED) == {case["id"] for case in SETTABLE}
    assert set(not_offered) <= settable
    assert set(KNOWN_DIFFERENCES) < {case["id"] for case in HOLD}

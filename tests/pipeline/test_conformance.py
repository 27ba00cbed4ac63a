"""What the peers assert of the same job in their own tests holds for ours, through the path of `crisp parse`."""

from typing import Any

import pytest

from tests.pipeline.conformance import CASES, MONTHS, Case, cases, differences, documents, harmless

NOT_MET = {
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
}
"""Cases of the tier config whose option we have, as settings."""


def _ids(case: Case) -> str:
    return str(case["id"])


needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no ../shared beside the repository")
KINDS = ("cri", "multiline", "merge_json", "metadata")
HOLD = [case for kind in KINDS for case in cases(kind, "core", "derived")]
SETTABLE = [case for kind in KINDS for case in cases(kind, "config") if case["id"] in OFFERED]


@needs_cases
@pytest.mark.parametrize("case", [case for case in HOLD if case["id"] not in NOT_MET], ids=_ids)
def test_as_the_peers_assert(case: Case) -> None:
    assert list(differences(case, documents(case))) == []


@needs_cases
@pytest.mark.parametrize("case", [case for case in HOLD if case["id"] in NOT_MET], ids=_ids)
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
    assert list(harmless(case, documents(case))) == []


@needs_cases
def test_no_case_is_forgotten() -> None:
    assert {case["id"] for case in SETTABLE} == set(OFFERED)
    assert set(NOT_MET) < {case["id"] for case in HOLD}

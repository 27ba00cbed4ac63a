"""Gaps: the record of lost lines, and its document at its offset."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import Settings
from pipeline.contract import gap, pod_metadata, record
from pipeline.contract.gap import Gap, GapRecord
from pipeline.contract.pod_metadata import Instance
from pipeline.documents.builder import DocumentBuilder
from pipeline.errors import RecordError

DAY = 86400 * 10**9
NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
IDENTITY = "AAAAAAAAAAAAAAAA"
PATH = "/var/log/pods/shop_pay-1_u-1/pay/2.log"
METADATA = pod_metadata.from_path(Instance("shop", "pay-1", "u-1", "pay", 2), "n-1")


def make_gap(**changed: Any) -> GapRecord:
    return GapRecord(Gap(IDENTITY, 100, PATH, 4096, gap.VANISHED_FILE)._replace(**changed), "n-1", NOW, METADATA)


def document(gap_record: GapRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    (gap_document,) = DocumentBuilder(Settings()).build_gap(gap_record, NOW + 10**9)
    assert b"\n" not in gap_document.source
    names = json.loads(gap_document.source, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
    assert len(set(names)) == len(names)
    hit = gap_document.to_hit()
    return hit, hit.pop("_source")


sizes = st.none() | st.integers(0, 1 << 62)
gaps = st.builds(
    Gap,
    identity=st.just(IDENTITY),
    offset=st.integers(0, 1 << 39),
    path=st.text(),
    size=sizes,
    reason=st.text(),
    since=st.integers(0, NOW),
    until=st.integers(0, NOW),
    records=sizes,
)


@given(gaps)
def test_decoded_gap_equals_the_encoded_one(lost: Gap) -> None:
    gap_record = GapRecord(lost, "n-1", NOW, METADATA)
    headers = gap.encode(gap_record)

    assert gap.is_gap(headers)
    assert gap.decode(headers) == gap_record
    assert document(gap_record)[0]["_id"] == gap.document_id(lost)


def test_gap_is_no_slice_and_third_party_record_is_no_gap() -> None:
    with pytest.raises(RecordError, match="is a gap"):
        record.decode(b"", gap.encode(make_gap()))
    assert not gap.is_gap([("gap", b"{}")])
    assert not gap.is_gap([("crisp", b"1")])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity": "../../etc"}, "not an identity"),
        ({"offset": -1}, "not negative"),
        ({"size": "many"}, "whole numbers"),
        ({"size": True}, "whole numbers"),
        ({"until": 1 << 70}, "headers cannot be read|whole numbers"),
        ({"path": 7}, "must be text"),
        ({"reason": None}, "must be text"),
        ({"colour": 1}, "headers cannot be read"),
    ],
)
def test_gap_that_violates_the_contract_is_rejected_with_the_reason(changed: dict[str, Any], message: str) -> None:
    fields = json.dumps({**make_gap().gap._asdict(), **changed}).encode()
    headers = [(name, fields if name == "gap" else value) for name, value in gap.encode(make_gap())]

    with pytest.raises(RecordError, match=message):
        gap.decode(headers)


@pytest.mark.parametrize("name", ["gap", "node", "read", "pod"])
def test_missing_header_is_named_in_the_error(name: str) -> None:
    with pytest.raises(RecordError, match=f"missing headers: {name}"):
        gap.decode([row for row in gap.encode(make_gap()) if row[0] != name])


def test_gap_document_has_time_size_and_reason() -> None:
    action, source = document(make_gap(since=NOW - 2 * DAY, until=NOW - DAY))

    assert action == {"_index": "logs-2026.11.23", "_id": f"{IDENTITY}-0000000064-gap"}
    assert source["@timestamp"] == source["crisp.gap.until"] == "2026-11-23T09:42:30.000000000Z"
    assert source["crisp.gap.since"] == "2026-11-22T09:42:30.000000000Z"
    assert (source["crisp.gap.bytes"], source["crisp.gap.reason"]) == (4096, "vanished file")
    assert source["message"] == "4096 bytes of this log were lost before they were read: vanished file"
    assert (source["event.kind"], source["log.flags"]) == ("pipeline_error", ["gap"])
    assert (source["log.offset"], source["log.file.path"]) == (100, PATH)
    assert (source["kubernetes.pod.name"], source["service.name"], source["host.name"]) == ("pay-1", "pay", "n-1")


def test_gap_of_unknown_size_and_time_has_the_time_of_its_detection() -> None:
    action, source = document(make_gap(size=None))

    assert action["_index"] == "logs-2026.11.24"
    assert source["@timestamp"] == source["event.created"]
    assert source["message"].startswith("an unknown number of bytes")
    assert not source.keys() & {"crisp.gap.bytes", "crisp.gap.since", "crisp.gap.until", "crisp.gap.records"}


def test_gap_of_kafka_counts_records_and_has_the_identity_of_its_partition() -> None:
    identity = gap.partition_identity("logs-raw", 3)
    gap_record = GapRecord(Gap(identity, 17, "", None, gap.KAFKA_RETENTION, records=5), "", NOW, METADATA)
    action, source = document(gap_record)

    assert identity == "XyQqrP-fXNDq4NjT"
    assert action["_id"] == f"{identity}-0000000011-gap"
    assert source["crisp.gap.records"] == 5
    assert source["message"] == "5 records of this log were lost before they were read: kafka retention"
    assert "log.file.path" not in source


def test_gap_older_than_the_retention_goes_to_the_late_index() -> None:
    assert document(make_gap(until=NOW - 30 * DAY))[0]["_index"] == "logs-late"

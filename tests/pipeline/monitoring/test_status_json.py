"""A status survives `/status.json`; what cannot be read is an error, never a crash."""

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring import shipper_problems, worker_problems
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.status_json import StatusFormatError, from_json
from pipeline.monitoring.worker_status import PartitionLag, Rejection, WorkerStatus
from tests.support.statuses import NOW, SHIPPER, WORKER, with_value

REJECTION = Rejection("shop/app", "no number", 2, NOW, NOW, "logs", "id")
STATUSES = [
    WORKER,
    SHIPPER,
    worker_problems.with_problems(
        with_value(
            with_value(WORKER, "rejections", (REJECTION,)), "lag", (PartitionLag(1, 2, 3, None, 4, 6, 0, 0.0, "time"),)
        ),
        NOW,
    ),
    shipper_problems.with_problems(with_value(SHIPPER, "kafka_problem", "no broker"), NOW),
]


@pytest.mark.parametrize("status", STATUSES)
def test_status_is_read_back_as_it_was(status: WorkerStatus | ShipperStatus) -> None:
    assert from_json(orjson.dumps(status)) == status


def test_severities_are_words_in_json() -> None:
    fields = orjson.loads(orjson.dumps(STATUSES[3]))

    assert (fields["kind"], fields["state"], fields["problems"][0]["severity"]) == ("shipper", "critical", "critical")


def test_unknown_key_of_a_newer_version_is_ignored() -> None:
    fields = {**orjson.loads(orjson.dumps(WORKER)), "new": 1}

    assert from_json(orjson.dumps(fields)) == WORKER


def test_integer_is_accepted_for_a_float() -> None:
    fields = {**orjson.loads(orjson.dumps(WORKER)), "topic_retention_seconds": 86400}

    assert from_json(orjson.dumps(fields)) == WORKER


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"totals": None}, "unknown status format of version 0: totals is no object"),
        ({"lag": [{"partition": 0}]}, "unknown status format of version 0: lag.0.records is missing"),
        ({"lag": {}}, "unknown status format of version 0: lag has an unexpected value"),
        ({"state": "purple"}, "unknown status format of version 0: state has an unexpected value"),
        ({"state": []}, "unknown status format"),
        ({"rejection_rate_high": 1}, "unknown status format of version 0: rejection_rate_high has an unexpected value"),
        ({"kind": "other", "version": 3}, "unknown status format: neither a worker's nor a shipper's"),
        ({"kind": []}, "unknown status format"),
    ],
)
def test_odd_value_is_an_error_with_its_place(changes: dict[str, Any], message: str) -> None:
    fields = {**orjson.loads(orjson.dumps(WORKER)), **changes}

    with pytest.raises(StatusFormatError, match=message):
        from_json(orjson.dumps(fields))


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"<html>", b"[" * 5000])
def test_anything_else_is_an_error(content: bytes) -> None:
    with pytest.raises(StatusFormatError, match="unknown status format"):
        from_json(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(STATUSES), st.data())
def test_any_replaced_value_is_read_or_an_error(status: WorkerStatus | ShipperStatus, data: st.DataObject) -> None:
    root = part = orjson.loads(orjson.dumps(status))
    key = data.draw(st.sampled_from(sorted(part)))
    while isinstance(part[key], dict) and part[key] and data.draw(st.booleans()):
        part = part[key]
        key = data.draw(st.sampled_from(sorted(part)))
    if data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(JSON)
    with contextlib.suppress(StatusFormatError):
        from_json(orjson.dumps(root))

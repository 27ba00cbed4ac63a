"""Rejections are counted by workload and reason; the log is bounded and shows no content of log lines."""

from typing import Any

import orjson

from pipeline.elasticsearch.rejections.rejection_log import MAX_ENTRIES, MAX_SHOWN, RejectionLog
from pipeline.monitoring.worker_status import Rejection

POD = {"kubernetes.namespace": "shop", "kubernetes.pod.name": "pay-1"}


def entries(*rejections: tuple[dict[str, Any], str]) -> tuple[Rejection, ...]:
    log = RejectionLog()
    for number, (fields, reason) in enumerate(rejections):
        log.add(orjson.dumps(fields), reason, ("logs-2026.11.24", f"id-{number}"), float(number))
    return log.snapshot()


def test_reasons_that_differ_in_positions_are_one_entry() -> None:
    (entry,) = entries(
        (POD, "400 a: [1:20] failed in document with id 'x-1'"), (POD, "400 a: [1:7] failed in document with id 'x-2'")
    )

    assert (entry.workload, entry.count, entry.first_at, entry.last_at, entry.example) == (
        "shop/pay-1",
        2,
        0.0,
        1.0,
        "id-1",
    )


def test_preview_of_a_value_is_not_shown() -> None:
    (entry,) = entries((POD, "400 a: failed to parse. Preview of field's value: 'secret'"))

    assert entry.reason == "400 a: failed to parse."


def test_workload_is_the_most_general_name_that_is_known() -> None:
    named = [{**POD, "kubernetes.deployment.name": "pay"}, {**POD, "service.name": "payments"}, POD, {}]

    assert [entry.workload for entry in reversed(entries(*[(fields, "400 a: b") for fields in named]))] == [
        "shop/pay",
        "shop/payments",
        "shop/pay-1",
        "/unknown",
    ]


def test_log_keeps_the_most_recent_entries() -> None:
    shown = entries(*[({"service.name": f"s-{number}"}, "400 a: b") for number in range(MAX_ENTRIES + 5)])

    assert len(shown) == MAX_SHOWN
    assert shown[0].workload == f"/s-{MAX_ENTRIES + 4}"

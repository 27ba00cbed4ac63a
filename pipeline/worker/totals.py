"""The worker's totals of events by result. A snapshot from the event loop, between two steps, adds up."""

from typing import Any

from pipeline.monitoring.metrics import Metrics

OUTCOMES = ("created", "duplicate", "fallback", "extended", "dead_lettered")


def snapshot(metrics: Metrics, slices_in_flight: int) -> dict[str, Any]:
    """Return the totals: events = created + duplicate + fallback + dead-lettered + dropped + in flight.

    Documents that extend another one are counted in addition.
    """
    documents = {name: int(metrics.get("crisp_worker_documents", result=name)) for name in OUTCOMES}
    dropped = {
        rule: int(number) for rule, number in metrics.values_by_label("crisp_worker_events_dropped", "rule").items()
    }
    events = int(metrics.get("crisp_worker_events"))
    settled = sum(documents.values()) - documents["extended"]
    return {
        "lines": int(metrics.get("crisp_worker_received_lines")),
        "events": events,
        "documents": documents,
        "dropped": dropped,
        "records": {
            name: int(number)
            for name, number in metrics.values_by_label("crisp_worker_records_received", "kind").items()
        },
        "accounts": {
            "settled": settled,
            "in_work": events - settled - sum(dropped.values()),
            "slices_in_work": slices_in_flight,
        },
    }

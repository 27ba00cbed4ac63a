"""The worker's totals of events by result. A snapshot from the event loop, between two steps, adds up."""

from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import DocumentTotals, EventTotals, RecordTotals


def snapshot(metrics: Metrics, slices_in_flight: int) -> EventTotals:
    """Return the totals: events = created + duplicate + fallback + conflicting + dead-lettered + dropped + in flight.

    Documents that extend another one are counted in addition.
    """
    by_result = _counts(metrics, "crisp_worker_documents", "result")
    documents = DocumentTotals(**by_result)
    dropped = _counts(metrics, "crisp_worker_events_dropped", "rule")
    events = int(metrics.get("crisp_worker_events"))
    settled = sum(by_result.values()) - documents.extended
    in_flight = events - settled - sum(dropped.values())
    unaccounted = in_flight if in_flight < 0 or not slices_in_flight else 0
    metrics.set("crisp_worker_events_unaccounted", abs(unaccounted))
    return EventTotals(
        lines=int(metrics.get("crisp_worker_received_lines")),
        events=events,
        settled=settled,
        in_flight=in_flight,
        slices_in_flight=slices_in_flight,
        records=RecordTotals(**_counts(metrics, "crisp_worker_records_received", "kind")),
        documents=documents,
        dropped=dropped,
    )


def _counts(metrics: Metrics, name: str, label: str) -> dict[str, int]:
    return {value: int(number) for value, number in metrics.values_by_label(name, label).items()}

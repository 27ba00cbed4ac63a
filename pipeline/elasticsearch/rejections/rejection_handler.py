"""Handle the documents that a bulk request did not create, each individually.

A document is complete when it is created in some form, exists already, or is acknowledged in the dead-letter topic.
Errors that are not about the document are retried indefinitely; only failed documents are sent again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from pipeline.contract.dead_letter import DeadLetter
from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_response import ItemResult, Outcome
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.rejections.pending_document import EXTENDED_MARK, FORMS, PendingDocument
from pipeline.elasticsearch.rejections.rejection_log import RejectionLog
from pipeline.elasticsearch.rejections.rejection_rate import RejectionRate
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

SendDeadLetter = Callable[[DeadLetter], Awaitable[None]]
"""Sends a document to the dead-letter topic; returns when Kafka has acknowledged it."""


class RejectionHandler:
    """Retries, falls back and dead-letters documents; tracks the rejections and their rate."""

    def __init__(
        self, bulk_sender: BulkSender, client: RetryingClient, metrics: Metrics, send_dead_letter: SendDeadLetter
    ) -> None:
        self._bulk_sender = bulk_sender
        self._client = client
        self._metrics = metrics
        self._send_dead_letter = send_dead_letter
        self.rejection_rate = RejectionRate()
        self.rejection_log = RejectionLog()

    def count_created(self, number: int) -> None:
        """Count documents that were created at the first attempt."""
        self._metrics.inc("crisp_worker_documents", number, result="created")
        self._update_rate(number, 0)

    def refresh_rate(self) -> None:
        """Update the rejection rate without new documents, so that it falls also when no documents arrive."""
        self._update_rate(0, 0)

    async def handle(self, documents: list[PendingDocument], results: list[ItemResult]) -> None:
        """Return when each document is complete; `results` are of the first attempt, whose created ones are counted."""
        backoff = self._client.new_backoff()
        while True:
            remaining: list[PendingDocument] = []
            for document, result in zip(documents, results, strict=True):
                attempt = await self._next_attempt(document, result)
                if attempt is not None:
                    remaining.append(attempt)
            if not remaining:
                self._client.mark_healthy()
                return
            retry = next((result for result in results if result.outcome is Outcome.RETRY), None)
            if retry is not None:
                self._client.mark_failing(retry.reason)
                await asyncio.sleep(backoff.next_pause())
            documents = remaining
            body = b"".join(document.bulk_lines() for document in documents)
            results = await self._bulk_sender.send(body, len(documents))
            self._count_results(documents, results)

    def _count_results(self, documents: list[PendingDocument], results: list[ItemResult]) -> None:
        for document, result in zip(documents, results, strict=True):
            if result.outcome is Outcome.CREATED:
                self._metrics.inc("crisp_worker_documents", result=document.outcome)
                self._update_rate(1, 0)

    async def _next_attempt(self, document: PendingDocument, result: ItemResult) -> PendingDocument | None:
        """Return the document to send next, None if this one is complete."""
        if result.outcome is Outcome.CREATED:
            return None
        if result.outcome is Outcome.RETRY:
            return document
        if result.outcome is Outcome.EXISTS:
            if EXTENDED_MARK in document.id:
                return None  # the event itself is counted already
            self._metrics.inc("crisp_worker_documents", result="duplicate")
            return await self._extend_if_longer(document) if document.length else None
        if bulk_response.MAPPING_RACE in result.reason and not document.retried_for_mapping_race:
            document.retried_for_mapping_race = True
            return document
        self._record_rejection(document, result)
        if document.is_last_form:
            await self._dead_letter(document, result.reason)
            return None
        return document.next_fallback(result.reason)

    def _record_rejection(self, document: PendingDocument, result: ItemResult) -> None:
        self._metrics.inc("crisp_worker_documents_rejected", form=FORMS[document.form])
        if not document.form:
            self.rejection_log.add(document.source, result.reason, (document.index, document.id), time.time())
        self._update_rate(0, 1)
        log.warning("document rejected for its content; retrying in a fallback form: %s", result.reason)

    def _update_rate(self, documents: int, rejected: int) -> None:
        self.rejection_rate.add(documents, rejected, time.monotonic())
        if self.rejection_rate.exceeded and rejected:
            log.error(
                "rejection rate high: %d documents rejected in the last two minutes; "
                "check the index template and recent deployments",
                self.rejection_rate.rejected,
            )

    async def _extend_if_longer(self, document: PendingDocument) -> PendingDocument | None:
        """Return a flagged copy of an event of several lines if the stored one is shorter, else None."""
        path = f"/{document.index}/_doc/{document.id}?_source_includes=log.length"
        _, response = await self._client.get_until(path, (200, 404))
        length = (response.get("_source") or {}).get("log.length", document.length)
        return document.extended() if length < document.length else None

    async def _dead_letter(self, document: PendingDocument, reason: str) -> None:
        """Dead-letter a document once its index accepts the canary: until then the error is the index's."""
        canary = document.canary().bulk_lines()
        backoff = self._client.new_backoff()
        while (result := (await self._bulk_sender.send(canary, 1))[0]).outcome not in (Outcome.CREATED, Outcome.EXISTS):
            self._client.mark_failing(f"index {document.index} rejects even a plain document: {result.reason}")
            await asyncio.sleep(backoff.next_pause())
        await self._send_dead_letter(document.dead_letter(reason))
        self._metrics.inc("crisp_worker_documents", result="dead_lettered")

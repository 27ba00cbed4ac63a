"""What becomes of documents that a bulk did not simply create: each is settled alone.

Settled is: created in some form, there already, or acknowledged in the dead-letter topic. What says nothing about the
document is tried again for ever; only what failed is sent again.
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
"""Puts a document into the dead-letter topic; returns when it is acknowledged there."""


class RejectionHandler:
    """Settles singles; also tells a flood of refusals."""

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
        """Count documents that were created at the first try."""
        self._metrics.inc("crisp_worker_documents", number, result="created")
        self._update_rate(number, 0)

    def refresh_rate(self) -> None:
        """Let time pass for the flood: it is over also when nothing comes any more."""
        self._update_rate(0, 0)

    async def handle(self, documents: list[PendingDocument], results: list[ItemResult]) -> None:
        """Return when each is settled; `items` are the answers to the first try, already counted where created."""
        pauses = self._client.new_backoff()
        while True:
            left: list[PendingDocument] = []
            for single, item in zip(documents, results, strict=True):
                again = await self._next_attempt(single, item)
                if again is not None:
                    left.append(again)
            if not left:
                self._client.mark_healthy()
                return
            busy = next((item for item in results if item.outcome is Outcome.RETRY), None)
            if busy is not None:
                self._client.mark_failing(busy.reason)
                await asyncio.sleep(next(pauses))
            documents = left
            results = await self._bulk_sender.send(
                b"".join(single.bulk_lines() for single in documents), len(documents)
            )
            self._count_results(documents, results)

    def _count_results(self, documents: list[PendingDocument], results: list[ItemResult]) -> None:
        for single, item in zip(documents, results, strict=True):
            if item.outcome is Outcome.CREATED:
                self._metrics.inc("crisp_worker_documents", result=single.outcome)
                self._update_rate(1, 0)

    async def _next_attempt(self, document: PendingDocument, result: ItemResult) -> PendingDocument | None:
        """What has to be sent next for a document, None when it is settled."""
        if result.outcome is Outcome.CREATED:
            return None
        if result.outcome is Outcome.RETRY:
            return document
        if result.outcome is Outcome.EXISTS:
            if EXTENDED_MARK in document.id:
                return None  # beside the event, which is counted already
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
        log.warning("document refused for its content, a safer form is tried: %s", result.reason)

    def _update_rate(self, documents: int, rejected: int) -> None:
        self.rejection_rate.add(documents, rejected, time.monotonic())
        rises = self.rejection_rate.exceeded
        if rises and rejected:
            log.error(
                "a flood of refusals: of late %d documents were refused; look at the template and the newest service",
                self.rejection_rate.rejected,
            )

    async def _extend_if_longer(self, document: PendingDocument) -> PendingDocument | None:
        """An event of several lines is there already; if ours reaches further, it goes in beside, flagged."""
        path = f"/{document.index}/_doc/{document.id}?_source_includes=log.length"
        _, stored = await self._client.get_until(path, (200, 404))
        length = (stored.get("_source") or {}).get("log.length", document.length)
        return document.extended() if length < document.length else None

    async def _dead_letter(self, document: PendingDocument, reason: str) -> None:
        """Dead-letter a document, but only when its index takes another one: else the place is broken, not it."""
        canary = document.canary().bulk_lines()
        pauses = self._client.new_backoff()
        while (item := (await self._bulk_sender.send(canary, 1))[0]).outcome not in (Outcome.CREATED, Outcome.EXISTS):
            self._client.mark_failing(f"the index {document.index} refuses even a plain document: {item.reason}")
            await asyncio.sleep(next(pauses))
        await self._send_dead_letter(document.dead_letter(reason))
        self._metrics.inc("crisp_worker_documents", result="dead_lettered")

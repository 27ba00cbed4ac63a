"""Handle the documents that a bulk request did not create, each individually.

A document is complete when it is created in some form, exists already, or is acknowledged in the dead-letter topic.
Errors that are not about the document are retried indefinitely; only failed documents are sent again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.batch import Document
from pipeline.elasticsearch import bulk_body, bulk_response
from pipeline.elasticsearch.bulk_response import ItemResult, Outcome
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.rejections.pending_document import PendingDocument, PendingItem, Stage
from pipeline.elasticsearch.rejections.rejection_log import RejectionLog
from pipeline.elasticsearch.rejections.rejection_rate import RejectionRate
from pipeline.elasticsearch.rejections.stored_documents import ABSENT, StoredDocuments
from pipeline.elasticsearch.rejections.stored_event import CONFLICT_FLAG
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

SendDeadLetter = Callable[[DeadLetter], Awaitable[None]]
"""Sends a document to the dead-letter topic; returns when Kafka has acknowledged it."""


_ACCEPTED = (Outcome.CREATED, Outcome.EXISTS)


class RejectionHandler:
    """Retries, falls back and dead-letters documents; tracks the rejections and their rate."""

    def __init__(
        self, bulk_sender: BulkSender, client: RetryingClient, metrics: Metrics, send_dead_letter: SendDeadLetter
    ) -> None:
        self._bulk_sender = bulk_sender
        self._client = client
        self._metrics = metrics
        self._send_dead_letter = send_dead_letter
        self._stored_documents = StoredDocuments(client)
        self.rejection_rate = RejectionRate()
        self.rejection_log = RejectionLog()

    def count_created(self, number: int) -> None:
        """Count documents that were created at the first attempt."""
        self._metrics.inc("crisp_worker_documents", number, result="created")
        self._update_rate(number, 0)

    def refresh_rate(self) -> None:
        """Update the rejection rate without new documents, so that it falls also when no documents arrive."""
        self._update_rate(0, 0)

    async def handle(self, items: list[PendingItem]) -> None:
        """Return when each document is complete; `items` have the results of the first attempt."""
        backoff = self._client.new_backoff()
        while True:
            documents = await self._after_exists([item for item, result in items if result.outcome is Outcome.EXISTS])
            for document, result in items:
                if result.outcome is not Outcome.EXISTS:
                    attempt = await self._next_attempt(document, result)
                    documents += [attempt] if attempt is not None else []
            if not documents:
                self._client.mark_healthy()
                return
            retry = next((result for _, result in items if result.outcome is Outcome.RETRY), None)
            if retry is not None:
                self._client.mark_failing(retry.reason)
                await asyncio.sleep(backoff.next_pause())
            items = await self._send(documents)

    async def _send(self, documents: list[PendingDocument]) -> list[PendingItem]:
        """Send documents; count those that are created, and return the others with their results."""
        results = await self._send_documents([pending.document for pending in documents])
        items = list(zip(documents, results, strict=True))
        for document, result in items:
            if result.outcome is Outcome.CREATED:
                self._metrics.inc("crisp_worker_documents", result=document.stage.created_result)
                self._update_rate(1, 0)
        return [item for item in items if item[1].outcome is not Outcome.CREATED]

    async def _send_documents(self, documents: list[Document]) -> list[ItemResult]:
        return await self._bulk_sender.send(bulk_body.encode_documents(documents), len(documents))

    async def _next_attempt(self, document: PendingDocument, result: ItemResult) -> PendingDocument | None:
        """Return the document to send next, None if this one is complete."""
        if result.outcome is Outcome.RETRY:
            return document
        if bulk_response.MAPPING_RACE in result.reason and Stage.RACED not in document.stage:
            return document.raced()
        return await self._after_rejection(document, result.reason)

    async def _after_exists(self, documents: list[PendingDocument]) -> list[PendingDocument]:
        """Compare documents that exist with the stored ones; return what is to be sent: what is missing next to them.

        A document that does not exist any more is sent again.
        """
        attempts: list[PendingDocument] = []
        for pending, stored in zip(
            documents, await self._stored_documents.read([pending.document for pending in documents]), strict=True
        ):
            following = pending if stored is ABSENT else pending.next_after_exists(stored)
            if following is None or Stage.EXTENDED in following.stage & ~pending.stage:
                self._count_duplicate(pending)
            elif following is not pending:
                log.error(
                    "documents of other lines have the ids of lines: the lines are indexed next to them, flagged %s; "
                    "check who may write to the raw topic",
                    CONFLICT_FLAG,
                    extra={"crisp.document": f"{pending.document.index}/{pending.document.id}"},
                )
            attempts += [following] if following is not None else []
        return attempts

    def _count_duplicate(self, document: PendingDocument) -> None:
        """Count a document that exists; the event of an extended one is counted already."""
        if Stage.EXTENDED not in document.stage:
            self._metrics.inc("crisp_worker_documents", result="duplicate")

    async def _after_rejection(self, document: PendingDocument, reason: str) -> PendingDocument | None:
        """Record a rejection; return the next fallback form, or dead-letter the document if there is none."""
        self._record_rejection(document, reason)
        fallback = document.next_fallback(reason)
        if fallback is None:
            log.warning("document rejected for its content in every form; it is dead-lettered: %s", reason)
            await self._dead_letter(document, reason)
        else:
            log.warning("document rejected for its content; retrying in a fallback form: %s", reason)
        return fallback

    def _record_rejection(self, pending: PendingDocument, reason: str) -> None:
        form = pending.stage.form
        self._metrics.inc("crisp_worker_documents_rejected", form=form)
        if form == "original":
            document = pending.document
            self.rejection_log.add(document.source, reason, (document.index, document.id), time.time())
        self._update_rate(0, 1)

    def _update_rate(self, documents: int, rejected: int) -> None:
        self.rejection_rate.add(documents, rejected, time.monotonic())
        if self.rejection_rate.exceeded and rejected:
            log.error(
                "rejection rate high: %d documents rejected in the last two minutes; "
                "check the index template and recent deployments",
                self.rejection_rate.rejected,
            )

    async def _dead_letter(self, document: PendingDocument, reason: str) -> None:
        """Dead-letter a document once its index accepts the canary: until then the error is the index's."""
        canary = document.canary()
        backoff = self._client.new_backoff()
        while (result := (await self._send_documents([canary]))[0]).outcome not in _ACCEPTED:
            self._client.mark_failing(f"index {canary.index} rejects even a plain document: {result.reason}")
            await asyncio.sleep(backoff.next_pause())
        await self._send_dead_letter(document.dead_letter(reason))
        self._metrics.inc("crisp_worker_documents", result="dead_lettered")

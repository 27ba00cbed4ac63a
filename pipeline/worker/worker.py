"""The worker: consumes records of the raw topic, indexes their documents, acks each record when it is settled."""

import asyncio
import os
import socket
import time

from pipeline.config import secrets
from pipeline.config.environment import non_defaults
from pipeline.config.secrets import SecretFileWatcher
from pipeline.config.settings import Settings
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.elasticsearch.indexer import Indexer
from pipeline.monitoring import worker_problems
from pipeline.monitoring.http_server import StatusServer
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.pages import worker_page
from pipeline.monitoring.worker_status import WorkerStatus
from pipeline.rules.reload import RulesReloader
from pipeline.rules.ruleset import Ruleset
from pipeline.worker import credential_reload, totals
from pipeline.worker.app import WorkerApp
from pipeline.worker.background_tasks import BackgroundTasks
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.monitor import WorkerMonitor
from pipeline.worker.ordered_acks import OrderedAcker
from pipeline.worker.record_handler import RecordHandler
from pipeline.worker.worker_health import WorkerHealth

TOTALS_SECONDS = 1.0
REJECTION_RATE_SECONDS = 10.0


class Worker:
    """The parts of one worker process, and their tasks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(WORKER)
        secret_files = secrets.kafka_files(settings) | secrets.elasticsearch_files(settings)
        self.secret_watcher = SecretFileWatcher(secret_files)  # before anything reads a secret
        self.app = WorkerApp(settings)
        self.acker = OrderedAcker(self.app.generation, self.app.ack)
        self.budget = MemoryBudget(settings.worker_memory_budget_bytes)
        self.dead_letter_producer = DeadLetterProducer(
            self.app.dead_letter_topic, settings.retry_max_seconds, settings.dead_letter_topic_max_bytes
        )
        self._client = connect(settings)
        self.indexer = Indexer(self._client, settings, self.metrics, self.dead_letter_producer.send)
        self.probe = FreshnessProbe(self.indexer.retrying_client, self.metrics, settings.search_probe_seconds)
        self.monitor = WorkerMonitor(settings, self.metrics, self._raw_partitions, self.acker)
        self.health = WorkerHealth(self.app, self.budget, self.monitor, self.indexer, self.dead_letter_producer)
        self._background_tasks = BackgroundTasks(self.app.crash)
        self._processor = RecordProcessor(settings)
        self.handler = self._make_handler()
        self.rules_reloader = RulesReloader(settings)
        self._set_rules(self.rules_reloader.rules)
        self.metrics.set("crisp_worker_rules_last_reload_successful", 1)
        self._started_at = time.time()
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self._totals = totals.snapshot(self.metrics, 0)
        self.status_server = StatusServer(
            self.metrics,
            self.health.liveness_failure,
            self.health.readiness_failure,
            self.status,
            worker_page.render,
        )

    def _make_handler(self) -> RecordHandler:
        return RecordHandler(
            processor=self._processor,
            indexer=self.indexer,
            dead_letter_producer=self.dead_letter_producer,
            acker=self.acker,
            budget=self.budget,
            monitor=self.monitor,
            probe=self.probe,
            health=self.health,
            tasks=self._background_tasks,
            metrics=self.metrics,
            part_bytes=self.settings.bulk_max_bytes,
        )

    async def start(self) -> None:
        """Join the consumer group and start to process records."""
        await self.app.start(self.handler, [self._run])

    def pause(self) -> None:
        """Consume no more records; records in flight are completed."""
        self.handler.pause()
        self.app.pause()

    async def _run(self) -> None:
        """Run every part until cancelled; an error of one ends the process."""
        try:
            async with asyncio.TaskGroup() as group:
                for work in (
                    self.indexer.run(),
                    self.probe.run(),
                    self.monitor.run(),
                    self.health.run(),
                    self._update_totals(),
                    self._refresh_rejection_rate(),
                    self._reload_rules(),
                    credential_reload.run(self.settings, self.secret_watcher, self._client, self.app.kafka_clients),
                ):
                    group.create_task(self._background_tasks.run_or_crash(work))
        finally:
            await self._client.close()

    async def _update_totals(self) -> None:
        """Take the totals on the event loop, between two steps: the status is read in another thread."""
        while True:
            self._totals = totals.snapshot(self.metrics, self.acker.pending())
            await asyncio.sleep(TOTALS_SECONDS)

    async def _refresh_rejection_rate(self) -> None:
        while True:
            await asyncio.sleep(REJECTION_RATE_SECONDS)
            self.indexer.rejection_handler.refresh_rate()

    async def _reload_rules(self) -> None:
        while self.settings.rules_file:
            await asyncio.sleep(self.settings.rules_poll_seconds)
            if self.rules_reloader.poll():
                await self._change_rules(self.rules_reloader.rules)
            self.metrics.set("crisp_worker_rules_last_reload_successful", int(not self.rules_reloader.problems))
            self.metrics.set("crisp_worker_rules_errors", len(self.rules_reloader.problems))

    async def _change_rules(self, rules: Ruleset | None) -> None:
        """Replace the rules; if they may select other indices, after Kafka has it with the group's offsets."""
        if self._processor.changes_routing(rules):
            await self.app.change_routing(lambda: self._set_rules(rules))
        else:
            self._set_rules(rules)

    def _set_rules(self, rules: Ruleset | None) -> None:
        self._processor.set_rules(rules)
        if rules is not None:
            self.indexer.hook_error_log.expect(rule.name for rule in rules.rules if rule.kind == "python")

    def _raw_partitions(self) -> set[int]:
        return {tp.partition for tp in self.app.assigned() if tp.topic == self.settings.topic_raw}

    def status(self) -> WorkerStatus:
        """Return the worker's status, with its problems."""
        rejections = self.indexer.rejection_handler
        status = WorkerStatus(
            name=self.name,
            started_at=self._started_at,
            settings=non_defaults(self.settings),
            partitions=tuple(sorted(f"{tp.topic}/{tp.partition}" for tp in self.app.assigned())),
            topic_raw=self.settings.topic_raw,
            topic_dead=self.settings.topic_dead,
            topic_retention_seconds=self.settings.topic_retention_seconds,
            topic_retention_bytes=self.settings.topic_retention_bytes,
            lag=self.monitor.lag(),
            lag_problem=self.monitor.lag_problem,
            lag_measured_at=self.monitor.lag_measured_at,
            dead_letter_problem=self.dead_letter_producer.problem,
            totals=self._totals,
            losses=self.monitor.losses(),
            in_flight_bytes=self.budget.used,
            memory_budget_bytes=self.settings.worker_memory_budget_bytes,
            elasticsearch=self.indexer.elasticsearch_status(),
            rejections=rejections.rejection_log.snapshot(),
            rejection_rate_high=rejections.rejection_rate.exceeded,
            rules=self.rules_reloader.snapshot(),
            hook_errors=self.indexer.hook_error_log.snapshot(),
            load=self.monitor.load.current,
            traffic=self.monitor.traffic.current,
            history=self.monitor.history(),
        )
        return worker_problems.with_problems(status, time.time())

"""The Faust app, with every setting that keeps it from losing data.

Faust 0.15.3 loses data or hangs in five known ways with its defaults. The guards, here, in `acks` and in
`faust_consumer`: acks by hand and in order; an agent that lets no exception out, and a supervisor that ends the process
if one gets out; our own budget in bytes; a poll interval so long that a blocked worker never leaves the group; no
waiting for empty streams in a rebalance; no tables, no leader topic, the round-robin assignor.
"""

import faust
from mode.supervisors import CrashingSupervisor

from pipeline.config.settings import MIB, Settings, dead_letter_max_bytes, record_max_bytes
from pipeline.worker import consumer, credentials
from pipeline.worker.consumer import OnLogReset, OnRecordsLost

NO_TIMEOUT_SECONDS = 30 * 86400.0


def build(settings: Settings, on_records_lost: OnRecordsLost, on_log_reset: OnLogReset) -> faust.App:
    """An app that tells what its partitions lost, and which of them began anew."""
    app = faust.App(
        settings.kafka_group,
        broker=";".join(f"kafka://{broker.strip()}" for broker in settings.kafka_brokers.split(",")),
        broker_credentials=credentials.broker_credentials(settings),
        processing_guarantee="at_least_once",
        broker_max_poll_interval=NO_TIMEOUT_SECONDS,
        stream_wait_empty=False,
        agent_supervisor=CrashingSupervisor,
        stream_buffer_maxsize=16,
        broker_max_poll_records=16,
        consumer_max_fetch_size=max(2 * MIB, record_max_bytes(settings)),
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=30_000,  # a topic made late, or again, is seen after this
        broker_commit_interval=1.0,
        broker_commit_every=1_000_000,
        broker_session_timeout=settings.kafka_session_timeout_seconds,
        broker_heartbeat_interval=settings.kafka_session_timeout_seconds / 4,
        broker_rebalance_timeout=60.0,
        broker_request_timeout=60.0,
        stream_processing_timeout=NO_TIMEOUT_SECONDS,
        broker_commit_livelock_soft_timeout=NO_TIMEOUT_SECONDS,
        stream_publish_on_commit=False,
        cython_optimizations=False,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        reply_create_topic=False,
        key_serializer="raw",
        value_serializer="raw",
        producer_acks=-1,
        producer_compression_type="zstd",
        producer_max_request_size=dead_letter_max_bytes(settings),
        producer_request_timeout=60.0,
        producer_linger=0.05,
        producer_threaded=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        datadir="/tmp/crisp-faust",  # noqa: S108 - nothing is written there: there are no tables
    )
    consumer.install(app, on_records_lost, on_log_reset)
    return app

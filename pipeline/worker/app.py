"""The Faust app, with every setting that prevents data loss.

Faust 0.15.3 loses data or hangs in five known ways with its defaults. The guards, here, in `ordered_acks` and in
`consumer`: manual acks in offset order; an agent that raises no exception, and a supervisor that ends the process if
one escapes; a memory budget in bytes; a maximum poll interval so long that a blocked worker never leaves the group;
no wait for empty streams in a rebalance; no tables, no leader topic, the round-robin assignor.
"""

import faust
from mode.supervisors import CrashingSupervisor

from pipeline.config.settings import MIB, Settings, dead_letter_max_bytes, record_max_bytes
from pipeline.worker import consumer, credentials
from pipeline.worker.consumer import OnLogReset, OnRecordsLost

NO_TIMEOUT_SECONDS = 30 * 86400.0


def build(settings: Settings, on_records_lost: OnRecordsLost, on_log_reset: OnLogReset) -> faust.App:
    """Return an app that reports lost records and reset logs of its partitions."""
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
        consumer_metadata_max_age_ms=30_000,  # a topic that is created late, or recreated, is discovered after this
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
        datadir="/tmp/crisp-faust",  # noqa: S108 - nothing is written there: the app has no tables
    )
    consumer.install(app, on_records_lost, on_log_reset)
    return app

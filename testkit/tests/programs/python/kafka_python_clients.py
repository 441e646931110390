"""The clients of the programs on kafka-python."""

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata

import app


def clients(**producer):
    consumer = KafkaConsumer(
        "jobs",
        bootstrap_servers=app.BROKERS,
        group_id="app",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=app.BATCH_RECORDS,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
        reconnect_backoff_max_ms=500,
    )
    # A leader that learns of partitions after it has joined joins again, and kafka-python 3.0.12 loses that
    # assignment if a poll's time ends before it: the member then waits for ever, without heartbeats.
    consumer.partitions_for_topic("jobs")
    return consumer, KafkaProducer(
        bootstrap_servers=app.BROKERS, reconnect_backoff_max_ms=500, **producer)


def next_offsets(batch):
    """What is committed when these records are done."""
    return {partition: OffsetAndMetadata(records[-1].offset + 1, "", -1)
            for partition, records in batch.items()}

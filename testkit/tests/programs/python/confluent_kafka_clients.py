"""The clients of the programs on confluent-kafka, which is librdkafka."""

from confluent_kafka import Consumer, KafkaException, Producer

import app


def clients(**producer):
    consumer = Consumer({
        "bootstrap.servers": app.BROKERS,
        "group.id": "app",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 200,
        "reconnect.backoff.max.ms": 500,
    })
    consumer.subscribe(["jobs"])
    names = {name.replace("_", "."): value for name, value in producer.items()}
    return consumer, Producer({
        "bootstrap.servers": app.BROKERS, "enable.idempotence": True, "reconnect.backoff.max.ms": 500, **names})


def batch(consumer):
    """The next records. An error ends the process: librdkafka does not get over each of those that it reports."""
    records = consumer.consume(app.BATCH_RECORDS, timeout=0.2)
    for message in records:
        if message.error():
            raise KafkaException(message.error())
    return records

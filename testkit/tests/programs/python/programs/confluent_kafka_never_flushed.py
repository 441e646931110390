"""Commits while the producer still gathers results: a crash takes those with it."""

from confluent_kafka import KafkaException

import app
from confluent_kafka_clients import batch, clients


def main():
    consumer, producer = clients(linger_ms=50)
    while not app.stopped.is_set():
        records = batch(consumer)
        for record in records:
            producer.produce("results", app.work(record.value()), record.key())
            producer.poll(0)
        if records:
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:
                app.log.warning("not committed: %s", error)
    consumer.close()


main()

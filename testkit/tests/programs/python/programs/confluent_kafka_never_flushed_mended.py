"""Gathers results, and flushes them before it commits."""

from confluent_kafka import KafkaException, TopicPartition

import app
from confluent_kafka_clients import batch, clients


def delivered(error, _):
    if error:
        raise KafkaException(error)


def main():
    consumer, producer = clients(linger_ms=50)
    while not app.stopped.is_set():
        records = batch(consumer)
        for record in records:
            result = app.work(record.value())
            producer.produce("results", result, record.key(), on_delivery=delivered)
        producer.flush()
        # Of two offsets of a partition the later one counts.
        ends = {record.partition(): record.offset() + 1 for record in records}
        if ends:
            try:
                consumer.commit(offsets=[TopicPartition("jobs", *end) for end in ends.items()],
                                asynchronous=False)
            except KafkaException as error:
                app.log.warning("not committed, so some jobs are done again: %s", error)
    consumer.close()


main()

"""Commits the next offset. A transaction that fails is aborted, and its records are read again."""

import signal

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

import app
from confluent_kafka_clients import batch, clients

# librdkafka may wait for ever for a coordinator that has gone, whatever limit its calls are given (its issues
# 5456 and 5511). SIGALRM ends the process then, and it is started again.
LIMIT_SECONDS = 5


def rewind(consumer):
    """Goes on where the group is."""
    for at in consumer.committed(consumer.assignment()):
        consumer.seek(TopicPartition(at.topic, at.partition, at.offset if at.offset >= 0 else OFFSET_BEGINNING))


def main():
    consumer, producer = clients(transactional_id=app.TRANSACTIONAL_ID)
    signal.alarm(LIMIT_SECONDS)
    producer.init_transactions()
    while not app.stopped.is_set():
        signal.alarm(LIMIT_SECONDS)
        records = batch(consumer)
        if not records:
            continue
        producer.begin_transaction()
        try:
            for record in records:
                producer.produce("results", app.work(record.value()), record.key())
            ends = {record.partition(): record.offset() + 1 for record in records}
            producer.send_offsets_to_transaction(
                [TopicPartition("jobs", *end) for end in ends.items()],
                consumer.consumer_group_metadata())
            producer.commit_transaction()
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            app.log.warning("aborted: %s", error)
            producer.abort_transaction()
            rewind(consumer)
    consumer.close()


main()

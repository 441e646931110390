"""Commits the offset of the last record instead of the next one: whoever goes on does it again."""

from confluent_kafka import TopicPartition

import app
from confluent_kafka_clients import batch, clients


def main():
    consumer, producer = clients(transactional_id=app.TRANSACTIONAL_ID)
    producer.init_transactions()
    while not app.stopped.is_set():
        records = batch(consumer)
        if not records:
            continue
        producer.begin_transaction()
        for record in records:
            producer.produce("results", app.work(record.value()), record.key())
        done = {record.partition(): record.offset() for record in records}
        producer.send_offsets_to_transaction(
            [TopicPartition("jobs", *last) for last in done.items()],
            consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


main()

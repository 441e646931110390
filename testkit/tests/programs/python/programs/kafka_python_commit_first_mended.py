"""Commits a batch when its results are acknowledged."""

from kafka.errors import CommitFailedError

import app
from kafka_python_clients import clients, next_offsets


def main():
    consumer, producer = clients()
    while not app.stopped.is_set():
        batch = consumer.poll(timeout_ms=200)
        if not batch:
            continue
        for records in batch.values():
            for record in records:
                result = app.work(record.value)
                producer.send("results", key=record.key, value=result).get()
        try:
            consumer.commit(next_offsets(batch))
        except CommitFailedError as error:
            app.log.warning("not committed, so some jobs are done again: %s", error)
    producer.close()
    consumer.close()


main()

"""Commits a batch before it does the work: what a crash interrupts is never done."""

from kafka.errors import CommitFailedError

import app
from kafka_python_clients import clients


def main():
    consumer, producer = clients()
    while not app.stopped.is_set():
        batch = consumer.poll(timeout_ms=200)
        if not batch:
            continue
        try:
            consumer.commit()
        except CommitFailedError as error:
            app.log.warning("not committed: %s", error)
        for records in batch.values():
            for record in records:
                result = app.work(record.value)
                producer.send("results", key=record.key, value=result).get()
    producer.close()
    consumer.close()


main()

"""Logs the error of a job and goes on with the next one: nobody comes back to it."""

from kafka.errors import CommitFailedError

import app
from kafka_python_clients import clients, next_offsets

JOB_LIMIT_SECONDS = 0.3


def main():
    consumer, producer = clients(retries=1, request_timeout_ms=300, delivery_timeout_ms=600)
    while not app.stopped.is_set():
        batch = consumer.poll(timeout_ms=200)
        for records in batch.values():
            for record in records:
                try:
                    result = app.work(record.value)
                    future = producer.send("results", key=record.key, value=result)
                    future.get(timeout=JOB_LIMIT_SECONDS)
                except Exception:
                    app.log.exception("job at %s/%s", record.partition, record.offset)
        if batch:
            try:
                consumer.commit(next_offsets(batch))
            except CommitFailedError as error:
                app.log.warning("not committed, so some jobs are done again: %s", error)
    producer.close()
    consumer.close()


main()

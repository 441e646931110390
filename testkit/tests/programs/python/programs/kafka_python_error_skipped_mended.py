"""Tries a job again until it is done, and only then goes on with the next one."""

from kafka.errors import CommitFailedError, KafkaError

import app
from kafka_python_clients import clients, next_offsets

JOB_LIMIT_SECONDS = 0.3
RETRY_WAIT_SECONDS = 0.02


def done(producer, record):
    try:
        result = app.work(record.value)
        future = producer.send("results", key=record.key, value=result)
        future.get(timeout=JOB_LIMIT_SECONDS)
        return True
    except (app.JobFailed, KafkaError) as error:
        app.log.warning("job at %s/%s is tried again: %s", record.partition, record.offset, error)
        return False


def main():
    consumer, producer = clients(retries=1, request_timeout_ms=300, delivery_timeout_ms=600)
    while not app.stopped.is_set():
        batch = consumer.poll(timeout_ms=200)
        for records in batch.values():
            for record in records:
                while not done(producer, record):
                    if app.stopped.wait(RETRY_WAIT_SECONDS):
                        return
        if batch:
            try:
                consumer.commit(next_offsets(batch))
            except CommitFailedError as error:
                app.log.warning("not committed, so some jobs are done again: %s", error)
    producer.close()
    consumer.close()


main()

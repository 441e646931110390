"""kafka-python as a user has it: produces one value, or prints the first one of a topic.

    client.py produce BOOTSTRAP TOPIC    the value comes from standard input; it has no key
    client.py consume BOOTSTRAP TOPIC    read_committed
"""

import sys

from kafka import KafkaConsumer, KafkaProducer

LIMIT_SECONDS = 180

verb, bootstrap, topic = sys.argv[1:]
if verb == "produce":
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, sys.stdin.buffer.read()).get(timeout=LIMIT_SECONDS)
    producer.close()
else:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=LIMIT_SECONDS * 1000,
    )
    sys.stdout.buffer.write(next(consumer).value)
    consumer.close()

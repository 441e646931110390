"""kafka-python: everything that it can ask of a broker (see scenario.py)."""

import sys
import threading
import time

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient

from scenario import (COMPRESSIONS, FIRST_TIMESTAMP_MS, LIMIT_SECONDS, PARTITIONS, equal, records,
                      refused, run, same_records)

COMMITTED = b"committed"


class KafkaPython:
    def __init__(self, bootstrap, prefix):
        self._bootstrap = bootstrap
        self._topic = f"{prefix}-records"
        self._transactional = f"{prefix}-transactions"
        self._group = f"{prefix}-group"
        self._partitions = [TopicPartition(self._topic, p) for p in range(PARTITIONS)]
        self._written = []
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def _producer(self, **settings):
        return KafkaProducer(bootstrap_servers=self._bootstrap, acks="all", linger_ms=5, **settings)

    def _consumer(self, *topics, **settings):
        return KafkaConsumer(*topics, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest",
                             enable_auto_commit=False, **settings)

    @staticmethod
    def _read(consumer, count):
        """That many records, and which they are."""
        found = []
        until = time.monotonic() + LIMIT_SECONDS
        while len(found) < count:
            if time.monotonic() > until:
                raise AssertionError(f"found {len(found)} records, expected {count}")
            for batch in consumer.poll(timeout_ms=200, max_records=count - len(found)).values():
                found += [(r.partition, r.offset, r.key, r.value, list(r.headers), r.timestamp)
                          for r in batch]
        return found

    def creates_topics(self):
        wanted = {"num_partitions": PARTITIONS, "replication_factor": 1}
        self._admin.create_topics({self._topic: wanted, self._transactional: wanted},
                                  wait_for_metadata=True)
        refused("TopicAlreadyExists", lambda: self._admin.create_topics({self._topic: wanted}),
                "a topic that exists")
        described = self._admin.describe_topics([self._topic])[0]
        equal(len(described["partitions"]), PARTITIONS, "partitions described")

    def produces_with_each_compression(self):
        for compression in COMPRESSIONS:
            chosen = None if compression == "none" else compression
            producer = self._producer(compression_type=chosen)
            sent = [(record, producer.send(self._topic, key=record[1], value=record[2],
                                           headers=record[3], partition=record[0],
                                           timestamp_ms=record[4])) for record in records(null_header=False)]
            for (partition, key, value, headers, timestamp), answer in sent:
                answer = answer.get(timeout=LIMIT_SECONDS)
                equal(answer.partition, partition, "partition")
                self._written.append((partition, answer.offset, key, value, headers, timestamp))
            producer.close()
        for partition in range(PARTITIONS):
            offsets = [record[1] for record in self._written if record[0] == partition]
            equal(offsets, list(range(len(offsets))), f"offsets of partition {partition}")

    def reads_in_a_group_commits_and_resumes(self):
        half = len(self._written) // 2
        first = self._consumer(self._topic, group_id=self._group)
        found = self._read(first, half)
        first.commit()
        first.close()
        second = self._consumer(self._topic, group_id=self._group)
        found += self._read(second, len(self._written) - half)
        same_records(found, self._written, "read in two sessions of a group")
        second.commit({p: OffsetAndMetadata(p.partition + 1, "noted", -1) for p in self._partitions})
        for partition in self._partitions:
            committed = second.committed(partition, metadata=True)
            equal((committed.offset, committed.metadata), (partition.partition + 1, "noted"), "commit")
        second.close()

    def shares_a_topic_in_a_group(self):
        members = [self._consumer(self._topic, group_id=f"{self._group}-shared") for _ in range(2)]
        assigned = [[], []]
        until = time.monotonic() + LIMIT_SECONDS

        def poll(index):
            while sorted(map(len, assigned)) != [1, 2] and time.monotonic() < until:
                members[index].poll(timeout_ms=200)
                assigned[index] = list(members[index].assignment())

        threads = [threading.Thread(target=poll, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(sorted(assigned[0] + assigned[1]), self._partitions, "partitions of both members")
        for member in members:
            member.close()

    def finds_offsets(self):
        consumer = self._consumer()
        count = len(self._written) // PARTITIONS
        equal(consumer.beginning_offsets(self._partitions), dict.fromkeys(self._partitions, 0), "begin")
        equal(consumer.end_offsets(self._partitions), dict.fromkeys(self._partitions, count), "end")
        at = {p: FIRST_TIMESTAMP_MS + p.partition + 30 for p in self._partitions}
        found = consumer.offsets_for_times(at)
        equal({p: (f.offset, f.timestamp) for p, f in found.items()},
              {p: (10, at[p]) for p in self._partitions}, "offsets by time")
        consumer.close()

    def commits_and_aborts_transactions(self):
        producer = self._producer(transactional_id=f"{self._transactional}-id")
        producer.init_transactions()
        source = TopicPartition(self._topic, 0)
        consumer = self._consumer(self._topic, group_id=f"{self._group}-transactions")
        self._read(consumer, 1)
        for offset, end in ((10, producer.commit_transaction), (20, producer.abort_transaction),
                            (30, producer.commit_transaction), (40, producer.abort_transaction)):
            producer.begin_transaction()
            value = COMMITTED if end == producer.commit_transaction else b"aborted"
            for partition in range(PARTITIONS):
                for _ in range(5):
                    producer.send(self._transactional, value, partition=partition)
            producer.send_offsets_to_transaction({source: OffsetAndMetadata(offset, "", -1)},
                                                 consumer.group_metadata())
            producer.flush()
            end()
        equal(consumer.committed(source), 30, "offset of the transactions")
        consumer.close()
        for isolation, count in (("read_committed", 30), ("read_uncommitted", 60)):
            reader = self._consumer(isolation_level=isolation)
            partitions = [TopicPartition(self._transactional, p) for p in range(PARTITIONS)]
            reader.assign(partitions)
            values = [record[3] for record in self._read(reader, count)]
            equal(values.count(COMMITTED), 30, f"{isolation}: committed records")
            equal(len(reader.poll(timeout_ms=500)), 0, f"{isolation}: records besides")
            reader.close()

    def fences_the_older_producer(self):
        older, newer = (self._producer(transactional_id=f"{self._transactional}-fenced")
                        for _ in range(2))
        older.init_transactions()
        newer.init_transactions()
        older.begin_transaction()
        def write():
            older.send(self._transactional, b"fenced", partition=0).get(timeout=LIMIT_SECONDS)
            older.commit_transaction()
        refused("Fenced", write, "a commit of the older producer")
        newer.close()

    def describes_groups(self):
        found = {group["group_id"] for group in self._admin.list_groups()}
        if self._group not in found:
            raise AssertionError(f"found the groups {found}, expected {self._group} among them")
        described = self._admin.describe_groups([self._group])[self._group]
        equal(described["group_state"], "Empty", "state")
        offsets = self._admin.list_group_offsets(self._group)[self._group]
        equal({p.partition: o.offset for p, o in offsets.items()}, {0: 1, 1: 2, 2: 3}, "offsets")
        self._admin.alter_group_offsets(self._group, {self._partitions[0]: OffsetAndMetadata(7, "", -1)})
        offsets = self._admin.list_group_offsets(self._group)[self._group]
        equal(offsets[self._partitions[0]].offset, 7, "altered offset")
        equal(self._admin.delete_groups([self._group]), {self._group: "OK"}, "group deleted")
        equal(self._admin.list_group_offsets(self._group)[self._group], {}, "offsets after that")

    def describes_and_alters_configurations(self):
        wanted = ConfigResource("TOPIC", self._topic, {"retention.ms": "86400000"})
        self._admin.alter_configs([wanted])
        described = self._admin.describe_configs([ConfigResource("TOPIC", self._topic)])
        equal(described["topic"][self._topic]["retention.ms"]["value"], "86400000", "retention.ms")
        self._admin.alter_configs([ConfigResource("TOPIC", self._topic, {"retention.ms": ("DELETE", None)})])

    def deletes_records_adds_partitions_and_deletes_topics(self):
        self._admin.delete_records({self._partitions[0]: 5})
        consumer = self._consumer()
        equal(consumer.beginning_offsets(self._partitions[:1]), {self._partitions[0]: 5}, "log start")
        consumer.close()
        self._admin.create_partitions({self._topic: PARTITIONS + 2})
        described = self._admin.describe_topics([self._topic])[0]
        equal(len(described["partitions"]), PARTITIONS + 2, "partitions after more were created")
        self._admin.delete_topics([self._topic, self._transactional])
        until = time.monotonic() + LIMIT_SECONDS
        while self._topic in self._admin.list_topics():
            if time.monotonic() > until:
                raise AssertionError(f"{self._topic} is still listed")


run(KafkaPython(*sys.argv[1:]))

"""confluent-kafka, which is librdkafka: everything that it can ask of a broker (see scenario.py)."""

import sys
import time

from confluent_kafka import (Consumer, ConsumerGroupTopicPartitions, IsolationLevel, Producer,
                             TopicCollection, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
                                   NewPartitions, NewTopic, OffsetSpec)

from scenario import (COMPRESSIONS, FIRST_TIMESTAMP_MS, LIMIT_SECONDS, PARTITIONS, equal, records,
                      refused, run, same_records)

COMMITTED = b"committed"


def of(futures):
    """The answers of an admin call, one for each thing that it was asked about."""
    return [future.result(timeout=LIMIT_SECONDS) for future in futures.values()]


class ConfluentKafka:
    def __init__(self, bootstrap, prefix):
        self._bootstrap = bootstrap
        self._topic = f"{prefix}-records"
        self._transactional = f"{prefix}-transactions"
        self._group = f"{prefix}-group"
        self._written = []
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def _producer(self, **settings):
        names = {name.replace("_", "."): value for name, value in settings.items()}
        return Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 5, **names})

    def _consumer(self, group, protocol="classic", **settings):
        names = {name.replace("_", "."): value for name, value in settings.items()}
        return Consumer({"bootstrap.servers": self._bootstrap, "group.id": group,
                         "group.protocol": protocol, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, **names})

    def _partitions(self, topic=None, offset=-1001):
        return [TopicPartition(topic or self._topic, p, offset) for p in range(PARTITIONS)]

    @staticmethod
    def _read(consumer, count):
        """That many records, and which they are."""
        found = []
        until = time.monotonic() + LIMIT_SECONDS
        while len(found) < count:
            if time.monotonic() > until:
                raise AssertionError(f"found {len(found)} records, expected {count}")
            for message in consumer.consume(count - len(found), timeout=0.2):
                if message.error():
                    raise AssertionError(message.error())
                found.append((message.partition(), message.offset(), message.key(), message.value(),
                              message.headers() or [], message.timestamp()[1]))
        return found

    def creates_topics(self):
        wanted = [NewTopic(name, PARTITIONS, 1) for name in (self._topic, self._transactional)]
        of(self._admin.create_topics(wanted))
        refused("TOPIC_ALREADY_EXISTS", lambda: of(self._admin.create_topics(wanted)),
                "a topic that exists")
        described = of(self._admin.describe_topics(TopicCollection([self._topic])))[0]
        equal(len(described.partitions), PARTITIONS, "partitions described")
        cluster = self._admin.describe_cluster().result(timeout=LIMIT_SECONDS)
        equal(cluster.controller.id in [node.id for node in cluster.nodes], True, "controller")

    def produces_with_each_compression(self):
        for compression in COMPRESSIONS:
            producer = self._producer(compression_type=compression, enable_idempotence=True)
            failed = []

            def delivered(error, message, record):
                if error:
                    failed.append(error)
                else:
                    self._written.append((message.partition(), message.offset(), *record[1:]))

            for record in records():
                partition, key, value, headers, timestamp = record
                producer.produce(self._topic, value, key, partition, timestamp=timestamp, headers=headers,
                                 on_delivery=lambda e, m, record=record: delivered(e, m, record))
            equal(producer.flush(LIMIT_SECONDS), 0, "records not acknowledged")
            equal(failed, [], "failed")
        for partition in range(PARTITIONS):
            offsets = [record[1] for record in self._written if record[0] == partition]
            equal(offsets, list(range(len(offsets))), f"offsets of partition {partition}")

    def _reads_in_a_group(self, protocol):
        group = f"{self._group}-{protocol}"
        half = len(self._written) // 2
        first = self._consumer(group, protocol)
        first.subscribe([self._topic])
        found = self._read(first, half)
        first.commit(asynchronous=False)
        first.close()
        second = self._consumer(group, protocol)
        second.subscribe([self._topic])
        found += self._read(second, len(self._written) - half)
        same_records(found, self._written, "read in two sessions of a group")
        noted = [TopicPartition(p.topic, p.partition, p.partition + 1, "noted") for p in self._partitions()]
        second.commit(offsets=noted, asynchronous=False)
        committed = second.committed(self._partitions(), timeout=LIMIT_SECONDS)
        equal([(c.offset, c.metadata) for c in committed], [(1, "noted"), (2, "noted"), (3, "noted")],
              "committed")
        second.close()

    def reads_in_a_classic_group_commits_and_resumes(self):
        self._reads_in_a_group("classic")

    def reads_in_a_group_of_kip_848_commits_and_resumes(self):
        self._reads_in_a_group("consumer")

    def _shares_a_topic(self, protocol, **settings):
        group = f"{self._group}-shared-{protocol}-{'-'.join(settings.values())}"
        members = [self._consumer(group, protocol, **settings) for _ in range(2)]
        for member in members:
            member.subscribe(["^" + self._topic])
        until = time.monotonic() + LIMIT_SECONDS
        while sorted(len(m.assignment()) for m in members) != [1, 2]:
            if time.monotonic() > until:
                raise AssertionError(f"assigned: {[m.assignment() for m in members]}")
            for member in members:
                member.poll(0.1)
        owned = sorted(p.partition for member in members for p in member.assignment())
        equal(owned, list(range(PARTITIONS)), "partitions of both members")
        members[0].close()
        until = time.monotonic() + LIMIT_SECONDS
        while len(members[1].assignment()) != PARTITIONS:
            if time.monotonic() > until:
                raise AssertionError(f"assigned after the other has left: {members[1].assignment()}")
            members[1].poll(0.1)
        members[1].close()

    def shares_a_topic_in_a_group(self):
        self._shares_a_topic("classic", partition_assignment_strategy="range")

    def shares_a_topic_in_a_cooperative_group(self):
        self._shares_a_topic("classic", partition_assignment_strategy="cooperative-sticky")

    def shares_a_topic_in_a_group_of_kip_848(self):
        self._shares_a_topic("consumer", group_remote_assignor="uniform")
        self._shares_a_topic("consumer", group_remote_assignor="range")

    def comes_back_as_a_static_member(self):
        group = f"{self._group}-static"
        for _ in range(2):
            member = self._consumer(group, group_instance_id="one")
            member.subscribe([self._topic])
            self._read(member, 1)
            member.close()
        described = of(self._admin.describe_consumer_groups([group]))[0]
        equal([m.group_instance_id for m in described.members], ["one"], "members after a close")

    def finds_offsets(self):
        count = len(self._written) // PARTITIONS
        consumer = self._consumer(self._group)
        for partition in self._partitions():
            equal(consumer.get_watermark_offsets(partition, LIMIT_SECONDS), (0, count), "watermarks")
        at = [TopicPartition(p.topic, p.partition, FIRST_TIMESTAMP_MS + p.partition + 30)
              for p in self._partitions()]
        found = consumer.offsets_for_times(at, timeout=LIMIT_SECONDS)
        equal([p.offset for p in found], [10] * PARTITIONS, "offsets by time")
        consumer.close()
        latest = {p: OffsetSpec.max_timestamp() for p in self._partitions()}
        highest = max(record[4] for record in records())
        equal(max(found.timestamp for found in of(self._admin.list_offsets(latest))), highest,
              "highest timestamp")

    def commits_and_aborts_transactions(self):
        producer = self._producer(transactional_id=f"{self._transactional}-id")
        producer.init_transactions(LIMIT_SECONDS)
        consumer = self._consumer(f"{self._group}-transactions")
        consumer.subscribe([self._topic])
        self._read(consumer, 1)
        source = TopicPartition(self._topic, 0)
        for offset, commits in ((10, True), (20, False), (30, True), (40, False)):
            producer.begin_transaction()
            for partition in range(PARTITIONS):
                for _ in range(5):
                    producer.produce(self._transactional, COMMITTED if commits else b"aborted",
                                     partition=partition)
            equal(producer.flush(LIMIT_SECONDS), 0, "records not acknowledged")
            producer.send_offsets_to_transaction([TopicPartition(self._topic, 0, offset)],
                                                 consumer.consumer_group_metadata(), LIMIT_SECONDS)
            if commits:
                producer.commit_transaction(LIMIT_SECONDS)
            else:
                producer.abort_transaction(LIMIT_SECONDS)
        equal(consumer.committed([source], timeout=LIMIT_SECONDS)[0].offset, 30, "offset committed")
        consumer.close()
        for isolation, count in (("read_committed", 30), ("read_uncommitted", 60)):
            reader = self._consumer(self._group, isolation_level=isolation)
            reader.assign(self._partitions(self._transactional, 0))
            values = [record[3] for record in self._read(reader, count)]
            equal(values.count(COMMITTED), 30, f"{isolation}: committed records")
            equal(reader.poll(0.5), None, f"{isolation}: a record besides")
            reader.close()

    def sees_the_end_of_what_is_committed(self):
        producer = self._producer(transactional_id=f"{self._transactional}-open")
        producer.init_transactions(LIMIT_SECONDS)
        producer.begin_transaction()
        producer.produce(self._transactional, b"open", partition=0)
        producer.flush(LIMIT_SECONDS)
        partition = TopicPartition(self._transactional, 0)
        def end(isolation):
            asked = self._admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=isolation)
            return of(asked)[0].offset
        high, stable = end(IsolationLevel.READ_UNCOMMITTED), end(IsolationLevel.READ_COMMITTED)
        equal(high - stable, 1, "records of the open transaction")
        producer.commit_transaction(LIMIT_SECONDS)
        # A commit is answered before its markers are written.
        until = time.monotonic() + LIMIT_SECONDS
        while (found := end(IsolationLevel.READ_COMMITTED)) != high + 1:
            if time.monotonic() > until:
                raise AssertionError(f"end after its marker: found {found}, expected {high + 1}")

    def fences_the_older_producer(self):
        older, newer = (self._producer(transactional_id=f"{self._transactional}-fenced")
                        for _ in range(2))
        older.init_transactions(LIMIT_SECONDS)
        newer.init_transactions(LIMIT_SECONDS)
        older.begin_transaction()
        older.produce(self._transactional, b"fenced", partition=0)
        refused("_FENCED", lambda: older.commit_transaction(LIMIT_SECONDS),
                "a commit of the older producer")

    def describes_groups(self):
        group = f"{self._group}-classic"
        listed = self._admin.list_consumer_groups().result(timeout=LIMIT_SECONDS)
        types = {found.group_id: found.type.name for found in listed.valid}
        equal(types.get(group), "CLASSIC", "type of the classic group")
        equal(types.get(f"{self._group}-consumer"), "CONSUMER", "type of the other group")
        described = of(self._admin.describe_consumer_groups([group]))[0]
        equal(described.state.name, "EMPTY", "state")
        asked = [ConsumerGroupTopicPartitions(group)]
        offsets = of(self._admin.list_consumer_group_offsets(asked))[0].topic_partitions
        equal({p.partition: p.offset for p in offsets}, {0: 1, 1: 2, 2: 3}, "offsets")
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(self._topic, 0, 7)])
        of(self._admin.alter_consumer_group_offsets([wanted]))
        offsets = of(self._admin.list_consumer_group_offsets(asked))[0].topic_partitions
        equal({p.partition: p.offset for p in offsets}[0], 7, "altered offset")
        of(self._admin.delete_consumer_groups([group, f"{self._group}-consumer"]))
        refused("GROUP_ID_NOT_FOUND", lambda: of(self._admin.delete_consumer_groups([group])),
                "a group that is not there")

    def describes_and_alters_configurations(self):
        change = ConfigEntry("retention.ms", "86400000", incremental_operation=AlterConfigOpType.SET)
        wanted = ConfigResource("topic", self._topic, incremental_configs=[change])
        of(self._admin.incremental_alter_configs([wanted]))
        described = of(self._admin.describe_configs([ConfigResource("topic", self._topic)]))[0]
        equal(described["retention.ms"].value, "86400000", "retention.ms")
        equal(described["cleanup.policy"].value, "delete", "cleanup.policy")

    def deletes_records_adds_partitions_and_deletes_topics(self):
        deleted = of(self._admin.delete_records([TopicPartition(self._topic, 0, 5)]))[0]
        equal(deleted.low_watermark, 5, "log start")
        of(self._admin.create_partitions([NewPartitions(self._topic, PARTITIONS + 2)]))
        described = of(self._admin.describe_topics(TopicCollection([self._topic])))[0]
        equal(len(described.partitions), PARTITIONS + 2, "partitions after more were created")
        of(self._admin.delete_topics([self._topic, self._transactional]))
        until = time.monotonic() + LIMIT_SECONDS
        while self._topic in self._admin.list_topics(timeout=LIMIT_SECONDS).topics:
            if time.monotonic() > until:
                raise AssertionError(f"{self._topic} is still listed")


run(ConfluentKafka(*sys.argv[1:]))

"""Kafka's own programs, from its jars (see scenario.py).

    kafka_tools.py BOOTSTRAP PREFIX    CLASSPATH names the jars
"""

import json
import re
import subprocess
import sys

from scenario import PARTITIONS, equal, refused, run

LIMIT_SECONDS = 90
TOOLS = "org.apache.kafka.tools."


class KafkaTools:
    def __init__(self, bootstrap, prefix):
        self._bootstrap = bootstrap
        self._topic = f"{prefix}-records"
        self._load = f"{prefix}-load"
        self._group = f"{prefix}-group"
        self._lines = [f"key-{n}\tvalue {n}" for n in range(100)]

    @staticmethod
    def _java(main, *arguments, given=""):
        """What the program prints; it fails as the program does."""
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", main,
                   *map(str, arguments)]
        ended = subprocess.run(command, input=given, capture_output=True, text=True,
                               timeout=LIMIT_SECONDS)
        if ended.returncode != 0:
            said = (ended.stdout + ended.stderr)[-600:]
            raise AssertionError(f"{main} ended with {ended.returncode}: ...{said}")
        return ended.stdout

    def _tool(self, name, *arguments, given=""):
        return self._java(TOOLS + name, "--bootstrap-server", self._bootstrap, *arguments, given=given)

    def _topics(self, *arguments):
        return self._tool("TopicCommand", *arguments)

    def _groups(self, *arguments):
        return self._tool("consumer.group.ConsumerGroupCommand", *arguments)

    def _console_consumer(self, *arguments):
        printed = self._tool("consumer.ConsoleConsumer", "--topic", self._topic, *arguments)
        return printed.splitlines()

    def topics_are_created_and_described(self):
        for topic in (self._topic, self._load):
            self._topics("--create", "--topic", topic, "--partitions", PARTITIONS,
                         "--replication-factor", 1, "--config", "retention.ms=86400000")
        refused("already exists", lambda: self._topics("--create", "--topic", self._topic),
                "a topic that exists")
        described = self._topics("--describe", "--topic", self._topic)
        for expected in (f"PartitionCount: {PARTITIONS}", "retention.ms=86400000", "Leader: "):
            equal(expected in described, True, f"{expected!r} in {described}")

    def console_producer_writes_and_console_consumer_reads(self):
        self._tool("ConsoleProducer", "--topic", self._topic, "--property", "parse.key=true",
                   "--compression-codec", "zstd", given="\n".join(self._lines) + "\n")
        found = self._console_consumer("--from-beginning", "--max-messages", 100, "--timeout-ms", 30000,
                                       "--property", "print.key=true", "--group", self._group)
        equal(sorted(found), sorted(self._lines), "lines")
        equal(self._console_consumer("--group", self._group, "--timeout-ms", 3000), [], "lines again")

    def consumer_groups_are_described_reset_and_deleted(self):
        def offsets():
            described = self._groups("--describe", "--group", self._group)
            rows = re.findall(rf"{self._topic}\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", described)
            equal(len(rows), PARTITIONS, f"partitions in {described}")
            return [(int(current), int(end), int(lag)) for _, current, end, lag in rows]

        equal(self._group in self._groups("--list").split(), True, "the group is listed")
        equal(sum(current for current, _, _ in offsets()), 100, "committed")
        self._groups("--reset-offsets", "--to-earliest", "--execute", "--topic", self._topic,
                     "--group", self._group)
        equal([(current, lag) for current, _, lag in offsets()], [(0, end) for _, end, _ in offsets()],
              "offsets and lags after the reset")
        state = self._groups("--describe", "--state", "--group", self._group)
        equal("Empty" in state, True, f"Empty in {state}")
        self._groups("--delete", "--group", self._group)
        equal(self._group in self._groups("--list").split(), False, "the group is listed")

    def configurations_are_altered_within_limits_and_described(self):
        def configs(*arguments):
            return self._java("kafka.admin.ConfigCommand", "--bootstrap-server", self._bootstrap, *arguments)

        group = ("--entity-type", "groups", "--entity-name", self._group, "--alter", "--add-config")
        configs(*group, "consumer.session.timeout.ms=50000")
        refused("must be less than or equal to", lambda: configs(*group, "consumer.session.timeout.ms=900000000"),
                "a session that is too long")
        described = configs("--entity-type", "groups", "--describe")
        equal(f"group {self._group}" in described and "timeout.ms=50000" in described, True, described)
        broker = ("--entity-type", "brokers", "--entity-name", "1", "--alter", "--add-config")
        configs(*broker, "log.cleaner.threads=2")
        refused("Cannot update these configs dynamically: Set(num.partitions)",
                lambda: configs(*broker, "num.partitions=2"), "a static entry")

    def producer_perf_test_writes_batches_and_transactions(self):
        for more in (["--print-metrics"], ["--transactional-id", self._load]):
            report = self._java(TOOLS + "ProducerPerformance", "--topic", self._load, "--num-records", 10000,
                                "--record-size", 400, "--throughput", -1, *more, "--producer-props",
                                "acks=all", f"bootstrap.servers={self._bootstrap}")
            equal("10000 records sent" in report, True, f"10000 records sent in {report}")

    def verifiable_producer_is_acknowledged(self):
        lines = self._tool("VerifiableProducer", "--topic", self._load, "--max-messages", 1000,
                           "--acks", -1).splitlines()
        summary = next(line for line in map(json.loads, lines) if line["name"] == "tool_data")
        equal((summary["sent"], summary["acked"]), (1000, 1000), "sent and acknowledged")

    def offsets_are_what_was_written(self):
        printed = self._tool("GetOffsetShell", "--topic", self._topic)
        equal(sum(int(line.split(":")[2]) for line in printed.split()), 100, "ends of the partitions")

    def topics_are_altered_and_deleted(self):
        self._topics("--alter", "--topic", self._topic, "--partitions", PARTITIONS + 2)
        described = self._topics("--describe", "--topic", self._topic)
        equal(f"PartitionCount: {PARTITIONS + 2}" in described, True, described)
        for topic in (self._topic, self._load):
            self._topics("--delete", "--topic", topic)
        equal({self._topic, self._load} & set(self._topics("--list").split()), set(), "topics left")


run(KafkaTools(*sys.argv[1:]))

"""The examples of docs/broker.md, as they stand there, against a broker.

    documented.py BOOTSTRAP PREFIX    topics and groups begin with PREFIX

Each example writes a record with the value "v", or finds one, and prints it. Address, topic and group of
the page are replaced, and what a language wants around statements is added; nothing else.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "broker.md"
GO = ROOT / "testkit" / "tests" / "clients" / "franz_go"
LIMIT_SECONDS = 120
TOOLS = {
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}


def peer(name):
    return subprocess.run([ROOT / "scripts" / "peers", name], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def example(language):
    """The block of code below the page's heading of this name."""
    section = re.search(rf"^## {language}\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return re.search(r"^```\w+\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)[1]


def python(code, folder):
    (folder / "example.py").write_text(code)
    return [sys.executable, "example.py"], {}


def go(code, folder):
    for name in ("go.mod", "go.sum"):
        (folder / name).write_text((GO / name).read_text())
    (folder / "main.go").write_text(
        'package main\n\nimport (\n"context"\n"fmt"\n"log"\n"github.com/twmb/franz-go/pkg/kgo"\n)\n\n'
        f"func main() {{\nctx := context.Background()\n{code}}}\n")
    return ["go", "run", "."], {}


def java(code, folder):
    packages = ("java.time.Duration", "java.util.List", "java.util.Properties",
                "org.apache.kafka.clients.consumer.KafkaConsumer",
                "org.apache.kafka.common.serialization.StringDeserializer")
    imports = "".join(f"import {package};\n" for package in packages)
    (folder / "Example.java").write_text(
        f"{imports}class Example {{\npublic static void main(String[] none) {{\n{code}}}\n}}\n")
    return ["java", "-XX:TieredStopAtLevel=1", "Example.java"], {"CLASSPATH": peer("java")}


def node(code, folder):
    (folder / "example.js").write_text(f"(async () => {{\n{code}}})();\n")
    return ["node", "example.js"], {"NODE_PATH": peer("node"), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}


def console(code, folder):
    for name, main in TOOLS.items():
        tool = folder / name
        tool.write_text(f'#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 {main} "$@"\n')
        tool.chmod(0o755)
    (folder / "example.sh").write_text(f"set -e\n{code}")
    environment = {"CLASSPATH": peer("java"), "PATH": f"{folder}:{os.environ['PATH']}"}
    return ["bash", "example.sh"], environment


# KafkaJS reads until it is ended.
EXAMPLES = {"Python": (python, True), "Go": (go, True), "Java": (java, True), "Node": (node, False),
            "Console": (console, True)}


def check(language, bootstrap, prefix):
    """Says what went wrong, if anything."""
    wrap, ends = EXAMPLES[language]
    topic, group = f"{prefix}-{language}", f"{prefix}-{language}-workers"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(topic, 1)]).values():
        created.result()
    code = example(language).replace("127.0.0.1:9092", bootstrap)
    code = re.sub(r"\bjobs\b", topic, re.sub(r"\bworkers\b", group, code))
    if language == "Java":
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce(topic, key="k", value="v")
        producer.flush()
    with tempfile.TemporaryDirectory() as name:
        command, environment = wrap(code, pathlib.Path(name))
        process = subprocess.Popen(command, cwd=name, env={**os.environ, **environment}, text=True,
                                   stdout=subprocess.PIPE, start_new_session=True)

        def kill():
            # What it has started, too: that would hold the pipe open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        limit = threading.Timer(LIMIT_SECONDS, kill)
        limit.start()
        printed = []
        for line in process.stdout:
            printed.append(line.strip())
            if not ends and printed[-1] == "v":
                kill()
        status = process.wait()
        limit.cancel()
    if not {"v", "b'v'"} & set(printed):
        return f"printed {printed}, expected the value v"
    return f"ended with {status}" if ends and status != 0 else None


def main():
    bootstrap, prefix = sys.argv[1:]
    failed = 0
    for language in EXAMPLES:
        wrong = check(language, bootstrap, prefix)
        failed += wrong is not None
        print(f"ok      {language}" if wrong is None else f"FAILED  {language}: {wrong}", flush=True)
    sys.exit(1 if failed else 0)


main()

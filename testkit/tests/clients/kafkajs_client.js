// KafkaJS: everything that it can ask of a broker.
//
//     node kafkajs_client.js BOOTSTRAP PREFIX    topics, groups and transactional ids begin with PREFIX
//
// Every step prints a line. A step that fails does not end the scenario; the program then ends with 1.
// NODE_PATH names the folder with kafkajs.

const assert = require("node:assert/strict");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const LIMIT_MS = 30_000;
const PARTITIONS = 3;
const FIRST_TIMESTAMP_MS = 1_700_000_000_000;
const COMPRESSIONS = [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy];

const [bootstrap, prefix] = process.argv.slice(2);
const topic = `${prefix}-records`;
const transactional = `${prefix}-transactions`;
const group = `${prefix}-group`;
const kafka = new Kafka({ brokers: bootstrap.split(","), clientId: prefix, logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const written = [];

const text = (bytes) => (bytes === null || bytes === undefined ? null : bytes.toString("latin1"));
const inOrder = (records) => records.toSorted((a, b) => a.partition - b.partition);

function records() {
  return Array.from({ length: 40 * PARTITIONS }, (_, number) => ({
    partition: number % PARTITIONS,
    key: number % 7 === 0 ? null : `key-${number}`,
    value: number % 11 === 0 ? null : `value ${number} `.repeat(20),
    headers: number % 4 === 0 ? {} : { number: String(number), twice: ["a", "\x00\x7f"], empty: "" },
    timestamp: String(FIRST_TIMESTAMP_MS + number),
  }));
}

// So many records by a member of a group, which commits them and leaves.
async function read(count, { groupId, from = topic, readUncommitted = false }) {
  const consumer = kafka.consumer({ groupId, readUncommitted, sessionTimeout: 10_000 });
  const found = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic: from, fromBeginning: true });
    await within(`read ${count} records from ${from}, found`, () => found.length, (enough) =>
      consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => {
          if (found.length === count) return;
          const headers = Object.entries(message.headers ?? {});
          found.push({
            partition,
            offset: message.offset,
            key: text(message.key),
            value: text(message.value),
            headers: Object.fromEntries(headers.map(([k, v]) => [k, Array.isArray(v) ? v.map(text) : text(v)])),
            timestamp: message.timestamp,
          });
          await consumer.commitOffsets([{ topic: from, partition, offset: String(Number(message.offset) + 1) }]);
          if (found.length === count) enough();
        },
      }));
  } finally {
    await consumer.disconnect();
  }
  return found;
}

// Waits until `begin` has called its argument.
async function within(what, state, begin) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} ${state()}`)), LIMIT_MS);
  });
  const done = new Promise((resolve, reject) => {
    begin(resolve).catch(reject);
  });
  await Promise.race([done, late]).finally(() => clearTimeout(timer));
}

async function createsTopics() {
  const topics = [topic, transactional].map((name) => ({ topic: name, numPartitions: PARTITIONS, replicationFactor: 1 }));
  assert.equal(await admin.createTopics({ topics, waitForLeaders: true }), true);
  assert.equal(await admin.createTopics({ topics: topics.slice(0, 1) }), false, "a topic that exists");
  const { topics: described } = await admin.fetchTopicMetadata({ topics: [topic] });
  assert.equal(described[0].partitions.length, PARTITIONS);
}

async function produces() {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (const compression of COMPRESSIONS) {
    const messages = records();
    const answers = await producer.send({ topic, messages, compression });
    for (const { partition, baseOffset } of answers) {
      const own = messages.filter((message) => message.partition === partition);
      own.forEach((message, index) => written.push({ ...message, offset: String(Number(baseOffset) + index) }));
    }
  }
  await producer.disconnect();
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const offsets = written.filter((one) => one.partition === partition).map((one) => one.offset);
    assert.deepEqual(offsets, offsets.map((_, index) => String(index)), `offsets of partition ${partition}`);
  }
}

async function readsInAGroup() {
  const half = Math.floor(written.length / 2);
  const found = await read(half, { groupId: group });
  found.push(...await read(written.length - half, { groupId: group }));
  assert.deepEqual(inOrder(found), inOrder(written));
}

async function sharesATopic() {
  const members = [0, 1].map(() => kafka.consumer({ groupId: `${group}-shared`, heartbeatInterval: 500 }));
  const owned = [[], []];
  try {
    await within("members own", () => JSON.stringify(owned), async (enough) => {
      for (const [index, member] of members.entries()) {
        member.on(member.events.GROUP_JOIN, ({ payload }) => {
          owned[index] = payload.memberAssignment[topic] ?? [];
          if (owned.every((one) => one.length > 0) && owned.flat().length === PARTITIONS) enough();
        });
        await member.connect();
        await member.subscribe({ topic });
        await member.run({ eachMessage: async () => {} });
      }
    });
    assert.deepEqual(owned.flat().toSorted(), [0, 1, 2]);
  } finally {
    await Promise.all(members.map((member) => member.disconnect()));
  }
}

async function findsOffsets() {
  const count = String(written.length / PARTITIONS);
  for (const found of await admin.fetchTopicOffsets(topic)) {
    assert.deepEqual([found.low, found.high], ["0", count]);
  }
  for (const found of await admin.fetchTopicOffsetsByTimestamp(topic, FIRST_TIMESTAMP_MS + 30)) {
    assert.equal(found.offset, "10");
  }
}

async function transactions() {
  const producer = kafka.producer({ transactionalId: `${transactional}-id`, idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const groupId = `${group}-transactions`;
  for (const [offset, commits] of [[10, true], [20, false], [30, true], [40, false]]) {
    const transaction = await producer.transaction();
    const messages = records().map(({ partition }) => ({ partition, value: String(commits) }));
    await transaction.send({ topic: transactional, messages });
    const topics = [{ topic, partitions: [{ partition: 0, offset: String(offset) }] }];
    await transaction.sendOffsets({ consumerGroupId: groupId, topics });
    await (commits ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
  assert.equal(partitions.find(({ partition }) => partition === 0).offset, "30");
  const half = 2 * records().length;
  for (const [readUncommitted, count] of [[false, half], [true, 2 * half]]) {
    const found = await read(count, { groupId: `${group}-${readUncommitted}`, from: transactional, readUncommitted });
    assert.equal(found.filter(({ value }) => value === "true").length, half, "committed records");
  }
}

async function describesGroups() {
  const { groups } = await admin.listGroups();
  assert.ok(groups.some(({ groupId }) => groupId === group), `no ${group} in ${JSON.stringify(groups)}`);
  const described = await admin.describeGroups([group]);
  assert.equal(described.groups[0].state, "Empty");
  await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: "7" }] });
  const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  assert.equal(partitions.find(({ partition }) => partition === 0).offset, "7");
  assert.equal((await admin.deleteGroups([group]))[0].errorCode ?? 0, 0);
  await assert.rejects(admin.deleteGroups([group]), "a group that is not there");
}

async function configurations() {
  const type = 2; // a topic
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ type, name: topic, configEntries: [{ name: "retention.ms", value: "86400000" }] }],
  });
  const { resources } = await admin.describeConfigs({ resources: [{ type, name: topic, configNames: ["retention.ms"] }] });
  assert.equal(resources[0].configEntries[0].configValue, "86400000");
}

async function altersTopics() {
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "5" }] });
  const offsets = await admin.fetchTopicOffsets(topic);
  assert.equal(offsets.find(({ partition }) => partition === 0).low, "5");
  await admin.createPartitions({ topicPartitions: [{ topic, count: PARTITIONS + 2 }] });
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  assert.equal(topics[0].partitions.length, PARTITIONS + 2);
  await admin.deleteTopics({ topics: [topic, transactional] });
  assert.ok(!(await admin.listTopics()).includes(topic), "the topic is still listed");
}

async function main() {
  await admin.connect();
  const steps = [createsTopics, produces, readsInAGroup, sharesATopic, findsOffsets, transactions,
    describesGroups, configurations, altersTopics];
  for (const step of steps) {
    try {
      await step();
      console.log(`ok      ${step.name}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAILED  ${step.name}: ${error.message.split("\n").slice(0, 12).join(" ")}`);
    }
  }
  await admin.disconnect();
}

main();

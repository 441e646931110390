// What the programs share: their clients, their work, and how they end.

const { setTimeout: sleep } = require("node:timers/promises");
const { Kafka, logLevel } = require("kafkajs");

const failed = new Set();

// Does one job and returns its result.
async function work(value) {
  const job = JSON.parse(value);
  await sleep(job.takes_ms ?? 0);
  if (job.fail === "once" && !failed.has(job.id)) {
    failed.add(job.id);
    throw new Error(`job ${job.id} fails once`);
  }
  return JSON.stringify({ id: job.id, text: job.text.toUpperCase() });
}

// Connects, runs until SIGTERM, and ends with code 1 where the consumer can't go on.
async function main(settings, run) {
  const kafka = new Kafka({
    brokers: process.env.KAFKA_BROKERS.split(","),
    logLevel: logLevel.WARN,
    requestTimeout: 1000,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 10 },
    ...settings.kafka,
  });
  const producer = kafka.producer(settings.producer);
  const consumer = kafka.consumer({ groupId: "app", sessionTimeout: 6000, heartbeatInterval: 200, maxWaitTimeInMs: 100 });
  consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || process.exit(1));
  process.on("SIGTERM", async () => {
    await consumer.disconnect();
    await producer.disconnect();
    process.exit(0);
  });
  await producer.connect();
  await consumer.connect();
  await consumer.subscribe({ topics: ["jobs"], fromBeginning: true });
  await run(consumer, producer);
}

module.exports = {
  work,
  main: (settings, run) => main(settings, run).catch((error) => {
    console.error(error);
    process.exit(1);
  }),
};

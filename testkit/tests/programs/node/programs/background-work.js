// Forgets to wait for the work: a message whose handler has returned counts as done and is committed.

const { main, work } = require("../app");

// The work of each key, one after the other.
const queues = new Map();

async function handle(producer, message) {
  const value = await work(message.value);
  await producer.send({ topic: "results", messages: [{ key: message.key, value }] });
}

main({}, (consumer, producer) =>
  consumer.run({
    autoCommitInterval: 100,
    eachMessage: async ({ message }) => {
      const key = String(message.key);
      const before = queues.get(key) ?? Promise.resolve();
      queues.set(key, before.then(() => handle(producer, message)));
    },
  }));

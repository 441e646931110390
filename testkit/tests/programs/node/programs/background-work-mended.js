// Waits for the work, so that what is committed is done.

const { main, work } = require("../app");

async function handle(producer, message) {
  const value = await work(message.value);
  await producer.send({ topic: "results", messages: [{ key: message.key, value }] });
}

main({}, (consumer, producer) =>
  consumer.run({
    autoCommitInterval: 100,
    eachMessage: async ({ message }) => {
      await handle(producer, message);
    },
  }));

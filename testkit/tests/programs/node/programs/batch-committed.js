// Leaves a batch at its first failure. The handler returns as ever, so all of the batch counts as done.

const { main, work } = require("../app");

main({ producer: { retry: { retries: 1 } } }, (consumer, producer) =>
  consumer.run({
    eachBatch: async ({ batch, heartbeat }) => {
      try {
        for (const message of batch.messages) {
          const value = await work(message.value);
          await producer.send({ topic: "results", messages: [{ key: message.key, value }] });
          await heartbeat();
        }
      } catch (error) {
        console.error(`batch of partition ${batch.partition}:`, error.message);
      }
    },
  }));

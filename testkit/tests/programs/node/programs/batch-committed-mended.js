// Resolves each message when it is done. A failure leaves the handler, and what is not resolved comes again.

const { main, work } = require("../app");

main({ producer: { retry: { retries: 1 } } }, (consumer, producer) =>
  consumer.run({
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, heartbeat, isRunning, isStale, resolveOffset }) => {
      for (const message of batch.messages) {
        if (!isRunning() || isStale()) return;
        const value = await work(message.value);
        await producer.send({ topic: "results", messages: [{ key: message.key, value }] });
        resolveOffset(message.offset);
        await heartbeat();
      }
    },
  }));

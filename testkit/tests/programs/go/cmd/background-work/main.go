// Hands its records to workers and lets the client commit on an interval: what was polled counts as
// done, whether a worker has done it or not.
package main

import (
	"context"
	"hash/fnv"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

const workers = 4

func main() { app.Main(run) }

func run(ctx context.Context) error {
	client, err := kgo.NewClient(app.Options(kgo.AutoCommitInterval(100 * time.Millisecond))...)
	if err != nil {
		return err
	}
	defer client.Close()
	var queues [workers]chan *kgo.Record
	for index := range queues {
		queues[index] = make(chan *kgo.Record, 100)
		go work(ctx, client, queues[index])
	}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		app.LogErrors(fetches)
		for record := range fetches.RecordsAll() {
			hash := fnv.New32a()
			hash.Write(record.Key)
			queues[hash.Sum32()%workers] <- record
		}
	}
}

func work(ctx context.Context, client *kgo.Client, queue <-chan *kgo.Record) {
	for record := range queue {
		result, err := app.Work(record)
		if err != nil {
			log.Fatal(err)
		}
		if err := client.ProduceSync(ctx, result).FirstErr(); err != nil && ctx.Err() == nil {
			log.Fatal(err)
		}
	}
}

// Hands its records to a worker for each partition. A worker marks what it has done, in order, and the
// client commits on an interval what is marked.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

func run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	client, err := kgo.NewClient(app.Options(
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(100*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer client.Close()
	queues := map[int32]chan *kgo.Record{}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		app.LogErrors(fetches)
		for record := range fetches.RecordsAll() {
			queue, ok := queues[record.Partition]
			if !ok {
				queue = make(chan *kgo.Record, 100)
				queues[record.Partition] = queue
				go func() { fail(work(ctx, client, queue)) }()
			}
			select {
			case queue <- record:
			case <-ctx.Done():
			}
		}
	}
}

func work(ctx context.Context, client *kgo.Client, queue <-chan *kgo.Record) error {
	for record := range queue {
		result, err := app.Work(record)
		if err != nil {
			return err
		}
		if err := client.ProduceSync(ctx, result).FirstErr(); err != nil {
			return err
		}
		client.MarkCommitRecords(record)
	}
	return errors.New("the queue has ended")
}

// Leaves a batch at its first failure and commits all of it: the rest of the batch is never done.
package main

import (
	"context"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

const batchLimit = 300 * time.Millisecond

func main() { app.Main(run) }

func run(ctx context.Context) error {
	client, err := kgo.NewClient(app.Options(
		kgo.DisableAutoCommit(), kgo.AllowIdempotentProduceCancellation())...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, app.BatchRecords)
		if ctx.Err() != nil {
			return nil
		}
		app.LogErrors(fetches)
		if err := handle(ctx, client, fetches.Records()); err != nil {
			log.Printf("batch: %v", err)
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			log.Printf("not committed, so some jobs are done again: %v", err)
		}
	}
}

func handle(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, batchLimit)
	defer cancel()
	for _, record := range records {
		result, err := app.Work(record)
		if err != nil {
			return err
		}
		if err := client.ProduceSync(ctx, result).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// Commits as much of a batch as was done, and tries the rest again.
package main

import (
	"context"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

const (
	batchLimit = 300 * time.Millisecond
	retryWait  = 20 * time.Millisecond
)

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
		for rest := fetches.Records(); len(rest) > 0; {
			done, err := handle(ctx, client, rest)
			if failure := client.CommitRecords(ctx, rest[:done]...); failure != nil {
				log.Printf("not committed, so some jobs are done again: %v", failure)
			}
			rest = rest[done:]
			if err == nil {
				continue
			}
			log.Printf("the rest of the batch is tried again: %v", err)
			select {
			case <-time.After(retryWait):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// Returns how many of the records are done.
func handle(ctx context.Context, client *kgo.Client, records []*kgo.Record) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, batchLimit)
	defer cancel()
	for index, record := range records {
		result, err := app.Work(record)
		if err != nil {
			return index, err
		}
		if err := client.ProduceSync(ctx, result).FirstErr(); err != nil {
			return index, err
		}
	}
	return len(records), nil
}

// Gathers results, and flushes them before it commits.
package main

import (
	"context"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

func run(ctx context.Context) error {
	client, err := kgo.NewClient(app.Options(
		kgo.DisableAutoCommit(), kgo.ProducerLinger(50*time.Millisecond))...)
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
		records := fetches.Records()
		var produced kgo.FirstErrPromise
		for _, record := range records {
			result, err := app.Work(record)
			if err != nil {
				return err
			}
			client.Produce(ctx, result, produced.Promise())
		}
		if err := client.Flush(ctx); err != nil {
			return err
		}
		if err := produced.Err(); err != nil {
			return err
		}
		if err := client.CommitRecords(ctx, records...); err != nil {
			log.Printf("not committed, so some jobs are done again: %v", err)
		}
	}
}

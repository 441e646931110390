// Commits a batch when its results are acknowledged.
package main

import (
	"context"
	"log"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

func run(ctx context.Context) error {
	client, err := kgo.NewClient(app.Options(kgo.DisableAutoCommit())...)
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
		for _, record := range records {
			result, err := app.Work(record)
			if err != nil {
				return err
			}
			if err := client.ProduceSync(ctx, result).FirstErr(); err != nil {
				return err
			}
		}
		// The records of this batch alone: a rebalance may have come meanwhile.
		if err := client.CommitRecords(ctx, records...); err != nil {
			log.Printf("not committed, so some jobs are done again: %v", err)
		}
	}
}

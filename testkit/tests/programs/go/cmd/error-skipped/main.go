// Logs the error of a job and goes on with the next one: nobody comes back to it.
package main

import (
	"context"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

const jobLimit = 300 * time.Millisecond

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
		records := fetches.Records()
		for _, record := range records {
			if err := handle(ctx, client, record); err != nil {
				log.Printf("skipped: %v", err)
			}
		}
		if err := client.CommitRecords(ctx, records...); err != nil {
			log.Printf("not committed, so some jobs are done again: %v", err)
		}
	}
}

func handle(ctx context.Context, client *kgo.Client, record *kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	result, err := app.Work(record)
	if err != nil {
		return err
	}
	return client.ProduceSync(ctx, result).FirstErr()
}

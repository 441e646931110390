// Commits while the producer still gathers results: a crash takes those with it.
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
		for record := range fetches.RecordsAll() {
			result, err := app.Work(record)
			if err != nil {
				return err
			}
			client.Produce(ctx, result, func(_ *kgo.Record, err error) {
				if err != nil {
					log.Print(err)
				}
			})
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			log.Print(err)
		}
	}
}

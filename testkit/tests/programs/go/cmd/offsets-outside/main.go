// Writes results in a transaction and commits the offsets after it: a crash between the two repeats
// results that were committed.
package main

import (
	"context"
	"log"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

func run(ctx context.Context) error {
	client, err := kgo.NewClient(app.Options(
		kgo.DisableAutoCommit(), kgo.TransactionalID(app.TransactionalID()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := app.Fence(ctx, client); err != nil {
		return err
	}
	for {
		fetches := client.PollRecords(ctx, app.BatchRecords)
		if ctx.Err() != nil {
			return nil
		}
		app.LogErrors(fetches)
		if fetches.Empty() {
			continue
		}
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		for record := range fetches.RecordsAll() {
			result, err := app.Work(record)
			if err != nil {
				return err
			}
			if err := client.ProduceSync(ctx, result).FirstErr(); err != nil {
				return err
			}
		}
		if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			log.Print(err)
		}
	}
}

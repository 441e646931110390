// Commits a batch before it does the work: what a crash interrupts is never done.
package main

import (
	"context"

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
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
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
	}
}

// Writes results and offsets in one transaction, by franz-go's session for that.
package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

func run(ctx context.Context) error {
	session, err := kgo.NewGroupTransactSession(app.Options(
		kgo.TransactionalID(app.TransactionalID()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := app.Fence(ctx, session.Client()); err != nil {
		return err
	}
	for {
		fetches := session.PollRecords(ctx, app.BatchRecords)
		if ctx.Err() != nil {
			return nil
		}
		app.LogErrors(fetches)
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		var produced kgo.FirstErrPromise
		for record := range fetches.RecordsAll() {
			result, err := app.Work(record)
			if err != nil {
				return err
			}
			session.Produce(ctx, result, produced.Promise())
		}
		commit := kgo.TransactionEndTry(produced.Err() == nil)
		// What is aborted is polled again.
		if _, err := session.End(ctx, commit); err != nil {
			return err
		}
	}
}

// Commits the offset of the record after the last one, and says in its metadata by whom.
package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

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
		next := map[int32]int64{}
		for record := range fetches.RecordsAll() {
			result, err := app.Work(record)
			if err != nil {
				return err
			}
			session.Produce(ctx, result, produced.Promise())
			next[record.Partition] = record.Offset + 1
		}
		commit := kgo.TransactionEndTry(produced.Err() == nil)
		if _, err := session.End(committing(ctx, next), commit); err != nil {
			return err
		}
	}
}

// Commits the next offset of each partition.
func committing(ctx context.Context, next map[int32]int64) context.Context {
	metadata := app.TransactionalID()
	return kgo.PreTxnCommitFnContext(ctx, func(request *kmsg.TxnOffsetCommitRequest) error {
		for _, topic := range request.Topics {
			for index := range topic.Partitions {
				partition := &topic.Partitions[index]
				partition.Offset, partition.Metadata = next[partition.Partition], &metadata
			}
		}
		return nil
	})
}

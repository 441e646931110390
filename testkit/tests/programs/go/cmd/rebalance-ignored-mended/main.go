// Starts a worker for each partition when it is assigned, and ends it when it is taken away.
package main

import (
	"context"
	"log"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

// Rebalances wait while a batch is under way, so that the workers are changed by one goroutine at a time.
type pool struct {
	workers map[int32]chan []*kgo.Record
	busy    sync.WaitGroup
}

func run(ctx context.Context) error {
	pool := pool{workers: map[int32]chan []*kgo.Record{}}
	client, err := kgo.NewClient(app.Options(
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.Balancers(kgo.RangeBalancer()),
		kgo.OnPartitionsAssigned(pool.assigned),
		kgo.OnPartitionsRevoked(pool.revoked), kgo.OnPartitionsLost(pool.revoked))...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for {
		fetches := client.PollRecords(ctx, app.BatchRecords)
		if ctx.Err() != nil {
			return nil
		}
		app.LogErrors(fetches)
		fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
			if len(fetched.Records) > 0 {
				pool.busy.Add(1)
				pool.workers[fetched.Partition] <- fetched.Records
			}
		})
		pool.busy.Wait()
		if err := client.CommitRecords(ctx, fetches.Records()...); err != nil {
			log.Printf("not committed, so some jobs are done again: %v", err)
		}
		client.AllowRebalance()
	}
}

func (p *pool) assigned(ctx context.Context, client *kgo.Client, assigned map[string][]int32) {
	for _, partition := range assigned["jobs"] {
		p.workers[partition] = make(chan []*kgo.Record)
		go p.work(ctx, client, p.workers[partition])
	}
}

func (p *pool) revoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	for _, partition := range revoked["jobs"] {
		close(p.workers[partition])
		delete(p.workers, partition)
	}
}

func (p *pool) work(ctx context.Context, client *kgo.Client, batches <-chan []*kgo.Record) {
	for batch := range batches {
		for _, record := range batch {
			result, err := app.Work(record)
			if err != nil {
				log.Fatal(err)
			}
			if err := client.ProduceSync(ctx, result).FirstErr(); err != nil {
				log.Fatal(err)
			}
		}
		p.busy.Done()
	}
}

// Starts a worker for each partition that it is assigned at first, and ignores the rebalances after
// that: a partition that comes later has no worker, and its records are passed over.
package main

import (
	"context"
	"log"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"jobstream/programs/internal/app"
)

func main() { app.Main(run) }

func run(ctx context.Context) error {
	assignments := make(chan []int32, 1)
	client, err := kgo.NewClient(app.Options(
		kgo.DisableAutoCommit(), kgo.Balancers(kgo.RangeBalancer()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			select {
			case assignments <- assigned["jobs"]:
			default:
			}
		}))...)
	if err != nil {
		return err
	}
	defer client.Close()
	workers := map[int32]chan []*kgo.Record{}
	var busy sync.WaitGroup
	select {
	case partitions := <-assignments:
		for _, partition := range partitions {
			workers[partition] = make(chan []*kgo.Record)
			go work(client, workers[partition], &busy)
		}
	case <-ctx.Done():
		return nil
	}
	for {
		fetches := client.PollRecords(ctx, app.BatchRecords)
		if ctx.Err() != nil {
			return nil
		}
		app.LogErrors(fetches)
		fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
			if worker, ok := workers[fetched.Partition]; ok {
				busy.Add(1)
				worker <- fetched.Records
			}
		})
		busy.Wait()
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			log.Print(err)
		}
	}
}

func work(client *kgo.Client, batches <-chan []*kgo.Record, busy *sync.WaitGroup) {
	for batch := range batches {
		for _, record := range batch {
			result, err := app.Work(record)
			if err != nil {
				log.Fatal(err)
			}
			if err := client.ProduceSync(context.Background(), result).FirstErr(); err != nil {
				log.Fatal(err)
			}
		}
		busy.Done()
	}
}

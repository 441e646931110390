// Package app is what the programs share: their settings, their work, and how they end.
package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BatchRecords is how many records a poll returns at most.
const BatchRecords = 5

// Main runs a program until SIGTERM or SIGINT. Where it fails, the process ends with code 1, and who
// started it starts it again.
func Main(run func(ctx context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// Options are those of every program, with more of its own.
func Options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKERS"), ",")...),
		kgo.ConsumerGroup("app"),
		kgo.ConsumeTopics("jobs"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.DefaultProduceTopic("results"),
	}, more...)
}

// TransactionalID is the same after a restart, and no other member has it.
func TransactionalID() string {
	return "app-" + os.Getenv("SEARCH_MEMBER")
}

// Fence ends what a predecessor has left open: until then no position of the group is given out.
func Fence(ctx context.Context, client *kgo.Client) error {
	_, _, err := client.ProducerID(ctx)
	return err
}

// LogErrors logs what a poll could not do. The client tries it again by itself.
func LogErrors(fetches kgo.Fetches) {
	fetches.EachError(func(topic string, partition int32, err error) {
		log.Printf("%s/%d: %v", topic, partition, err)
	})
}

type job struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	TakesMS int    `json:"takes_ms,omitempty"`
	Fail    string `json:"fail,omitempty"`
}

type result struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// The ids of jobs that have failed once.
var failed sync.Map

// Work does one job and returns its result, or fails.
func Work(record *kgo.Record) (*kgo.Record, error) {
	var job job
	if err := json.Unmarshal(record.Value, &job); err != nil {
		return nil, fmt.Errorf("job at %d/%d: %w", record.Partition, record.Offset, err)
	}
	time.Sleep(time.Duration(job.TakesMS) * time.Millisecond)
	if _, again := failed.LoadOrStore(job.ID, true); job.Fail == "once" && !again {
		return nil, fmt.Errorf("job %s fails once", job.ID)
	}
	value, err := json.Marshal(result{ID: job.ID, Text: strings.ToUpper(job.Text)})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Key: record.Key, Value: value}, nil
}

// franz-go as a user has it: produces one value, or prints the first one of a topic.
//
//	client produce BOOTSTRAP TOPIC    the value comes from standard input; it has no key
//	client consume BOOTSTRAP TOPIC    read_committed
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 180 * time.Second

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("expected produce|consume BOOTSTRAP TOPIC"))
	}
	verb, bootstrap, topic := os.Args[1], os.Args[2], os.Args[3]
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var err error
	switch verb {
	case "produce":
		err = produce(ctx, bootstrap, topic)
	case "consume":
		err = consume(ctx, bootstrap, topic)
	default:
		err = fmt.Errorf("found %q, expected produce or consume", verb)
	}
	if err != nil {
		fail(err)
	}
}

func produce(ctx context.Context, bootstrap, topic string) error {
	value, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
}

func consume(ctx context.Context, bootstrap, topic string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			_, err := os.Stdout.Write(record.Value)
			return err
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "client:", err)
	os.Exit(1)
}

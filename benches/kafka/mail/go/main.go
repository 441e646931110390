// What a Go user would write today for speed: franz-go, go-mail on connections that are kept, and as
// many jobs at once as there are connections.
//
//	executor BOOTSTRAP INPUT OUTPUT MAIL_PORT CONNECTIONS
//
// It has no retries, no dead letters and no order, and marks positions as jobs end, which loses those
// before them if it crashes: it is a rival for speed, not for promises.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/wneessen/go-mail"
)

// The status of a job that succeeded.
var succeeded = json.RawMessage("4")

type jobData struct {
	SourceAddress      string
	DestinationAddress string
	Subject            string
	Message            string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 5 {
		return errors.New("expected BOOTSTRAP INPUT OUTPUT MAIL_PORT CONNECTIONS")
	}
	bootstrap, input, output := arguments[0], arguments[1], arguments[2]
	port, err := strconv.Atoi(arguments[3])
	if err != nil {
		return err
	}
	connections, err := strconv.Atoi(arguments[4])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(output),
		kgo.ConsumeTopics(input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.DefaultProduceTopic(output),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	jobs := make(chan *kgo.Record, connections)
	failed := make(chan error, connections)
	var workers sync.WaitGroup
	for range connections {
		workers.Go(func() {
			if err := work(client, port, jobs); err != nil {
				failed <- err
			}
		})
	}
	err = poll(ctx, client, jobs, failed)
	close(jobs)
	workers.Wait()
	if err != nil {
		return err
	}
	if err := client.Flush(context.Background()); err != nil {
		return err
	}
	return client.CommitMarkedOffsets(context.Background())
}

// Hands out jobs until it is time to stop.
func poll(ctx context.Context, client *kgo.Client, jobs chan<- *kgo.Record, failed <-chan error) error {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			select {
			case jobs <- records.Next():
			case err := <-failed:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// Sends mails by one connection.
func work(client *kgo.Client, port int, jobs <-chan *kgo.Record) error {
	mailer, err := mail.NewClient("127.0.0.1",
		mail.WithPort(port), mail.WithTLSPolicy(mail.NoTLS), mail.WithHELO("example.com"), mail.WithoutNoop())
	if err != nil {
		return err
	}
	if err := mailer.DialWithContext(context.Background()); err != nil {
		return err
	}
	defer mailer.Close()
	for record := range jobs {
		result, err := execute(mailer, record)
		if err != nil {
			return err
		}
		client.Produce(context.Background(), result, func(_ *kgo.Record, err error) {
			if err == nil {
				client.MarkCommitRecords(record)
			}
		})
	}
	return nil
}

func execute(mailer *mail.Client, record *kgo.Record) (*kgo.Record, error) {
	var job map[string]json.RawMessage
	if err := json.Unmarshal(record.Value, &job); err != nil {
		return nil, err
	}
	var id string
	if err := json.Unmarshal(job["Id"], &id); err != nil {
		return nil, err
	}
	var data jobData
	if err := json.Unmarshal(job["JobData"], &data); err != nil {
		return nil, err
	}
	message := mail.NewMsg()
	if err := message.From(data.SourceAddress); err != nil {
		return nil, err
	}
	if err := message.To(data.DestinationAddress); err != nil {
		return nil, err
	}
	message.Subject(data.Subject)
	message.SetBodyString(mail.TypeTextPlain, data.Message)
	if err := mailer.Send(message); err != nil {
		return nil, err
	}
	job["Status"] = succeeded
	value, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Key: []byte(id), Value: value}, nil
}

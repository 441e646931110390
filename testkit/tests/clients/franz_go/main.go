// franz-go: everything that it can ask of a broker, with each compression and each kind of group.
//
//	franz_go BOOTSTRAP PREFIX    topics, groups and transactional ids begin with PREFIX
//
// Every step prints a line. A step that fails does not end the scenario; the program then ends with 1.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	limit      = 30 * time.Second
	partitions = 3
)

type scenario struct {
	seeds         []string
	topic         string
	transactional string
	group         string
	admin         *kadm.Client
	written       []*kgo.Record
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "expected BOOTSTRAP PREFIX")
		os.Exit(2)
	}
	prefix := os.Args[2]
	s := &scenario{
		seeds:         strings.Split(os.Args[1], ","),
		topic:         prefix + "-records",
		transactional: prefix + "-transactions",
		group:         prefix + "-group",
	}
	client, err := s.client()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	s.admin = kadm.NewClient(client)
	failed := false
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"creates topics", s.createTopics},
		{"produces with each compression", s.produce},
		{"reads in a classic group, commits and resumes", s.classicGroup},
		{"reads in a group of KIP-848, commits and resumes", s.serverSideGroup},
		{"shares a topic in a cooperative group", s.sharedClassic},
		{"shares a topic in a group of KIP-848", s.sharedServerSide},
		{"finds offsets", s.findOffsets},
		{"commits and aborts transactions", s.transactions},
		{"reads, writes and commits offsets in transactions", s.exactlyOnce},
		{"describes transactions and producers", s.describeTransactions},
		{"describes, alters and deletes groups", s.groups},
		{"describes and alters configurations", s.configurations},
		{"deletes records, adds partitions, deletes topics", s.alterTopics},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		if err := step.run(ctx); err != nil {
			failed = true
			fmt.Printf("FAILED  %s: %v\n", step.name, err)
		} else {
			fmt.Printf("ok      %s\n", step.name)
		}
		cancel()
	}
	if failed {
		os.Exit(1)
	}
}

func (s *scenario) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(s.seeds...))...)
}

func expect[T comparable](found, expected T, what string) error {
	if found != expected {
		return fmt.Errorf("%s: found %v, expected %v", what, found, expected)
	}
	return nil
}

// The first one that there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

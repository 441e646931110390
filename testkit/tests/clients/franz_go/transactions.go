package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Twice one transaction that is committed and one that is aborted, five records in each partition.
func (s *scenario) transactions(ctx context.Context) error {
	client, err := s.client(
		kgo.TransactionalID(s.transactional+"-id"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	for number := range 4 {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		end := kgo.TransactionEndTry(number%2 == 0)
		var records []*kgo.Record
		for index := range 5 * partitions {
			records = append(records, &kgo.Record{
				Topic: s.transactional, Partition: int32(index % partitions), Value: fmt.Append(nil, end),
			})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		if err := client.EndTransaction(ctx, end); err != nil {
			return err
		}
	}
	return first(
		s.sees(ctx, s.transactional, kgo.ReadCommitted(), 30, 30),
		s.sees(ctx, s.transactional, kgo.ReadUncommitted(), 60, 30))
}

// So many records are seen, and so many of them were committed.
func (s *scenario) sees(ctx context.Context, topic string, isolation kgo.IsolationLevel, count, committed int) error {
	client, err := s.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	records, err := read(ctx, client.PollRecords, count)
	if err != nil {
		return err
	}
	seen := 0
	for _, record := range records {
		if string(record.Value) == "true" {
			seen++
		}
	}
	return first(expect(seen, committed, "committed records"), nothing(ctx, client, "records besides"))
}

// Copies the records of one topic to another, in transactions that hold the offsets; the first half
// is aborted and done again.
func (s *scenario) exactlyOnce(ctx context.Context) error {
	target := s.transactional + "-copies"
	if _, err := s.admin.CreateTopic(ctx, partitions, 1, nil, target); err != nil {
		return err
	}
	group := s.group + "-exactly-once"
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(s.seeds...), kgo.TransactionalID(s.transactional+"-copier"),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(s.topic), kgo.RequireStableFetchOffsets(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer session.Close()
	half := len(s.written) / 2
	for _, turn := range []struct {
		count int
		end   kgo.TransactionEndTry
	}{{half, kgo.TryAbort}, {half, kgo.TryCommit}, {len(s.written) - half, kgo.TryCommit}} {
		records, err := read(ctx, session.PollRecords, turn.count)
		if err != nil {
			return err
		}
		if err := session.Begin(); err != nil {
			return err
		}
		for _, record := range records {
			session.Produce(ctx, &kgo.Record{Topic: target, Key: record.Key, Value: []byte("true")}, nil)
		}
		committed, err := session.End(ctx, turn.end)
		if err = first(err, expect(committed, bool(turn.end), "committed")); err != nil {
			return err
		}
	}
	offsets, err := s.admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	for partition := range int32(partitions) {
		committed, _ := offsets.Lookup(s.topic, partition)
		if err := expect(committed.At, int64(len(s.written)/partitions), "offset committed"); err != nil {
			return err
		}
	}
	return s.sees(ctx, target, kgo.ReadCommitted(), len(s.written), len(s.written))
}

// An open transaction is listed, holds the last stable offset back, and is gone when it has ended.
func (s *scenario) describeTransactions(ctx context.Context) error {
	id := s.transactional + "-open"
	client, err := s.client(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	record := &kgo.Record{Topic: s.transactional, Value: []byte("open")}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return err
	}
	described, err := s.admin.DescribeTransactions(ctx, id)
	open := described[id]
	if err = first(err, open.Err); err != nil {
		return err
	}
	var topics kadm.TopicsSet
	topics.Add(s.transactional, 0)
	producers, err := s.admin.DescribeProducers(ctx, topics)
	if err != nil {
		return err
	}
	starts := map[int64]int64{}
	for _, producer := range producers.SortedProducers() {
		starts[producer.ProducerID] = producer.CurrentTxnStartOffset
	}
	listed, err := s.admin.ListTransactions(ctx, []int64{open.ProducerID}, []string{"Ongoing"})
	if err != nil {
		return err
	}
	if err := first(
		expect(open.State, "Ongoing", "state"),
		expect(starts[open.ProducerID], record.Offset, "start of the transaction"),
		expect(len(listed), 1, "transactions listed"),
		s.stableEnd(ctx, record.Offset),
	); err != nil {
		return err
	}
	if err := client.EndTransaction(ctx, kgo.TryAbort); err != nil {
		return err
	}
	// The record and its marker.
	return s.stableEnd(ctx, record.Offset+2)
}

// Waits until the last stable offset is there: a transaction's end is answered before its markers
// are written.
func (s *scenario) stableEnd(ctx context.Context, expected int64) error {
	for {
		ends, err := s.admin.ListCommittedOffsets(ctx, s.transactional)
		if err = first(err, ends.Error()); err != nil {
			return err
		}
		end, _ := ends.Lookup(s.transactional, 0)
		if end.Offset == expected {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return expect(end.Offset, expected, "last stable offset")
		}
	}
}

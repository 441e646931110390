package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const firstTimestampMillis = 1_700_000_000_000

// What a producer is given: with and without key, value and headers.
func (s *scenario) records() []*kgo.Record {
	var records []*kgo.Record
	for number := range 40 * partitions {
		record := &kgo.Record{
			Topic:     s.topic,
			Partition: int32(number % partitions),
			Timestamp: time.UnixMilli(firstTimestampMillis + int64(number)),
		}
		if number%7 != 0 {
			record.Key = fmt.Appendf(nil, "key-%d", number)
		}
		if number%11 != 0 {
			record.Value = []byte(strings.Repeat(fmt.Sprintf("value %d ", number), 20))
		}
		if number%4 != 0 {
			record.Headers = []kgo.RecordHeader{
				{Key: "number", Value: fmt.Append(nil, number)},
				{Key: "twice", Value: []byte("a")},
				{Key: "twice", Value: []byte{0, 0xff}},
				{Key: "null"},
				{Key: "empty", Value: []byte{}},
			}
		}
		records = append(records, record)
	}
	return records
}

func (s *scenario) produce(ctx context.Context) error {
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(),
		kgo.ZstdCompression(),
	}
	for _, codec := range codecs {
		client, err := s.client(
			kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			return err
		}
		results := client.ProduceSync(ctx, s.records()...)
		client.Close()
		if err := results.FirstErr(); err != nil {
			return err
		}
		for _, result := range results {
			s.written = append(s.written, result.Record)
		}
	}
	for partition := range int32(partitions) {
		for at, record := range of(s.written, partition) {
			if err := expect(record.Offset, int64(at), "offset"); err != nil {
				return err
			}
		}
	}
	return nil
}

func of(records []*kgo.Record, partition int32) []*kgo.Record {
	var chosen []*kgo.Record
	for _, record := range records {
		if record.Partition == partition {
			chosen = append(chosen, record)
		}
	}
	return chosen
}

// So many records.
func read(ctx context.Context, poll func(context.Context, int) kgo.Fetches, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < count {
		fetches := poll(ctx, count-len(records))
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("found %d records, expected %d: %w", len(records), count, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

// Nothing arrives but what has been read.
func nothing(ctx context.Context, client *kgo.Client, what string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second/2)
	defer cancel()
	return expect(client.PollFetches(ctx).NumRecords(), 0, what)
}

func sameRecords(found, expected []*kgo.Record) error {
	if err := expect(len(found), len(expected), "records"); err != nil {
		return err
	}
	for partition := range int32(partitions) {
		others := of(expected, partition)
		for at, one := range of(found, partition) {
			other := others[at]
			same := one.Offset == other.Offset && one.Timestamp.Equal(other.Timestamp) &&
				sameBytes(one.Key, other.Key) && sameBytes(one.Value, other.Value) &&
				slices.EqualFunc(one.Headers, other.Headers, func(a, b kgo.RecordHeader) bool {
					return a.Key == b.Key && sameBytes(a.Value, b.Value)
				})
			if !same {
				return fmt.Errorf("record %d of partition %d: found %v, expected %v", at, partition, one, other)
			}
		}
	}
	return nil
}

// None is not the same as empty.
func sameBytes(one, other []byte) bool {
	return (one == nil) == (other == nil) && bytes.Equal(one, other)
}

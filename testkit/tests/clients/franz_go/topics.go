package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (s *scenario) createTopics(ctx context.Context) error {
	created, err := s.admin.CreateTopics(ctx, partitions, 1, nil, s.topic, s.transactional)
	if err = first(err, created.Error()); err != nil {
		return err
	}
	if _, err := s.admin.CreateTopic(ctx, partitions, 1, nil, s.topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("a topic that exists: %v", err)
	}
	metadata, err := s.admin.Metadata(ctx, s.topic)
	if err != nil {
		return err
	}
	_, isThere := metadata.Brokers.NodeIDs(), metadata.Topics.Has(s.topic)
	return first(
		expect(isThere, true, "topic described"),
		expect(metadata.Topics[s.topic].ID == kadm.TopicID{}, false, "topic without id"),
		expect(len(metadata.Topics[s.topic].Partitions), partitions, "partitions"))
}

func (s *scenario) findOffsets(ctx context.Context) error {
	count := int64(len(s.written) / partitions)
	starts, err := s.admin.ListStartOffsets(ctx, s.topic)
	if err != nil {
		return err
	}
	ends, err := s.admin.ListEndOffsets(ctx, s.topic)
	if err != nil {
		return err
	}
	later, err := s.admin.ListOffsetsAfterMilli(ctx, firstTimestampMillis+30, s.topic)
	if err != nil {
		return err
	}
	highest, err := s.admin.ListMaxTimestampOffsets(ctx, s.topic)
	if err != nil {
		return err
	}
	for partition := range int32(partitions) {
		start, _ := starts.Lookup(s.topic, partition)
		end, _ := ends.Lookup(s.topic, partition)
		at, _ := later.Lookup(s.topic, partition)
		last, _ := highest.Lookup(s.topic, partition)
		if err := first(start.Err, end.Err, at.Err, last.Err,
			expect(start.Offset, 0, "start"),
			expect(end.Offset, count, "end"),
			expect(at.Offset, 10, "offset by time"),
			expect(at.Timestamp, firstTimestampMillis+30+int64(partition), "its timestamp"),
			expect(last.Timestamp, firstTimestampMillis+117+int64(partition), "highest timestamp"),
		); err != nil {
			return err
		}
	}
	epochs := kadm.OffsetForLeaderEpochRequest{}
	epochs.Add(s.topic, 0, 0)
	ended, err := s.admin.OffsetForLeaderEpoch(ctx, epochs)
	if err != nil {
		return err
	}
	return expect(ended[s.topic][0].EndOffset, count, "end of the leader's epoch")
}

func (s *scenario) configurations(ctx context.Context) error {
	wanted := "86400000"
	altered, err := s.admin.AlterTopicConfigs(ctx,
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &wanted}}, s.topic)
	if err != nil {
		return err
	}
	for _, answer := range altered {
		if answer.Err != nil {
			return answer.Err
		}
	}
	described, err := s.admin.DescribeTopicConfigs(ctx, s.topic)
	if err != nil {
		return err
	}
	for _, config := range described[0].Configs {
		if config.Key == "retention.ms" {
			return expect(config.MaybeValue(), wanted, config.Key)
		}
	}
	return fmt.Errorf("no retention.ms in %v", described)
}

func (s *scenario) alterTopics(ctx context.Context) error {
	var offsets kadm.Offsets
	offsets.AddOffset(s.topic, 0, 5, -1)
	deleted, err := s.admin.DeleteRecords(ctx, offsets)
	if err = first(err, deleted.Error()); err != nil {
		return err
	}
	if err := expect(deleted[s.topic][0].LowWatermark, 5, "log start"); err != nil {
		return err
	}
	added, err := s.admin.CreatePartitions(ctx, 2, s.topic)
	if err = first(err, added.Error()); err != nil {
		return err
	}
	before, err := s.admin.Metadata(ctx, s.topic)
	if err != nil {
		return err
	}
	if err := expect(len(before.Topics[s.topic].Partitions), partitions+2, "partitions"); err != nil {
		return err
	}
	if _, err := s.admin.DeleteTopic(ctx, s.topic); err != nil {
		return err
	}
	// The same name again is another topic. Kafka removes one some time after it has said so.
	again, err := s.admin.CreateTopic(ctx, 1, 1, nil, s.topic)
	for errors.Is(err, kerr.TopicAlreadyExists) && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		again, err = s.admin.CreateTopic(ctx, 1, 1, nil, s.topic)
	}
	return first(err, expect(again.ID == before.Topics[s.topic].ID, false, "the same id"))
}

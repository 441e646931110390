package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (s *scenario) member(group string, opts ...kgo.Opt) (*kgo.Client, error) {
	return s.client(append(opts,
		kgo.ConsumeTopics(s.topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
}

func (s *scenario) classicGroup(ctx context.Context) error {
	return s.readsInAGroup(ctx, s.group+"-classic")
}

func (s *scenario) serverSideGroup(ctx context.Context) error {
	return s.readsInAGroup(ctx, s.group+"-server", kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
}

// Half of the records by one member that commits, the rest by the next one.
func (s *scenario) readsInAGroup(ctx context.Context, group string, opts ...kgo.Opt) error {
	var found []*kgo.Record
	half := len(s.written) / 2
	for _, count := range []int{half, len(s.written) - half} {
		member, err := s.member(group, opts...)
		if err != nil {
			return err
		}
		records, err := read(ctx, member.PollRecords, count)
		if err == nil {
			err = member.CommitRecords(ctx, records...)
		}
		member.CloseAllowingRebalance()
		if err != nil {
			return err
		}
		found = append(found, records...)
	}
	if err := sameRecords(found, s.written); err != nil {
		return err
	}
	offsets, err := s.admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	for partition := range int32(partitions) {
		committed, _ := offsets.Lookup(s.topic, partition)
		if err := expect(committed.At, int64(len(s.written)/partitions), "committed"); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) sharedClassic(ctx context.Context) error {
	return s.shared(ctx, s.group+"-shared", kgo.Balancers(kgo.CooperativeStickyBalancer()))
}

func (s *scenario) sharedServerSide(ctx context.Context) error {
	return s.shared(ctx, s.group+"-shared-server", kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
}

// What the members of a group own, as their callbacks say.
type owners struct {
	lock    sync.Mutex
	owned   map[int][]int32
	changed chan struct{}
}

func (o *owners) change(member int, change func([]int32) []int32) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.owned[member] = change(o.owned[member])
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Waits until every partition is owned, and so many members own some.
func (o *owners) await(ctx context.Context, members int) error {
	for {
		o.lock.Lock()
		var all []int32
		busy := 0
		for _, owned := range o.owned {
			all = append(all, owned...)
			if len(owned) > 0 {
				busy++
			}
		}
		state := fmt.Sprint(o.owned)
		o.lock.Unlock()
		slices.Sort(all)
		if busy == members && slices.Equal(all, []int32{0, 1, 2}) {
			return nil
		}
		select {
		case <-o.changed:
		case <-ctx.Done():
			return fmt.Errorf("owned: %s, expected all by %d members", state, members)
		}
	}
}

func (s *scenario) shared(ctx context.Context, group string, opts ...kgo.Opt) error {
	o := &owners{owned: map[int][]int32{}, changed: make(chan struct{}, 1)}
	var members []*kgo.Client
	for index := range 2 {
		lost := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			o.change(index, func(owned []int32) []int32 {
				return slices.DeleteFunc(owned, func(p int32) bool { return slices.Contains(lost[s.topic], p) })
			})
		}
		member, err := s.member(group, append(opts,
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
				o.change(index, func(owned []int32) []int32 { return append(owned, added[s.topic]...) })
			}), kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost))...)
		if err != nil {
			return err
		}
		defer member.Close()
		members = append(members, member)
	}
	if err := o.await(ctx, 2); err != nil {
		return err
	}
	members[0].Close()
	o.change(0, func([]int32) []int32 { return nil })
	return o.await(ctx, 1)
}

func (s *scenario) groups(ctx context.Context) error {
	listed, err := s.admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	group := s.group + "-classic"
	found := strings.Join(listed.Groups(), " ")
	if !strings.Contains(found, group) {
		return fmt.Errorf("found the groups %s, expected %s", found, group)
	}
	described, err := s.admin.DescribeGroups(ctx, group)
	if err = first(err, described.Error()); err != nil {
		return err
	}
	if err := expect(described[group].State, "Empty", "state"); err != nil {
		return err
	}
	var altered kadm.Offsets
	altered.AddOffset(s.topic, 0, 7, -1)
	if err := s.admin.CommitAllOffsets(ctx, group, altered); err != nil {
		return err
	}
	lags, err := s.admin.Lag(ctx, group)
	if err = first(err, lags.Error()); err != nil {
		return err
	}
	if err := expect(lags[group].Lag.Total(), int64(len(s.written)/partitions-7), "lag"); err != nil {
		return err
	}
	var offsets kadm.TopicsSet
	offsets.Add(s.topic, 0)
	deleted, err := s.admin.DeleteOffsets(ctx, group, offsets)
	if err = first(err, deleted.Error()); err != nil {
		return err
	}
	if _, err := s.admin.DeleteGroup(ctx, group); err != nil {
		return err
	}
	if _, err = s.admin.DeleteGroup(ctx, group); !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("a group that is not there: %v", err)
	}
	return nil
}

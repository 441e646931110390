//! What happened in a run, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jobstream::position::Position;
use jobstream::record::{ConsumerRecord, Generation, Topic, TopicPartition};
use jobstream::sinks::JobErrorKind;
use jobstream::sources::Reset;
use jobstream::topology::{Fate, Limits};

use super::fault::Fault;
use super::group::Delivery;
use super::lives::{NewLife, life};
use super::lost::Lost;
use super::reopened::{ForeignCommit, Reopened};
use super::world::Effect;
use crate::broker::When;

/// One life of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The member's number, from 0.
    pub member: usize,
    /// Its life, from 1: a restart begins the next one.
    pub life: u32,
}

/// A record under the assignment in which it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its partition.
    pub partition: TopicPartition,
    /// The assignment, counted by the member.
    pub generation: Generation,
    /// The life of the partition in which it was produced.
    pub life: u32,
    /// Its offset.
    pub offset: i64,
}

impl Place {
    /// Whether this record is at this place, under any assignment.
    pub(super) fn is_of(&self, record: &ConsumerRecord) -> bool {
        self.offset == record.offset
            && self.partition == record.partition
            && self.life == life(record)
    }
}

impl From<&ConsumerRecord> for Place {
    fn from(record: &ConsumerRecord) -> Self {
        let ConsumerRecord { partition, generation, offset, .. } = record;
        let (partition, generation) = (partition.clone(), *generation);
        Self { partition, generation, life: life(record), offset: *offset }
    }
}

/// An entry of the history: one thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// When, by tokio's clock, since the run began.
    pub at: Duration,
    /// At which poll of the scheduler.
    pub step: u64,
    /// The member to which it happened.
    pub who: Option<Who>,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A member of this group begins to run.
    Started(Arc<str>),
    /// Its session has ended at the broker. Until it learns that and joins again it is a zombie.
    SessionEnded,
    /// Its future was dropped.
    Crashed,
    /// It is no longer polled.
    Paused,
    /// It is polled again.
    Woken,
    /// It is asked to shut down.
    Stopping,
    /// Its run has ended, with this many records left unfinished.
    Stopped {
        /// How many.
        unfinished: usize,
    },
    /// Its run has ended with an error.
    Broke(String),
    /// A fault of the schedule.
    Fault(Fault),
    /// No fault strikes after this.
    Healed,
    /// It has reached a moment of an effect.
    Effect(Effect, When),
    /// Retention has removed the records below this offset.
    Removed {
        /// The partition.
        partition: TopicPartition,
        /// The first remaining offset.
        before: i64,
    },
    /// A partition has lost its records from an offset on, and begins a new life.
    BeganAnew(NewLife),
    /// It was notified that a partition's offsets went back, so that the partition begins anew.
    Reset(TopicPartition, Reset),
    /// It was notified that retention had removed these offsets before it read them.
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that is lost.
        from: i64,
        /// The first remaining offset.
        to: i64,
    },
    /// A partition is assigned.
    Assigned(TopicPartition, Generation),
    /// The group asks for a partition back.
    Revoked(TopicPartition),
    /// It has learnt that a partition is gone.
    Lost(TopicPartition),
    /// It has given a partition up.
    Released(TopicPartition),
    /// This many records of a drained partition are left unfinished.
    CutOff(TopicPartition, usize),
    /// A record was taken in.
    Fetched(Place),
    /// A record was skipped, since a former owner had finished it.
    AlreadyFinished(Place),
    /// An execution begins.
    Began(Place),
    /// An execution has ended.
    Executed(Place, Option<JobErrorKind>),
    /// An execution was dropped.
    Cancelled(Place),
    /// An execution was dropped before its effect had begun: it has certainly not executed the job.
    Withdrawn(Place),
    /// A job waits this long for its next attempt.
    Waits(Place, Duration),
    /// A record has met its fate.
    Finished(Place, Fate),
    /// A batch of this many outputs was acknowledged.
    Published(usize),
    /// A batch was not published.
    PublishFailed(String),
    /// Positions were not committed.
    CommitFailed(String),
    /// Source or sink were not closed.
    CloseFailed(String),
    /// It has committed a position for its group.
    Committed(Commit),
    /// Another program has committed for a group.
    ForeignCommit(ForeignCommit),
}

/// A position that the broker has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: TopicPartition,
    /// The life of the partition that it was committed for.
    pub life: u32,
    /// Its position.
    pub position: Position,
    /// The next offset of each partition of the outputs at that time.
    pub ends: BTreeMap<TopicPartition, i64>,
}

/// What happened in one run, and the records that it has left.
#[derive(Clone, Debug)]
pub struct History {
    /// The seed of the run.
    pub seed: u64,
    /// Everything that happened, in order.
    pub entries: Vec<Occurrence>,
    /// The records and settings of each group.
    pub groups: Vec<GroupHistory>,
    /// The outputs without a transaction, or of a committed one, by topic.
    pub outputs: BTreeMap<Topic, Vec<ConsumerRecord>>,
    /// All outputs, also those of aborted and open transactions.
    pub uncommitted_outputs: BTreeMap<Topic, Vec<ConsumerRecord>>,
    /// Whether the metadata of a commit has room for a finished set. Where it has not, what is finished
    /// above an unfinished record is worked on again by the next owner of its partition.
    pub sets_fit: bool,
    /// Whether everything came to rest after the faults.
    pub settled: bool,
}

/// The records that a run has left for a group, and the group's settings.
#[derive(Clone, Debug)]
pub struct GroupHistory {
    /// Its name.
    pub name: Arc<str>,
    /// The numbers of its members.
    pub members: Range<usize>,
    /// The topics that it consumes.
    pub topics: Vec<Topic>,
    /// The input records, by partition, life and offset, including those that retention has removed
    /// since and those of former lives.
    pub inputs: Vec<ConsumerRecord>,
    /// The changes of keyed state that a `read_committed` reader sees.
    pub state: Vec<ConsumerRecord>,
    /// How outputs and positions become durable.
    pub delivery: Delivery,
    /// The limits of every member.
    pub limits: Limits,
    /// The most attempts that a job has in one assignment.
    pub attempts_max: Option<u32>,
    /// How long an attempt may take.
    pub attempt_timeout: Option<Duration>,
    pub(super) limited_by: Option<(Identity, usize)>,
    pub(super) identity: Identity,
}

/// The identity of a record, as input and as output; `None` for an input without an output.
pub type Identity = fn(&ConsumerRecord) -> Option<Bytes>;

impl History {
    /// What happened to the members of a group, in order.
    pub fn of(&self, group: &GroupHistory) -> impl Iterator<Item = (Who, &Occurrence)> {
        let members = group.members.clone();
        let of_members = self.entries.iter().filter_map(|entry| Some((entry.who?, entry)));
        of_members.filter(move |(who, _)| members.contains(&who.member))
    }

    /// The inputs of all groups.
    pub fn inputs(&self) -> impl Iterator<Item = &ConsumerRecord> {
        self.groups.iter().flat_map(|group| &group.inputs)
    }

    /// The input at a place, of any group.
    pub fn input(&self, place: &Place) -> Option<&ConsumerRecord> {
        self.groups.iter().find_map(|group| group.input(place))
    }

    /// The finished records that a group was allowed to work on again.
    pub fn reopened(&self, group: &GroupHistory) -> Reopened<'_> {
        Reopened::of(self, group)
    }

    /// The records that may have been lost before a group worked on them: to retention, or with a
    /// former life of their partition.
    pub fn lost(&self, group: &GroupHistory) -> Lost<'_> {
        Lost::of(self, group)
    }
}

impl GroupHistory {
    /// The identity of a record in this group.
    pub fn identity(&self, record: &ConsumerRecord) -> Option<Bytes> {
        (self.identity)(record)
    }

    /// The key by which the job at a place is limited, and how many jobs with it a member executes
    /// at once.
    pub(super) fn limited_by(&self, place: &Place) -> Option<(Bytes, usize)> {
        let (key, executing_max) = self.limited_by?;
        Some((key(self.input(place)?)?, executing_max))
    }

    /// Whether a record can be an output of this group: it is not on a topic of its jobs.
    pub(super) fn may_output(&self, record: &ConsumerRecord) -> bool {
        !self.topics.contains(&record.partition.topic)
    }

    /// The input at a place.
    pub fn input(&self, Place { partition, life, offset, .. }: &Place) -> Option<&ConsumerRecord> {
        let at = |record: &ConsumerRecord| {
            let lives = || self::life(record).cmp(life);
            record.partition.cmp(partition).then_with(lives).then_with(|| record.offset.cmp(offset))
        };
        let index = self.inputs.binary_search_by(at).ok()?;
        self.inputs.get(index)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {}.{}", self.member, self.life)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)?;
        if self.life > 0 {
            write!(f, " of life {}", self.life)?;
        }
        write!(f, " (assignment {})", self.generation)
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.map_or_else(|| "world".to_owned(), |who| who.to_string());
        let at = self.at.as_secs_f64();
        write!(f, "{at:>9.3} s  step {:>5}  {who:<12} {}", self.step, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(group) => write!(f, "starts in group {group}"),
            Self::SessionEnded => f.write_str("is out of its group: its session has ended"),
            Self::Crashed => f.write_str("CRASHES"),
            Self::Paused => f.write_str("PAUSED"),
            Self::Woken => f.write_str("woken"),
            Self::Stopping => f.write_str("is asked to stop"),
            Self::Stopped { unfinished } => write!(f, "has stopped, {unfinished} unfinished"),
            Self::Broke(error) => write!(f, "has ended: {error}"),
            Self::Fault(fault) => write!(f, "FAULT {fault}"),
            Self::Healed => f.write_str("no fault from here on"),
            Self::Effect(name, When::Before) => write!(f, "... {name}"),
            Self::Effect(name, When::After) => write!(f, "{name} done"),
            Self::Removed { partition, before } => {
                write!(f, "retention removes {partition} below {before}")
            }
            Self::Truncated { partition, from, to } => {
                write!(f, "misses {from}..{to} of {partition}, lost to retention")
            }
            Self::BeganAnew(NewLife { partition, from, life, .. }) => {
                write!(f, "{partition} loses all from {from} on: life {life} begins")
            }
            Self::Reset(partition, reset) => write!(f, "begins {partition} anew: {reset}"),
            Self::Assigned(partition, generation) => {
                write!(f, "assigned {partition} (assignment {generation})")
            }
            Self::Revoked(partition) => write!(f, "asked for {partition}"),
            Self::Lost(partition) => write!(f, "lost {partition}"),
            Self::Released(partition) => write!(f, "released {partition}"),
            Self::CutOff(partition, unfinished) => write!(f, "cut off {unfinished} of {partition}"),
            Self::Fetched(place) => write!(f, "took in {place}"),
            Self::AlreadyFinished(place) => write!(f, "passed over {place}"),
            Self::Began(place) => write!(f, "executes {place}"),
            Self::Executed(place, None) => write!(f, "executed {place}"),
            Self::Executed(place, Some(kind)) => write!(f, "failed {place}: {kind:?}"),
            Self::Cancelled(place) => write!(f, "dropped the execution of {place}"),
            Self::Withdrawn(place) => write!(f, "withdrew the execution of {place}"),
            Self::Waits(place, delay) => write!(f, "tries {place} again in {delay:?}"),
            Self::Finished(place, fate) => write!(f, "finished {place}: {fate:?}"),
            Self::Published(outputs) => write!(f, "published {outputs} outputs"),
            Self::PublishFailed(error) => write!(f, "did not publish: {error}"),
            Self::CommitFailed(error) => write!(f, "did not commit: {error}"),
            Self::CloseFailed(error) => write!(f, "did not close: {error}"),
            Self::Committed(Commit { partition, position, .. }) => {
                let above: Vec<_> = position.finished_above().collect();
                write!(f, "COMMITTED {partition} up to {}", position.frontier())?;
                if above.is_empty() { Ok(()) } else { write!(f, " and {above:?}") }
            }
            Self::ForeignCommit(ForeignCommit { group, partition, before, after, .. }) => {
                let (before, after) = (before.frontier(), after.frontier());
                write!(f, "another program commits {partition} for {group}: {before} to {after}")
            }
        }
    }
}

/// The whole timeline, a line for each entry.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

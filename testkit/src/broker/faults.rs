//! The verbs that make things go wrong, on a schedule that the test decides.

use jobstream::record::{Topic, TopicPartition};
use tokio::time::Instant;

use super::Broker;
use super::member::{Member, MemberId, Process};
use super::operation::{Fault, Operation};
use super::topic::TopicOptions;

impl Broker {
    /// Fails the next `times` operations of this kind, after those that were set before.
    pub fn fail(&self, operation: Operation, times: usize, fault: Fault) {
        self.set_failures(operation, None, times, fault);
    }

    /// The same for one member and the sinks beside it. What is set for it comes before what is set
    /// for all.
    pub fn fail_member(&self, member: MemberId, operation: Operation, times: usize, fault: Fault) {
        self.set_failures(operation, Some(member), times, fault);
    }

    fn set_failures(
        &self,
        operation: Operation,
        member: Option<MemberId>,
        times: usize,
        fault: Fault,
    ) {
        self.change(|state| {
            let failures = state.failures.entry((operation, member)).or_default();
            failures.extend(std::iter::repeat_n(fault, times));
        });
    }

    /// Lets operations of this kind pend, without effect, until they are released.
    pub fn hold(&self, operation: Operation) {
        self.change(|state| state.held.insert((operation, None)));
    }

    /// The same for one member and the sinks beside it.
    pub fn hold_member(&self, member: MemberId, operation: Operation) {
        self.change(|state| state.held.insert((operation, Some(member))));
    }

    /// Lets held operations of this kind go on, and ends the faults that were set for it, those of
    /// single members included.
    pub fn release(&self, operation: Operation) {
        self.change(|state| {
            state.held.retain(|(held, _)| *held != operation);
            state.failures.retain(|(failing, _), _| *failing != operation);
        });
    }

    /// Ends everything that was set: failures, held operations, what is hidden, the broker's
    /// absence.
    pub fn heal(&self) {
        self.change(|state| {
            state.held.clear();
            state.failures.clear();
            state.members.iter_mut().for_each(Member::learn);
        });
        self.start();
    }

    /// Takes the broker away: every operation pends, and no session or transaction times out. What
    /// a stream has already fetched is still yielded.
    pub fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    /// Brings the broker back; sessions and transactions have their whole time again.
    pub fn start(&self) {
        self.change(|state| {
            state.stopped = false;
            state.renew_deadlines(Instant::now());
        });
    }

    /// Kills the process of a member: its stream yields nothing any more and its calls never
    /// complete. The group notices when the session times out or is [expired](Self::expire). A
    /// restarted process is another consumer. Dropping a consumer that was not closed does the
    /// same.
    pub fn crash(&self, member: MemberId) {
        self.change(|state| state.halt(member, Process::Crashed, Instant::now()));
    }

    /// Stops the process of a member, as SIGSTOP does: its stream and its calls pend, and its
    /// session runs out after the session timeout.
    pub fn suspend(&self, member: MemberId) {
        self.change(|state| state.halt(member, Process::Suspended, Instant::now()));
    }

    /// Lets a suspended member go on. If its session has run out meanwhile, it is a zombie: its
    /// stream yields `Lost`, at once or when that is no longer [hidden](Self::hide_loss); what it
    /// tries to commit is fenced, and it joins the group again.
    pub fn wake(&self, member: MemberId) {
        self.change(|state| state.wake(member, Instant::now()));
    }

    /// Ends the session of a member at once: its partitions go to others, its stream yields
    /// `Lost`, and it joins again when it runs.
    pub fn expire(&self, member: MemberId) {
        self.change(|state| state.expire(member));
    }

    /// Hides from a member that its session has ended, until that is [revealed](Self::reveal_loss).
    /// Its stream yields no `Lost`, and reads on what it was assigned, as Kafka lets anyone read;
    /// it does not join again. What else it asks for is answered as ever: positions are fenced,
    /// outputs without positions are taken.
    pub fn hide_loss(&self, member: MemberId) {
        self.change(|state| state.members[member.0].hides_loss = true);
    }

    /// Lets a member learn that its session has ended, if it has.
    pub fn reveal_loss(&self, member: MemberId) {
        self.change(|state| state.members[member.0].learn());
    }

    /// Moves a partition to a member of the group, until the group is rebalanced for another
    /// reason; its owner is asked for it.
    pub fn reassign(&self, group: &str, partition: &TopicPartition, to: MemberId) {
        self.change(|state| state.reassign(group, partition, to));
    }

    /// Drops the records of a partition below an offset, as `DeleteRecords` does. Records of open
    /// transactions stay.
    pub fn truncate(&self, partition: &TopicPartition, before: i64) {
        self.change(|state| {
            if let Some(log) = state.log_mut(partition) {
                log.truncate(before);
            }
        });
    }

    /// Loses the records of a partition at an offset and above, as an unclean election does. The
    /// next ones get these offsets again.
    pub fn lose_end(&self, partition: &TopicPartition, end: i64) {
        self.change(|state| {
            if let Some(log) = state.log_mut(partition) {
                log.cut(end);
            }
        });
    }

    /// Deletes a topic and creates it again: it is empty, has another id, and no group has
    /// committed anything for it. Members find out when they next look for records.
    pub fn recreate_topic(&self, topic: impl Into<Topic>, options: impl Into<TopicOptions>) {
        let (topic, options) = (topic.into(), options.into());
        self.change(|state| state.recreate_topic(&topic, &options));
    }

    /// Compacts a topic: of the records with one key in a partition, the last stays at its offset.
    pub fn compact(&self, topic: &str) {
        self.change(|state| {
            let logs = state.topics.get_mut(topic).map(|topic| topic.logs.iter_mut());
            logs.into_iter().flatten().for_each(super::log::Log::compact);
        });
    }
}

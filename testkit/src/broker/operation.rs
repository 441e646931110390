//! Operations: what a client asks of the broker, and what can be made of it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Broker;
use super::member::{MemberId, Process};
use super::state::State;
use super::witness::When;

/// How long a client waits before it tries again what failed for now.
pub(super) const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// A kind of operation that can fail or be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Joining the group, when a stream is first polled and after it lost its session.
    Join,
    /// Reading records, when there are some to read. What a stream has already fetched is still
    /// yielded while it is held.
    Fetch,
    /// Reading a part of a state store: its end, and then its entries.
    Restore,
    /// Beginning a transaction.
    BeginTransaction,
    /// Publishing outputs, in a transaction or not.
    Publish,
    /// Committing positions, in a transaction or not.
    Commit,
    /// Ending a transaction, with a commit or an abort.
    EndTransaction,
    /// Releasing revoked partitions.
    Release,
    /// Leaving the group.
    Leave,
}

/// How an operation fails; it has no effect then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A passing fault. The client tries again after 100 ms by itself, except that a plain
    /// `Source::commit` gives `CommitError::Transient`, and that a leave fails.
    Transient,
    /// What is published or committed is fenced: a plain commit gives `CommitError::Fenced`, a
    /// transactional producer is fenced as if by a newer one; the exactly-once pair then goes on with
    /// a new one. Elsewhere as `Broken`.
    Fenced,
    /// What is published or committed is refused this once: `SinkError::Aborted`,
    /// `CommitError::Transient`. Elsewhere as `Transient`.
    Aborted,
    /// The client is broken for good.
    Broken,
}

impl Fault {
    /// What it is where it hits.
    const fn on(self, operation: Operation) -> Self {
        match operation {
            Operation::Join
            | Operation::Fetch
            | Operation::Restore
            | Operation::Release
            | Operation::Leave => match self {
                Self::Transient | Self::Aborted => Self::Transient,
                Self::Fenced | Self::Broken => Self::Broken,
            },
            _ => self,
        }
    }
}

/// Whether an operation may go on.
#[derive(Debug)]
pub(super) enum Admission {
    Granted,
    Waits,
    Fails(Fault),
}

impl State {
    /// Decides on an operation of a client, and spends a fault that was set for it.
    pub(super) fn admit(&mut self, operation: Operation, member: Option<MemberId>) -> Admission {
        let runs = member.is_none_or(|id| self.members[id.0].process == Process::Running);
        let is_held = |whose| self.held.contains(&(operation, whose));
        if !runs || self.stopped || is_held(None) || member.is_some() && is_held(member) {
            return Admission::Waits;
        }
        let own = member.and_then(|_| self.next_failure(operation, member));
        match own.or_else(|| self.next_failure(operation, None)) {
            Some(fault) => Admission::Fails(fault.on(operation)),
            None => Admission::Granted,
        }
    }

    fn next_failure(&mut self, operation: Operation, whose: Option<MemberId>) -> Option<Fault> {
        self.failures.get_mut(&(operation, whose))?.pop_front()
    }
}

impl Broker {
    /// Applies an operation once it is admitted. Cancelled, it was applied or not, as a whole.
    pub(super) async fn perform<T: Send>(
        &self,
        operation: Operation,
        member: Option<MemberId>,
        mut apply: impl FnMut(&mut State) -> T + Send,
    ) -> Result<T, Fault> {
        self.reach(operation, When::Before).await;
        let outcome = loop {
            let changed = self.shared.changed.notified();
            let outcome = self.with(|state| {
                state.expire_overdue(Instant::now());
                match state.admit(operation, member) {
                    Admission::Granted => {
                        state.changed = true;
                        Some(Ok(apply(state)))
                    }
                    Admission::Fails(fault) => Some(Err(fault)),
                    Admission::Waits => None,
                }
            });
            match outcome {
                Some(outcome) => break outcome,
                None => changed.await,
            }
        };
        self.reach(operation, When::After).await;
        outcome
    }

    /// Yields once if the broker yields.
    async fn reach(&self, operation: Operation, when: When) {
        let mut yielded = !self.yields_at(operation, when);
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Notifies the witness; says whether the client is to yield once at this moment.
    pub(super) fn yields_at(&self, operation: Operation, when: When) -> bool {
        if let Some(witness) = &self.shared.witness {
            witness.on(operation, when);
        }
        self.shared.yields
    }

    /// The same, but tries again what fails for now.
    pub(super) async fn perform_at_last<T: Send>(
        &self,
        operation: Operation,
        member: Option<MemberId>,
        mut apply: impl FnMut(&mut State) -> T + Send,
    ) -> Result<T, Fault> {
        loop {
            match self.perform(operation, member, &mut apply).await {
                Err(Fault::Transient) => sleep(RETRY_BACKOFF).await,
                outcome => return outcome,
            }
        }
    }
}

//! The witness of every operation, by which a simulation can crash the client at each of them.

use super::member::MemberId;
use super::operation::Operation;

/// Which side of its effect an operation is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// The effect has not happened.
    Before,
    /// The effect has happened, or has failed; the client that asked for it does not know yet.
    After,
}

/// Is notified of the operations on a broker, and of what its clients do not know yet.
pub trait Witness: Send + Sync {
    /// The client that is being polled has come to this moment of an operation, and yields.
    fn on(&self, operation: Operation, when: When);

    /// The session of this member has ended, and it has not left: its partitions go to others, and
    /// it may not have learnt that yet.
    fn on_session_ended(&self, _: MemberId) {}
}

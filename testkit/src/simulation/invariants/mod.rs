//! The promises of jobstream that hold for any job sink, checked against a [`History`].
//!
//! | invariant | what it says |
//! |---|---|
//! | [`settles`] | without faults, everything comes to rest: no member hangs, no record is left |
//! | [`nothing_is_lost`] | every input has an output that a `read_committed` reader sees |
//! | [`outputs_are_exactly_once`] | in exactly-once mode every input has one output |
//! | [`positions_pass_nothing_unfinished`] | a record that a commit reports as finished has its output by then |
//! | [`keys_are_in_order`] | of the records with one key in a partition, first executions are in order, one at a time, the next after the acknowledgement of the last |
//! | [`nothing_is_executed_twice_in_an_assignment`] | what was executed is not executed again, but published again from memory |
//! | [`nothing_begins_after_a_loss`] | no execution for a partition that the member knows to be gone |
//! | [`limits_hold`] | no member exceeds its limits of records in flight and of attempts |
//! | [`hand_overs_repeat_nothing`] | what a member has handed over cleanly, no member executes again |

mod hand_over;
mod limits;
mod order;
mod outputs;
mod ownership;
mod positions;
#[cfg(test)]
mod test_history;

use super::history::{GroupHistory, History};

pub use hand_over::hand_overs_repeat_nothing;
pub use limits::limits_hold;
pub use order::{keys_are_in_order, nothing_is_executed_twice_in_an_assignment};
pub use outputs::{nothing_is_lost, outputs_are_exactly_once};
pub use ownership::nothing_begins_after_a_loss;
pub use positions::positions_pass_nothing_unfinished;

/// The name under which a panic is reported.
pub(super) const NO_PANIC: &str = "nothing panics";

/// An invariant of a group: an error says how it is broken.
pub type Holds = fn(&History, &GroupHistory) -> Result<(), String>;

/// The general invariants, with their names; a search checks all of them.
pub const ALL: [(&str, Holds); 9] = [
    ("no record is lost", nothing_is_lost),
    ("outputs are exactly once", outputs_are_exactly_once),
    ("positions pass nothing unfinished", positions_pass_nothing_unfinished),
    ("keys are in order", keys_are_in_order),
    ("nothing is executed twice in an assignment", nothing_is_executed_twice_in_an_assignment),
    ("nothing begins after a loss", nothing_begins_after_a_loss),
    ("limits hold", limits_hold),
    ("hand-overs repeat nothing", hand_overs_repeat_nothing),
    ("it settles without faults", settles),
];

/// Without faults, everything comes to rest: the group catches up, and every member stops.
///
/// # Errors
/// If it does not.
pub fn settles(history: &History, _: &GroupHistory) -> Result<(), String> {
    if history.settled {
        Ok(())
    } else {
        Err("records are left, or a member does not stop".to_owned())
    }
}

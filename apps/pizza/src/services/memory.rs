//! What a service remembers of orders: enough to know news that come again.
//!
//! Between the services nothing comes again, since their outputs and positions are one transaction.
//! But the web app may publish an order a second time: it can't know what became of one whose
//! acknowledgement it has not lived to write down. It does so for [a limited
//! time](crate::orders::PUBLISHED_WITHIN), and for longer than that every order is remembered that
//! is done with. The older ones are forgotten, some with each new one, so that a memory holds no
//! more than what is ordered in that time, and a third more.

use std::ops::Bound;
use std::time::Duration;

use jobstream::record::{ConsumerRecord, Timestamp};
use jobstream::sinks::JobError;
use jobstream::state::{Entry, State};

use crate::order_id::OrderId;
use crate::orders::PUBLISHED_WITHIN;

/// How long an order is remembered that is done with, by the time that the partition's records
/// show: a backlog takes no time.
const REMEMBERED_FOR: Duration = Duration::from_secs(48 * 3_600);

const _: () = assert!(REMEMBERED_FOR.as_secs() >= 2 * PUBLISHED_WITHIN.as_secs());

/// The entries that are looked at with each one that is kept: more than one, so that the old ones
/// are found faster than new ones come. Where one in four is too old, as many go as come.
const LOOKS: usize = 4;

/// Of an order that is done with.
pub(super) const DONE: &str = "done";

/// The memory that a job is given, and the time of its record.
pub(super) struct Memory<'a> {
    state: &'a State,
    now: Timestamp,
}

impl<'a> Memory<'a> {
    pub(super) fn at(record: &ConsumerRecord, state: &'a State) -> Self {
        // Kafka stamps every record.
        Self { state, now: record.timestamp.unwrap_or_default() }
    }

    /// What is remembered of an order.
    ///
    /// # Errors
    /// If it is nothing that a service writes.
    pub(super) fn of(&self, id: OrderId) -> Result<Option<String>, JobError> {
        let Some(value) = self.state.get(id.as_bytes()) else { return Ok(None) };
        let found = || format!("the memory of {id}: found {} bytes", value.len());
        match read(&value) {
            Some((_, what)) => Ok(Some(what.to_owned())),
            None => Err(JobError::permanent(found() + ", expected a time and what was then")),
        }
    }

    /// Remembers something of an order, in the place of what was, and forgets some that have been
    /// done with for long.
    pub(super) fn keep(&self, id: OrderId, what: &str) {
        self.state.put(id.as_bytes(), format!("{} {what}", self.now).as_bytes());
        let after = (Bound::Excluded(id.as_bytes()), Bound::Unbounded);
        let mut looked_at = self.state.range(after, LOOKS);
        let before = (Bound::Unbounded, Bound::Excluded(id.as_bytes()));
        looked_at.extend(self.state.range(before, LOOKS - looked_at.len()));
        for Entry { key, .. } in looked_at.iter().filter(|entry| self.is_over(&entry.value)) {
            self.state.remove(key);
        }
    }

    fn is_over(&self, value: &[u8]) -> bool {
        let forgotten = self.now.saturating_sub_unsigned(REMEMBERED_FOR.as_millis() as u64);
        read(value).is_some_and(|(at, what)| what == DONE && at < forgotten)
    }
}

/// When it was written, and what.
fn read(value: &[u8]) -> Option<(Timestamp, &str)> {
    let (at, what) = str::from_utf8(value).ok()?.split_once(' ')?;
    Some((at.parse().ok()?, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_time_and_what_was_then() {
        assert_eq!(read(b"1676235639159 done"), Some((1_676_235_639_159, DONE)));
        for wrong in [&b""[..], b"done", b"later done", b"\xff done"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}

//! What the ledger knows of a job, and how it lies in the state.

use crate::state::Value;

/// How a job stands. A job that the ledger has no entry of was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An attempt has begun, and nobody has written how it ended.
    Intent,
    /// The last attempt has certainly not executed it.
    NotExecuted,
    /// It was executed.
    Done,
    /// It was executed or not, and is not to be executed again.
    Parked,
}

impl Outcome {
    const ALL: [(Self, u8); 4] =
        [(Self::Intent, 1), (Self::NotExecuted, 2), (Self::Done, 3), (Self::Parked, 4)];

    fn tag(self) -> u8 {
        Self::ALL[self as usize].1
    }

    fn of_tag(tag: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == tag).map(|(outcome, _)| *outcome)
    }
}

/// An entry: 21 bytes, which take no memory of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LedgerEntry {
    pub(super) outcome: Outcome,
    /// The offset of the record that it was written for.
    pub(super) offset: i64,
    /// When it was written, in milliseconds since 1970.
    pub(super) written_ms: i64,
    /// How often the job was executed again after an end that left it open.
    pub(super) resends: u32,
}

impl LedgerEntry {
    pub(super) fn encode(&self) -> Value {
        let mut value = Value::new();
        value.push(self.outcome.tag());
        value.extend_from_slice(&self.offset.to_be_bytes());
        value.extend_from_slice(&self.written_ms.to_be_bytes());
        value.extend_from_slice(&self.resends.to_be_bytes());
        value
    }

    /// An entry that can't be read is the intent of a job that never ends: it leaves open whether
    /// the job was executed, and is never pruned.
    pub(super) fn decode(value: &[u8]) -> Self {
        let unreadable =
            Self { outcome: Outcome::Intent, offset: i64::MAX, written_ms: i64::MAX, resends: 0 };
        Self::read(value).unwrap_or(unreadable)
    }

    /// An entry, if it can be read.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (tag, rest) = value.split_first()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (written_ms, rest) = rest.split_first_chunk()?;
        let resends = rest.try_into().ok()?;
        Some(Self {
            outcome: Outcome::of_tag(*tag)?,
            offset: i64::from_be_bytes(*offset),
            written_ms: i64::from_be_bytes(*written_ms),
            resends: u32::from_be_bytes(resends),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_takes_no_memory_of_its_own() {
        for (outcome, _) in Outcome::ALL {
            let entry = LedgerEntry { outcome, offset: i64::MAX - 1, written_ms: -5, resends: 7 };
            let value = entry.encode();
            assert!(!value.spilled());
            assert_eq!(LedgerEntry::decode(&value), entry);
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_leaves_open_whether_the_job_was_executed() {
        let entry = LedgerEntry { outcome: Outcome::Done, offset: 1, written_ms: 2, resends: 0 };
        let value = entry.encode();
        let longer = [&value[..], b"x"].concat();
        for unreadable in [&value[..20], &longer, b"", &[9; 21]] {
            let read = LedgerEntry::decode(unreadable);
            assert_eq!((read.outcome, read.offset), (Outcome::Intent, i64::MAX));
        }
    }
}

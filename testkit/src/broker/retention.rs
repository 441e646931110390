//! What topics are configured to drop: by size, by age, and what a later record replaces.

use jobstream::record::Timestamp;

use super::log::Log;
use super::state::State;
use super::topic::TopicState;

impl State {
    /// Drops what no topic keeps any longer.
    pub(crate) fn sweep(&mut self) {
        let now = (self.wall_clock)();
        for topic in self.topics.values_mut() {
            self.changed |= topic.sweep(now);
        }
    }
}

impl TopicState {
    /// Says whether something is gone.
    fn sweep(&mut self, now: Timestamp) -> bool {
        let oldest =
            self.config.retention_ms().map(|retention| now.saturating_sub_unsigned(retention));
        let bytes = self.config.retention_bytes();
        let mut swept = false;
        for log in &mut self.logs {
            let start = log.start();
            if let Some(oldest) = oldest {
                log.drop_older(oldest);
            }
            if let Some(bytes) = bytes {
                log.drop_above(bytes);
            }
            swept |= log.start() > start;
            swept |= self.config.compacts() && log.compact_if_dirty();
        }
        swept
    }
}

impl Log {
    /// Compacts the log if half of it or more was appended since it was last compacted, as Kafka's
    /// `min.cleanable.dirty.ratio`. Says whether it did.
    fn compact_if_dirty(&mut self) -> bool {
        let (start, stable) = (self.start(), self.last_stable_offset());
        let clean = self.compacted_to().max(start);
        let is_dirty = stable > clean && (stable - clean) * 2 >= stable - start;
        if is_dirty {
            self.compact();
        }
        is_dirty
    }
}

//! What the scheduler needs to know of what it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};

use super::history::Who;
use super::slot::Life;

/// The members and the outside of one run.
pub(super) trait Cast {
    /// Begins a life of a member.
    fn start(&self, who: Who) -> Life;

    /// The groups, each with the topics that it consumes.
    fn groups(&self) -> Vec<(Arc<str>, Vec<Topic>)>;

    /// Which of the groups a member is in.
    fn group_of(&self, member: usize) -> usize;

    /// The topic of the jobs.
    fn input(&self) -> Topic;

    /// Whether commits say of which topic they are.
    fn commits_name_topics(&self) -> bool;

    /// The compacted topics of keyed state.
    fn state_topics(&self) -> Vec<Topic>;

    /// The offset that is next in each partition of the outputs' topics.
    fn output_ends(&self) -> BTreeMap<TopicPartition, i64>;

    /// Lets a misfortune of the outside strike.
    fn misfortune(&self, name: &'static str);

    /// Ends the misfortunes of the outside.
    fn heal(&self);
}

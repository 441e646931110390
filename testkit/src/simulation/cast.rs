//! What the scheduler needs to know about the members and the outside that it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};

use super::history::Who;
use super::slot::Life;

/// The members and the outside of one run.
pub(super) trait Cast {
    /// Starts a life of a member.
    fn start(&self, who: Who) -> Life;

    /// The groups, each with the topics that it consumes.
    fn groups(&self) -> Vec<(Arc<str>, Vec<Topic>)>;

    /// The number of a member's group.
    fn group_of(&self, member: usize) -> usize;

    /// Whether members are static, each with an instance that all its lives have.
    fn members_are_static(&self) -> bool;

    /// The topic of the jobs.
    fn input(&self) -> Topic;

    /// Whether commits name the topic that they were made for.
    fn commits_name_topics(&self) -> bool;

    /// The compacted topics of keyed state.
    fn state_topics(&self) -> Vec<Topic>;

    /// The next offset of each partition of the outputs' topics.
    fn output_ends(&self) -> BTreeMap<TopicPartition, i64>;

    /// Makes a misfortune of the outside happen.
    fn misfortune(&self, name: &'static str);

    /// Ends the misfortunes of the outside.
    fn heal(&self);
}

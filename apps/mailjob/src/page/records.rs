//! The records of a partition.

use axum::Json;
use axum::extract::{Path, State};
use jobstream::record::TopicPartition;

use super::Site;
use super::answer::Refusal;
use super::playground::RecordView;

/// The last records of a partition, the newest first.
pub(super) async fn list(
    State(site): State<Site>,
    Path((topic, partition)): Path<(String, i32)>,
) -> Result<Json<Vec<RecordView>>, Refusal> {
    let playground = site.page.playground.as_ref().ok_or(Refusal::Missing)?;
    let partition = TopicPartition::new(topic, partition);
    playground.records(&partition).map(Json).ok_or(Refusal::Missing)
}

//! What the topology relies on, stated once for every broker.
//!
//! ```text
//!                      ┌─▶ in-memory broker
//!  behaviours ─▶ Backend ─▶ its listener, through librdkafka
//!                      └─▶ Apache Kafka, through librdkafka
//! ```
//!
//! Each behaviour is an async function with a sentence for a name; it panics if the backend does
//! not show it. Behaviours follow Kafka's documented semantics, wait for conditions instead of
//! times, and share nothing: each makes topics and groups of its own. [`Features`] list what a
//! backend can do.
//!
//! A test file runs them one by one, or with [`all`].

use futures::future::BoxFuture;

mod backend;
mod members;
pub mod pauses;
pub mod positions;
pub mod rebalances;
pub mod records;
pub mod resets;
pub mod sinks;
pub mod static_members;
pub mod stores;
pub mod transactions;

pub use backend::{Backend, Features};
pub use members::Members;

/// One behaviour.
pub struct Behaviour<B: Backend> {
    /// The sentence that holds: the name of its function.
    pub name: &'static str,
    /// Whether the backend can do what the behaviour needs.
    pub applies: fn(&Features) -> bool,
    /// Checks it; panics if it does not hold.
    pub check: for<'a> fn(&'a B) -> BoxFuture<'a, ()>,
}

impl<B: Backend> std::fmt::Debug for Behaviour<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Behaviour").field(&self.name).finish()
    }
}

/// Registers behaviours: by module, each with the feature that it needs, if any.
macro_rules! register {
    (($d:tt) $($module:ident { $($name:ident $(where $feature:ident)?,)* })*) => {
        /// Every behaviour, in the order of the modules.
        pub fn behaviours<B: Backend>() -> Vec<Behaviour<B>> {
            vec![$($(Behaviour {
                name: stringify!($name),
                applies: |features| { let _ = features; true $(&& features.$feature)? },
                check: |backend| Box::pin($module::$name(backend)),
            },)*)*]
        }

        /// Makes a test of each behaviour, with this attribute and backend: for instance
        /// `conformance_tests!(#[tokio::test(start_paused = true)] Backend::start())`. For a
        /// backend that has all features.
        #[macro_export]
        macro_rules! conformance_tests {
            (#[$d ($d attribute:tt)*] $d backend:expr) => {
                $($(
                    #[$d ($d attribute)*]
                    async fn $name() {
                        $crate::conformance::$module::$name(&$d backend).await;
                    }
                )*)*
            };
        }
    };
}

register! {
    ($)
    records {
        records_of_a_partition_arrive_in_offset_order_after_their_assignment,
        every_record_carries_the_generation_of_its_assignment,
        the_events_of_a_source_are_given_once,
        null_and_empty_keys_and_values_survive,
        headers_survive_with_repeats_and_null_values,
        explicit_timestamps_survive,
        a_key_is_placed_by_the_crc_32_of_its_bytes,
    }
    pauses {
        a_paused_partition_yields_nothing_until_resumed,
        a_pause_in_mid_fetch_skips_and_repeats_nothing,
        a_pause_ends_with_the_assignment,
    }
    positions {
        a_group_without_a_commit_starts_at_the_earliest_record,
        the_next_member_starts_at_the_committed_frontier,
        the_finished_set_survives_a_hand_over,
        what_was_not_committed_is_delivered_again,
        groups_do_not_see_each_others_commits,
        a_commit_by_a_former_owner_is_fenced,
        a_commit_of_an_older_assignment_is_fenced,
        truncated_offsets_are_reported_and_passed_over where truncation,
    }
    resets {
        metadata_of_another_program_is_an_empty_set,
        a_set_that_was_copied_to_another_offset_is_an_empty_set,
        a_partition_with_a_commit_beyond_its_end_begins_anew,
        a_topic_created_anew_is_read_from_its_start where recreation,
        a_commit_of_the_topic_before_does_not_count where recreation,
        a_position_of_the_topic_before_is_fenced where recreation,
    }
    rebalances {
        members_share_the_partitions_and_each_has_one_owner,
        a_revoked_partition_stays_until_it_is_released,
        no_record_follows_the_revocation_of_its_partition,
        a_release_of_what_was_not_asked_back_is_passed_over,
        a_member_that_leaves_is_replaced,
        a_group_may_have_more_members_than_partitions,
        members_with_ranges_have_the_same_partitions_of_every_topic,
        a_kept_partition_goes_on_under_its_old_assignment where cooperative,
        a_crashed_member_is_replaced_and_its_records_come_again where crashes,
        an_expired_member_learns_of_its_loss_and_joins_again where expiry,
    }
    static_members {
        a_static_member_that_starts_again_has_its_partitions_without_a_rebalance
            where static_members,
        a_static_member_that_was_killed_and_starts_again_takes_its_partitions_over
            where static_members,
        a_static_member_that_stays_away_loses_its_partitions_with_its_session
            where static_members,
        a_second_process_with_the_same_instance_fences_the_first where static_members,
    }
    sinks {
        what_is_acknowledged_can_be_read_in_order,
        an_output_that_is_too_large_is_named_and_the_others_are_published,
        a_value_of_one_mebibyte_is_taken,
    }
    transactions {
        outputs_and_positions_are_published_together where transactions,
        a_pair_commits_positions_without_outputs_too where transactions,
        a_batch_with_a_stale_position_is_aborted_as_a_whole where transactions,
        a_batch_with_an_output_that_is_too_large_publishes_nothing where transactions,
        an_aborted_transaction_is_invisible_and_spends_offsets where transactions,
        an_open_transaction_hides_what_follows_until_it_is_fenced where transactions,
        a_newer_pair_fences_the_older_one where transactions,
    }
    stores {
        a_part_that_was_never_written_is_empty where transactions,
        a_restore_gives_the_last_value_of_each_key_of_its_partition where transactions,
        removed_keys_are_absent_and_empty_values_are_not where transactions,
        aborted_changes_are_not_restored where transactions,
        a_restore_waits_for_an_open_transaction where transactions,
        what_a_pair_has_committed_is_there_after_the_next_assignment where transactions,
        a_part_that_does_not_exist_breaks_the_store where transactions,
    }
}

/// Checks, one after another, every behaviour that the backend's features allow.
///
/// # Panics
/// At the first one that does not hold.
pub async fn all<B: Backend>(backend: &B) {
    let features = backend.features();
    for behaviour in behaviours::<B>() {
        if (behaviour.applies)(&features) {
            (behaviour.check)(backend).await;
        }
    }
}

//! The APIs of the protocol, a group of them in a file.

use super::dispatch::Api;

mod alter_configs;
mod cluster;
mod commits;
mod configs;
mod consumer_groups;
mod coordinator;
mod fetch;
mod group_admin;
mod groups;
mod list_offsets;
mod login;
mod metadata;
mod offsets;
mod produce;
mod producers;
mod reassignments;
mod records;
mod topic_admin;
mod transactions;
pub(super) mod versions;

#[cfg(feature = "programs")]
pub(super) use consumer_groups::topics;

/// Every group of APIs; the order means nothing.
pub(super) const GROUPS: &[fn() -> Vec<Api>] = &[
    alter_configs::apis,
    consumer_groups::apis,
    cluster::apis,
    commits::apis,
    configs::apis,
    coordinator::apis,
    fetch::apis,
    group_admin::apis,
    groups::apis,
    list_offsets::apis,
    login::apis,
    metadata::apis,
    offsets::apis,
    produce::apis,
    producers::apis,
    reassignments::apis,
    records::apis,
    topic_admin::apis,
    transactions::apis,
    versions::apis,
];

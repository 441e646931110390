//! The APIs of the protocol, a group of them in a file.

use super::dispatch::Api;

mod cluster;
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
mod records;
mod topic_admin;
mod transactional_offsets;
mod transactions;
pub(super) mod versions;

/// Every group of APIs; the order means nothing.
pub(super) const GROUPS: &[fn() -> Vec<Api>] = &[
    consumer_groups::apis,
    cluster::apis,
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
    records::apis,
    topic_admin::apis,
    transactional_offsets::apis,
    transactions::apis,
    versions::apis,
];

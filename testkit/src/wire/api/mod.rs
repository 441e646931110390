//! The APIs of the protocol, a group of them in a file.

use super::dispatch::Api;

mod coordinator;
mod fetch;
mod group_admin;
mod groups;
mod list_offsets;
mod metadata;
mod offsets;
mod produce;
mod producers;
pub(super) mod versions;

/// Every group of APIs; the order means nothing.
pub(super) const GROUPS: &[fn() -> Vec<Api>] = &[
    coordinator::apis,
    fetch::apis,
    group_admin::apis,
    groups::apis,
    list_offsets::apis,
    metadata::apis,
    offsets::apis,
    produce::apis,
    producers::apis,
    versions::apis,
];

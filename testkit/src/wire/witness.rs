//! The witness of every request, by which a search makes things go wrong at each of them.

use std::fmt;

use bytes::Bytes;

use super::faults::{FaultAct, Subject};

/// Is notified of the requests that a listener takes, in the task of their connection.
///
/// It must not wait: the broker goes on only when it returns.
pub trait WireWitness: fmt::Debug + Send + Sync {
    /// A request has come. The acts that are returned strike after those of the listener's faults.
    fn on_request(&self, request: &WireRequest<'_>) -> Vec<FaultAct>;

    /// A request was applied, and its client does not know yet. Not called for a request that was
    /// refused or cut off before it had an effect.
    fn on_applied(&self, request: &WireRequest<'_>);
}

/// A request as a witness sees it.
#[derive(Clone, Copy, Debug)]
pub struct WireRequest<'a> {
    pub(super) api: i16,
    pub(super) version: i16,
    pub(super) client: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) subject: &'a Subject,
}

impl WireRequest<'_> {
    /// The key of its API, as in Kafka's protocol.
    pub const fn api(&self) -> i16 {
        self.api
    }

    /// The version of the API.
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// What the client calls itself; empty if it has no name.
    pub const fn client(&self) -> &str {
        self.client
    }

    /// What follows the header, as it came.
    pub const fn body(&self) -> &Bytes {
        self.body
    }

    /// The groups that it names.
    pub fn groups(&self) -> &[String] {
        &self.subject.groups
    }

    /// The ids of members that it names; empty ids of members that have none yet are among them.
    pub fn members(&self) -> &[String] {
        &self.subject.members
    }

    /// The topics that it names, by their names or their ids.
    pub fn topics(&self) -> &[String] {
        &self.subject.topic_names
    }

    /// The transactional ids that it names.
    pub fn transactional_ids(&self) -> &[String] {
        &self.subject.transactional_ids
    }
}

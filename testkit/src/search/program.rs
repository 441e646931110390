//! The program that is searched, and the surroundings that it is given.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use super::jobs::Jobs;
use super::promise::Promise;

/// A program and its surroundings; all plays of a search have the same.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The jobs, in the order in which they are produced.
    pub jobs: Arc<Jobs>,
    /// The topic that they are produced to.
    pub input: String,
    /// The topics of outputs.
    pub outputs: Vec<String>,
    /// What the program promises.
    pub promise: Promise,
    /// Partitions of these topics.
    pub partitions: i32,
    /// Other topics, and their partitions. Any further topic that a client asks for has one.
    pub topics: Vec<(String, i32)>,
    /// How many processes of it run at once.
    pub members: usize,
    /// Nodes of the broker.
    pub nodes: usize,
    /// After what time a member that is killed or paused is out of its group, if it has asked for a
    /// longer session, and a transaction that it has left open is aborted.
    pub session_timeout_max: Duration,
    /// How long nothing may happen before the program is said to hang.
    pub peace: Duration,
    /// Whether there is a mail server: `SMTP_SERVER` is its `host:port`, `MAIL_SERVER_HOST` and
    /// `MAIL_SERVER_PORT` are the parts.
    pub inbox: bool,
    /// Whether there is an HTTP receiver: `HTTP_RECEIVER` is its URL.
    pub receiver: bool,
}

impl Program {
    /// A program that reads jobs from one topic, and has its outputs in others. The rest has the
    /// defaults of `broker search`.
    pub fn new(
        command: impl IntoIterator<Item = impl Into<OsString>>,
        jobs: Jobs,
        input: impl Into<String>,
        outputs: impl IntoIterator<Item = impl Into<String>>,
        promise: Promise,
    ) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            jobs: Arc::new(jobs),
            input: input.into(),
            outputs: outputs.into_iter().map(Into::into).collect(),
            promise,
            partitions: 2,
            topics: Vec::new(),
            members: 1,
            nodes: 2,
            session_timeout_max: Duration::from_secs(1),
            peace: Duration::from_secs(10),
            inbox: promise == Promise::OneMail,
            receiver: promise == Promise::OneRequest,
        }
    }
}

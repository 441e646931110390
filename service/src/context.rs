//! What an executor is made with, and what it adds to its service.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, pending, select_all};

use crate::Failure;
use crate::metrics::Monitor;
use crate::page::{Feed, Panel};
use crate::traces::Traces;

/// What is found, in words: that all is well, or what is not.
type Found = Result<String, String>;

/// What an executor is made with, and what it adds to its service.
#[derive(Default)]
pub struct Context {
    monitor: Option<Monitor>,
    feed: Option<Arc<Feed>>,
    traces: Option<Traces>,
    beside: Vec<BoxFuture<'static, Failure>>,
    at_the_end: Vec<Box<dyn FnOnce() + Send>>,
    checks: Vec<BoxFuture<'static, Found>>,
}

impl Context {
    pub(crate) fn new(
        monitor: Option<Monitor>,
        feed: Option<Arc<Feed>>,
        traces: Option<Traces>,
    ) -> Self {
        Self { monitor, feed, traces, ..Self::default() }
    }

    /// Where metrics of the service's own are registered, and its questions of probes; nothing if
    /// the settings say of no address where they are served.
    pub const fn monitor(&mut self) -> Option<&mut Monitor> {
        self.monitor.as_mut()
    }

    /// What the live page hears, if there is a page.
    pub const fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.as_ref()
    }

    /// Shows this on the live page, if there is one.
    pub fn panel(&self, panel: Arc<dyn Panel>) {
        if let Some(feed) = &self.feed {
            feed.add_panel(panel);
        }
    }

    /// What makes traces, if they are made.
    pub const fn traces(&self) -> Option<&Traces> {
        self.traces.as_ref()
    }

    /// Does this beside the jobs, on the same task, until the service has drained: then it is
    /// dropped. If it completes, the service ends at once with that failure.
    pub fn beside(&mut self, work: impl Future<Output = Failure> + Send + 'static) {
        self.beside.push(work.boxed());
    }

    /// Does this once the service has drained.
    pub fn at_the_end(&mut self, act: impl FnOnce() + Send + 'static) {
        self.at_the_end.push(Box::new(act));
    }

    /// Adds a line to what `check` prints: what was found, or what is wrong. Nothing else polls it.
    pub fn check(&mut self, check: impl Future<Output = Found> + Send + 'static) {
        self.checks.push(check.boxed());
    }

    pub(crate) fn take_monitor(&mut self) -> Option<Monitor> {
        self.monitor.take()
    }

    /// Completes with the first failure of what is done beside the jobs.
    pub(crate) fn take_beside(&mut self) -> BoxFuture<'static, Failure> {
        let beside = std::mem::take(&mut self.beside);
        if beside.is_empty() {
            return pending().boxed();
        }
        select_all(beside).map(|(failure, ..)| failure).boxed()
    }

    pub(crate) fn end(self) {
        self.at_the_end.into_iter().for_each(|act| act());
    }

    pub(crate) fn into_checks(self) -> Vec<BoxFuture<'static, Found>> {
        self.checks
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("monitor", &self.monitor)
            .field("feed", &self.feed)
            .field("traces", &self.traces)
            .finish_non_exhaustive()
    }
}

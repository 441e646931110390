//! A record on its way to the brokers.

use jobstream::record::{Headers, Topic};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

use super::span::{Beginning, fail};
use super::{Scope, SpanKind, Traces, context, messaging};
use crate::environment::now;

/// A record that is being published; dropped, its span ends.
#[derive(Debug)]
pub struct Sending {
    context: Context,
}

impl Sending {
    /// It is not going to be published, for a reason of bounded variety.
    pub fn fail(&self, reason: &'static str) {
        fail(&self.context, reason);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.context.span().end();
    }
}

impl Traces {
    /// Begins to publish a record to `topic`, within `scope`; its headers carry the context on.
    pub fn send(&self, scope: &Scope, topic: &Topic, headers: &mut Headers) -> Sending {
        let mut attributes = messaging::operation("send", "send");
        attributes.push(messaging::destination(topic));
        let beginning =
            Beginning { attributes, ..Beginning::new(format!("send {topic}"), SpanKind::Producer) };
        let context = beginning.at(now(), &scope.0, self);
        context::inject(context.span().span_context(), headers);
        Sending { context }
    }
}

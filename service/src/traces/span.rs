//! Spans that are made at once, or around something.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::{Scope, SpanKind, Traces};
use crate::environment::now;

/// The name of what went wrong, in OpenTelemetry's conventions.
const ERROR_TYPE: &str = "error.type";
/// What OpenTelemetry's conventions say where no better word is known.
const OTHER_ERROR: &str = "_OTHER";

/// What is known of a span when it begins.
pub(super) struct Beginning {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) links: Vec<SpanContext>,
}

impl Beginning {
    pub(super) fn new(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        Self { name: name.into(), kind, attributes: Vec::new(), links: Vec::new() }
    }

    /// Begins at that time, below `parent`; the context that it gives holds the span.
    pub(super) fn at(self, start: SystemTime, parent: &Context, traces: &Traces) -> Context {
        let tracer = &traces.tracer;
        let Self { name, kind, attributes, links } = self;
        let links = links.into_iter().map(opentelemetry::trace::Link::with_context);
        let span = tracer
            .span_builder(name)
            .with_kind(kind)
            .with_start_time(start)
            .with_attributes(attributes)
            .with_links(links.collect())
            .start_with_context(tracer, parent);
        Context::new().with_span(span)
    }
}

/// Marks the span of a context as failed, by a word of bounded variety.
pub(super) fn fail(context: &Context, error: &'static str) {
    let span = context.span();
    span.set_attribute(KeyValue::new(ERROR_TYPE, error));
    span.set_status(Status::error(""));
}

impl Traces {
    /// Makes a span of something that has just ended and took so long, below the span that is under
    /// way on this thread. If that one is not exported, it does nothing.
    pub fn passed(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        attributes: &[KeyValue],
        took: Duration,
        succeeded: bool,
    ) {
        let parent = Context::current();
        if !parent.span().is_recording() {
            return;
        }
        let beginning = Beginning { attributes: attributes.to_vec(), ..Beginning::new(name, kind) };
        let end = now();
        let context = beginning.at(end - took, &parent, self);
        if !succeeded {
            fail(&context, OTHER_ERROR);
        }
        context.span().end_with_timestamp(end);
    }

    /// Makes a span below `parent` of something that has just ended and took so long.
    pub(super) fn stage(&self, parent: &Context, name: &'static str, took: Duration) {
        if !parent.span().is_recording() {
            return;
        }
        let end = now();
        let stage = Beginning::new(name, SpanKind::Internal);
        stage.at(end - took, parent, self).span().end_with_timestamp(end);
    }

    /// Begins a trace with a request of HTTP by this method, to this route.
    pub fn request(&self, method: &str, route: &str) -> Request {
        let attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("http.route", route.to_owned()),
        ];
        let beginning = Beginning::new(format!("{method} {route}"), SpanKind::Server);
        let beginning = Beginning { attributes, ..beginning };
        Request { context: beginning.at(now(), &Context::new(), self) }
    }
}

/// A request that is being answered; dropped, it ends.
#[derive(Debug)]
pub struct Request {
    context: Context,
}

impl Request {
    /// Where what is done for the request belongs.
    pub fn scope(&self) -> Scope {
        Scope(self.context.clone())
    }

    /// It was answered with this status.
    pub fn answered(self, status: u16) {
        let span = self.context.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            fail(&self.context, OTHER_ERROR);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.context.span().end();
    }
}

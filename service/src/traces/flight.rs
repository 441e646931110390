//! The spans of a record in flight.

use jobstream::record::{ConsumerRecord, Headers, Topic};
use jobstream::sinks::JobError;
use jobstream::topology::Fate;
use opentelemetry::trace::{TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};

use super::span::{Beginning, fail};
use super::{Scope, Sending, SpanKind, Traces, context, messaging};
use crate::environment::now;

/// A record that was taken in and has not met its fate. Dropped, its spans end, in this order.
#[derive(Debug)]
pub(super) struct Flight {
    /// Its outputs.
    sends: Vec<Sending>,
    /// The attempt that is under way.
    execute: Option<Context>,
    process: Context,
}

impl Flight {
    /// The record was taken in. The context that it carries is the parent, and linked to, as the
    /// conventions have it for a consumer that processes one message at a time.
    pub(super) fn begin(traces: &Traces, record: &ConsumerRecord, group: &str) -> Self {
        let creation = context::extract(&record.headers);
        let parent = match &creation {
            Some(creation) => Context::new().with_remote_span_context(creation.clone()),
            None => Context::new(),
        };
        let mut attributes = messaging::operation("process", "process");
        attributes.extend(messaging::origin(record, group));
        let name = format!("process {}", record.partition.topic);
        let links = creation.into_iter().collect();
        let process = Beginning { attributes, links, ..Beginning::new(name, SpanKind::Consumer) };
        let process = process.at(now(), &parent, traces);
        Self { sends: Vec::new(), execute: None, process }
    }

    pub(super) fn process(&self) -> &Context {
        &self.process
    }

    pub(super) fn trace_id(&self) -> TraceId {
        self.process.span().span_context().trace_id()
    }

    /// The attempt that is under way; it begins when it is first polled.
    pub(super) fn execution(&mut self, traces: &Traces) -> Context {
        let process = &self.process;
        let execute = self.execute.get_or_insert_with(|| match process.span().is_recording() {
            true => Beginning::new("execute", SpanKind::Internal).at(now(), process, traces),
            false => process.clone(),
        });
        execute.clone()
    }

    /// The attempt has ended.
    pub(super) fn executed(&mut self, attempt: u32, error: Option<&JobError>) {
        let Some(execute) = self.execute.take() else { return };
        if !self.process.span().is_recording() {
            return;
        }
        let span = execute.span();
        span.set_attribute(KeyValue::new("jobstream.attempt", i64::from(attempt)));
        if let Some(error) = error {
            fail(&execute, error.kind().name());
        }
        span.end();
    }

    /// An output is made: its headers carry the context on.
    pub(super) fn output(&mut self, traces: &Traces, topic: &Topic, headers: &mut Headers) {
        let span = self.process.span();
        match span.is_recording() {
            true => {
                let scope = Scope(self.process.clone());
                self.sends.push(traces.send(&scope, topic, headers));
            }
            false => context::inject(span.span_context(), headers),
        }
    }

    /// The outputs so far are not going to be published.
    pub(super) fn refused(&mut self, reason: &'static str) {
        self.sends.drain(..).for_each(|send| send.fail(reason));
    }

    /// Something that is no span has happened.
    pub(super) fn note(&self, name: &'static str, attributes: Vec<KeyValue>) {
        self.process.span().add_event(name, attributes);
    }

    /// The record has met its fate.
    pub(super) fn finish(self, fate: Fate) {
        let (word, error) = match fate {
            Fate::Succeeded => ("succeeded", None),
            Fate::Failed(kind) => ("failed", Some(kind.name())),
            Fate::Skipped(_) => ("skipped", None),
            Fate::DeadLettered(reason) => ("dead-letter", Some(reason)),
            _ => ("other", None),
        };
        let span = self.process.span();
        span.set_attribute(KeyValue::new("jobstream.fate", word));
        if let Fate::Skipped(stage) = fate {
            span.set_attribute(KeyValue::new("jobstream.stage", stage));
        }
        error.into_iter().for_each(|error| fail(&self.process, error));
    }

    /// The record is left unfinished, for a reason of bounded variety.
    pub(super) fn abandon(self, reason: &'static str) {
        self.sends.iter().for_each(|send| send.fail(reason));
        self.execute.iter().for_each(|execute| fail(execute, reason));
        fail(&self.process, reason);
    }
}

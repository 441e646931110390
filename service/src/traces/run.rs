//! The events of runs, as spans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::record::{ConsumerRecord, Headers, Topic, TopicPartition};
use jobstream::sinks::Batch;
use jobstream::topology::{Event, Observer, Propagator, TOO_LARGE, Topology};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use super::flight::Flight;
use super::span::Beginning;
use super::{SpanKind, TraceId, Traces, context, messaging};
use crate::environment::now;

/// Makes spans of the events of one group's runs.
#[derive(Debug)]
pub struct RunTraces {
    traces: Traces,
    group: String,
    /// By partition and offset.
    flights: Mutex<BTreeMap<Place, Flight>>,
}

type Place = (TopicPartition, i64);

impl RunTraces {
    /// Spans of the runs of this consumer group.
    pub fn new(traces: Traces, group: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { traces, group: group.into(), flights: Mutex::default() })
    }

    /// The same topology, with traces.
    pub fn of(self: &Arc<Self>, topology: Topology) -> Topology {
        topology.with_observer(self.clone()).with_propagator(self.clone())
    }

    /// The trace of a record in flight. An observer that asks when the record is finished must have
    /// been added before this one.
    pub fn trace_id(&self, record: &ConsumerRecord) -> Option<TraceId> {
        self.with(record, |flight| flight.trace_id())
    }

    fn with<T>(&self, record: &ConsumerRecord, act: impl FnOnce(&mut Flight) -> T) -> Option<T> {
        self.flights().get_mut(&place(record)).map(act)
    }

    fn begin(&self, record: &ConsumerRecord) {
        let flight = Flight::begin(&self.traces, record, &self.group);
        self.flights().insert(place(record), flight);
    }

    fn stage(&self, record: &ConsumerRecord, name: &'static str, took: Duration) {
        self.with(record, |flight| self.traces.stage(flight.process(), name, took));
    }

    /// Records of a batch may be of many traces: it is linked to each.
    fn published(&self, batch: &Batch, took: Duration) {
        let sends = batch.outputs.iter().filter_map(|output| context::extract(&output.headers));
        let links: Vec<_> = sends.filter(SpanContext::is_sampled).collect();
        if links.is_empty() {
            return;
        }
        let mut attributes = messaging::operation("publish", "send");
        attributes.push(messaging::batch_size(batch.outputs.len()));
        let beginning =
            Beginning { attributes, links, ..Beginning::new("publish", SpanKind::Client) };
        let end = now();
        let batch = beginning.at(end - took, &Context::new(), &self.traces);
        batch.span().end_with_timestamp(end);
    }

    /// What was in flight of a partition is not finished here.
    fn abandon(&self, partition: &TopicPartition, reason: &'static str) {
        let mut flights = self.flights();
        let all = (partition.clone(), i64::MIN)..=(partition.clone(), i64::MAX);
        let places: Vec<_> = flights.range(all).map(|(place, _)| place.clone()).collect();
        for flight in places.iter().filter_map(|place| flights.remove(place)) {
            flight.abandon(reason);
        }
    }

    fn abandon_all(&self, reason: &'static str) {
        let flights = std::mem::take(&mut *self.flights());
        flights.into_values().for_each(|flight| flight.abandon(reason));
    }

    fn flights(&self) -> MutexGuard<'_, BTreeMap<Place, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in flight then was cut off.
impl Drop for RunTraces {
    fn drop(&mut self) {
        self.abandon_all("unfinished");
    }
}

impl Observer for RunTraces {
    fn on(&self, event: &Event<'_>) {
        match *event {
            Event::Fetched(record) => self.begin(record),
            Event::Decoded { record, took } => self.stage(record, "decode", took),
            Event::Filtered { record, took } => self.stage(record, "filter", took),
            Event::Encoded { record, took } => self.stage(record, "encode", took),
            Event::Executed { record, attempt, error, .. } => {
                self.with(record, |flight| flight.executed(attempt, error));
            }
            Event::Retried { record, delay, .. } => {
                let delay = KeyValue::new("jobstream.delay_seconds", delay.as_secs_f64());
                self.with(record, |flight| flight.note("retry", vec![delay]));
            }
            Event::Suspended { record, .. } => {
                self.with(record, |flight| flight.note("suspend", Vec::new()));
            }
            Event::DeadLettered { record, reason: TOO_LARGE, .. } => {
                self.with(record, |flight| flight.refused(TOO_LARGE));
            }
            Event::Published { batch, took, .. } => self.published(batch, took),
            Event::Finished { record, fate, .. } => {
                let flight = self.flights().remove(&place(record));
                flight.into_iter().for_each(|flight| flight.finish(fate));
            }
            Event::Lost(partition) => self.abandon(partition, "lost"),
            Event::Released(partition) => self.abandon(partition, "unfinished"),
            _ => {}
        }
    }
}

impl Propagator for RunTraces {
    fn inject(&self, record: &ConsumerRecord, topic: &Topic, headers: &mut Headers) {
        self.with(record, |flight| flight.output(&self.traces, topic, headers));
    }

    fn within(&self, record: &ConsumerRecord, poll: &mut dyn FnMut()) {
        let execution = self.with(record, |flight| flight.execution(&self.traces));
        let _entered = execution.map(Context::attach);
        poll();
    }
}

fn place(record: &ConsumerRecord) -> Place {
    (record.partition.clone(), record.offset)
}

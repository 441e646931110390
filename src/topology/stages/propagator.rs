//! How the context of a record, such as the trace that it belongs to, reaches the job sink and goes
//! on with the outputs.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures::future::{BoxFuture, FutureExt as _};

use crate::record::{ConsumerRecord, Headers, ProducerRecord, Topic};

/// Hands the context of a record on, on the run's own task: it must return soon and must not block.
pub trait Propagator: Send + Sync {
    /// Sets headers of an output that was made of `record` and is going to `topic`: a result, a dead
    /// letter or what goes beside it, but no keyed state. It is called once for each, before it is
    /// published; what is published again keeps its headers.
    fn inject(&self, record: &ConsumerRecord, topic: &Topic, headers: &mut Headers);

    /// Calls `poll`, once, in the context of an execution of `record`: this is where the job sink
    /// is polled.
    fn within(&self, record: &ConsumerRecord, poll: &mut dyn FnMut());
}

/// The propagator of a topology, if it has one.
#[derive(Clone, Default)]
pub(in crate::topology) struct Propagation(Option<Arc<dyn Propagator>>);

impl Propagation {
    pub(in crate::topology) const fn by(propagator: Arc<dyn Propagator>) -> Self {
        Self(Some(propagator))
    }

    pub(in crate::topology) fn inject(
        &self,
        record: &ConsumerRecord,
        outputs: &mut [ProducerRecord],
    ) {
        let Some(propagator) = &self.0 else { return };
        for ProducerRecord { topic, headers, .. } in outputs {
            propagator.inject(record, topic, headers);
        }
    }

    /// The same execution; each of its polls is in the record's context.
    pub(in crate::topology) fn within<'a, T: Send + 'a>(
        &'a self,
        record: &'a ConsumerRecord,
        mut execution: BoxFuture<'a, T>,
    ) -> BoxFuture<'a, T> {
        let Some(propagator) = &self.0 else { return execution };
        Box::pin(poll_fn(move |cx| {
            let mut polled = Poll::Pending;
            propagator.within(record, &mut || polled = execution.poll_unpin(cx));
            polled
        }))
    }
}

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a propagator" } else { "none" })
    }
}

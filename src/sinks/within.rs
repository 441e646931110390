//! An attempt within its time limit.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Effect, JobError, JobSink};
use crate::record::ConsumerRecord;

/// Executes a job once. At the limit the attempt is dropped, and the job sink says what has come of
/// it. Time in which it [waits](Effect::wait_for) does not count.
///
/// # Cancellation
/// See [`JobSink::execute`].
pub(crate) async fn execute_within<In: Sync, Out>(
    sink: &dyn JobSink<In, Out>,
    input: &In,
    record: &ConsumerRecord,
    effect: &Effect,
    limit: Option<Duration>,
) -> Result<Out, JobError> {
    let mut execution = sink.execute_with_effect(input, record, effect);
    let Some(limit) = limit else { return execution.await };
    let mut end = pin!(sleep(limit));
    let mut waits_since = None;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = execution.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        if effect.waits() {
            waits_since.get_or_insert_with(Instant::now);
            return Poll::Pending;
        }
        if let Some(since) = waits_since.take() {
            let later = end.deadline() + since.elapsed();
            end.as_mut().reset(later);
        }
        end.as_mut().poll(cx).map(|()| Err(sink.timed_out(effect, limit)))
    })
    .await
}

//! Several webhooks in one request, whose body is a JSON array of `{"id": "msg_...", "body": ...}`.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jobstream::sinks::{BatchJob, BatchJobSink, Batches, Effect, JobError, JobErrorKind};
use ring::digest::{SHA256, digest};

use crate::fate::Answer;
use crate::job::{Request, WebhookJob};
use crate::sink::Webhook;

impl Webhook {
    /// Posts several jobs in one request, as far as its settings allow.
    pub fn in_batches(self) -> Batches<WebhookJob, Answer> {
        let limits = self.settings.batch;
        Batches::new(Arc::new(self), limits).grouped_by(WebhookJob::group)
    }

    /// Posts jobs of the first one's group in one request. Its id is a function of its body.
    async fn deliver_together(
        &self,
        first: &WebhookJob,
        jobs: &[BatchJob<WebhookJob>],
    ) -> Result<Answer, JobError> {
        let mut request = Request::clone(first.request().map_err(JobError::permanent)?);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let elements: Vec<_> = jobs.iter().map(|job| job.input.element()).collect();
        request.body = format!("[{}]", elements.join(",")).into();
        let hash = digest(&SHA256, &request.body);
        let half = hash.as_ref().first_chunk().copied().unwrap_or_default();
        let id = format!("msg_{:032x}", u128::from_be_bytes(half));
        self.deliver(&id, &request, &Effect::new()).await
    }
}

#[async_trait]
impl BatchJobSink<WebhookJob, Answer> for Webhook {
    /// The answer counts for each job. If it refuses them for good, each is posted once more by itself:
    /// one of them may be what is refused.
    async fn execute(&self, jobs: &[BatchJob<WebhookJob>]) -> Vec<Result<Answer, JobError>> {
        let Some(first) = jobs.first() else { return Vec::new() };
        let outcome = self.deliver_together(&first.input, jobs).await;
        let is_final = |error: &JobError| error.kind() == JobErrorKind::Permanent;
        if jobs.len() == 1 || !outcome.as_ref().is_err_and(is_final) {
            return vec![outcome; jobs.len()];
        }
        let mut outcomes = Vec::new();
        for job in jobs.chunks(1) {
            outcomes.push(self.deliver_together(&job[0].input, job).await);
        }
        outcomes
    }
}

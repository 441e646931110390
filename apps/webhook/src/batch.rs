//! Several webhooks in one request, whose body is a JSON array of `{"id": "msg_...", "body": ...}`.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jobstream::sinks::{BatchJob, BatchJobSink, Batches, Effect, JobError, JobErrorKind};
use ring::digest::{SHA256, digest};

use crate::fate::Answer;
use crate::job::{Request, WebhookJob};
use crate::sink::Webhook;

impl Webhook {
    /// Posts several jobs in one request, as far as its settings allow.
    pub fn in_batches(self) -> Batches<WebhookJob, Answer> {
        let (limits, webhook) = (self.settings.batch, Arc::new(self));
        Batches::new(webhook.clone(), limits).grouped_by(move |job: &WebhookJob| {
            let alone = webhook.alone.lock().unwrap_or_else(PoisonError::into_inner);
            Some(job.webhook_id()).filter(|id| alone.contains(id)).unwrap_or_else(|| job.group())
        })
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
        let id = format!("msg_{}", BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &request.body)));
        self.deliver(&id, &request, &Effect::new()).await
    }
}

#[async_trait]
impl BatchJobSink<WebhookJob, Answer> for Webhook {
    /// The answer counts for each job. If it refuses them for good, each is posted once more by itself:
    /// one of them may be what is refused.
    async fn execute(&self, jobs: &[BatchJob<WebhookJob>]) -> Vec<Result<Answer, JobError>> {
        let Some(first) = jobs.first() else { return Vec::new() };
        let mut outcome = self.deliver_together(&first.input, jobs).await;
        let is_final = |error: &&JobError| error.kind() == JobErrorKind::Permanent;
        let refused = outcome.as_ref().err().filter(is_final).map(ToString::to_string);
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.filter(|_| jobs.len() > 1 && alone.len() < 10_000) {
            Some(reason) => {
                alone.extend(jobs.iter().map(|job| job.input.webhook_id()));
                outcome = Err(JobError::unavailable(reason));
            }
            None => jobs.iter().for_each(|job| _ = alone.remove(&job.input.webhook_id())),
        }
        vec![outcome; jobs.len()]
    }
}

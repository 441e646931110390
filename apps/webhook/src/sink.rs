//! The job sink: posts webhooks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use http_body_util::Full;
use hyper::Method;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue,
    InvalidHeaderValue, LOCATION, USER_AGENT,
};
use hyper::http::response::Parts;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::WallClock;
use jobstream::sinks::{Circuits, Effect, JobError, JobErrorKind, JobSink};
use jobstream_service::outbound::{ConnectError, Connector, Network, Stream, exchange};
use tokio::time::{Instant, timeout_at};

use crate::fate::{Answer, behind, fate};
use crate::job::{Request, WebhookJob};
use crate::settings::WebhookSettings;
use crate::target::Target;

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("jobstream-webhook/", env!("CARGO_PKG_VERSION")));

/// Posts webhooks.
pub struct Webhook {
    pub(crate) settings: WebhookSettings,
    connector: Connector,
    circuits: Circuits,
    clock: WallClock,
    /// The ids of jobs whose batch was refused: each goes alone.
    pub(crate) alone: Mutex<BTreeSet<String>>,
}

impl Webhook {
    /// Posts over this network; the clock is what timestamps and dates are judged by.
    pub fn new(settings: WebhookSettings, network: Arc<dyn Network>, clock: WallClock) -> Self {
        let connector = Connector::new(network, &settings.trust, settings.connect_timeout);
        let connector = connector.allow_private(settings.allow_private);
        Self { settings, connector, circuits: Circuits::new(), clock, alone: Mutex::default() }
    }

    /// Posts a webhook of this id once, and says what its answer means.
    pub(crate) async fn deliver(
        &self,
        id: &str,
        request: &Request,
        effect: &Effect,
    ) -> Result<Answer, JobError> {
        let trial = self.circuits.admit(request.target.host())?;
        let limit = self.settings.timeout;
        let limit = request.timeout.map_or(limit, |timeout| timeout.min(limit));
        let answer = match self.post(id, request, effect, Instant::now() + limit).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == JobErrorKind::Permanent => {
                trial.answered();
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let outcome = fate(answer.status, &answer.headers, (self.clock)());
        match outcome.as_ref().err().and_then(JobError::earliest) {
            Some(pause) => trial.asked_for(pause),
            None => trial.answered(),
        }
        outcome
    }

    /// Posts a webhook, and follows redirects as far as they are allowed. Fails if there is no answer.
    async fn post(
        &self,
        id: &str,
        request: &Request,
        effect: &Effect,
        until: Instant,
    ) -> Result<Parts, JobError> {
        let mut target = request.target.clone();
        let (mut redirects, mut redirected) = (self.settings.redirects, None);
        loop {
            let answer = async {
                let stream = self.connected(&target, until).await?;
                let signed = self.signed(id, request, &target);
                let signed = signed.map_err(|error| JobError::permanent(error.to_string()))?;
                effect.begin();
                let answer = exchange(stream, signed, self.settings.answer_bytes, until).await;
                answer.map_err(JobError::ambiguous)
            };
            let answer = answer.await.map_err(|error| behind(redirected, error))?;
            let Some(location) = redirect(&answer).filter(|_| redirects > 0) else {
                return Ok(answer);
            };
            effect.take_back();
            redirects -= 1;
            redirected = Some(answer.status);
            let wrong = |found| JobError::permanent(format!("Location: {found}"));
            let next = target.redirected(location);
            target = next.map_err(|found| behind(redirected, wrong(found)))?;
        }
    }

    async fn connected(&self, to: &Target, until: Instant) -> Result<Box<dyn Stream>, JobError> {
        let connecting = self.connector.connect(to.host(), to.port(), to.is_encrypted());
        match timeout_at(until, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(ConnectError::Unreachable(problem))) => Err(JobError::transient(problem)),
            Ok(Err(error @ ConnectError::NotPublic)) => Err(JobError::permanent(format!(
                "Url: {error} (WEBHOOK_ALLOW_PRIVATE=true allows others)"
            ))),
            Ok(Err(error)) => Err(JobError::permanent(format!("Url: {error}"))),
            Err(_) => Err(JobError::transient("no connection within the time limit")),
        }
    }

    /// The request to a target, signed now. Credentials are for the origin alone that the job names.
    fn signed(
        &self,
        id: &str,
        request: &Request,
        target: &Target,
    ) -> Result<hyper::Request<Full<bytes::Bytes>>, hyper::http::Error> {
        let mut headers = request.headers.clone();
        if !target.has_origin_of(&request.target) {
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
        }
        self.sign(id, &request.body, &mut headers)?;
        // hyper leaves out that of an empty body, which RFC 9110 section 8.6 wants.
        if request.method != Method::DELETE {
            headers.insert(CONTENT_LENGTH, request.body.len().into());
        }
        headers.insert(HOST, target.authority.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.entry(USER_AGENT).or_insert(AGENT);
        let mut signed = hyper::Request::builder()
            .method(request.method.clone())
            .uri(target.uri.clone())
            .body(Full::new(request.body.clone()))?;
        *signed.headers_mut() = headers;
        Ok(signed)
    }

    fn sign(
        &self,
        id: &str,
        body: &[u8],
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeaderValue> {
        let now = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        headers.insert("webhook-id", id.try_into()?);
        headers.insert("webhook-timestamp", now.into());
        if let Some(signature) = self.settings.secrets.sign(id, now, body) {
            headers.insert("webhook-signature", signature.try_into()?);
        }
        Ok(())
    }
}

#[async_trait]
impl JobSink<WebhookJob, Answer> for Webhook {
    async fn execute(&self, job: &WebhookJob, record: &ConsumerRecord) -> Result<Answer, JobError> {
        self.execute_with_effect(job, record, &Effect::new()).await
    }

    async fn execute_with_effect(
        &self,
        job: &WebhookJob,
        _: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<Answer, JobError> {
        let request = job.request().map_err(JobError::permanent)?;
        self.deliver(&job.webhook_id(), request, effect).await
    }
}

/// Where an answer redirects to, if what it was given is to be given to somebody else; after a 303 it
/// would be asked for.
fn redirect(answer: &Parts) -> Option<&str> {
    let is_redirect = matches!(answer.status.as_u16(), 301 | 302 | 307 | 308);
    let location = answer.headers.get(LOCATION).filter(|_| is_redirect)?;
    location.to_str().ok()
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("settings", &self.settings).finish_non_exhaustive()
    }
}

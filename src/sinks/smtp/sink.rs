//! The mail sink.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{join_all, select_all};

use crate::job::Job;
use crate::record::ConsumerRecord;
use crate::sinks::{Effect, JobError, JobErrorKind, JobSink};

use super::config::{ConfigError, MailConfig, RelayConfig, TimeLimits};
use super::connect::{Connect, TcpConnect};
use super::fault::ServerFault;
use super::message::{Mail, Sender};
use super::observer::Observer;
use super::relay::{Relay, ServerReport};
use super::reply::Reply;
use super::server::Server;

/// Why not every server can take a mail.
const NEEDS_SMTPUTF8: &str = "an address has a local part beyond ASCII, which needs SMTPUTF8";

/// Sends the mails of jobs to the first of its servers that is well. See the [module](super) for
/// what is promised.
pub struct MailSink {
    sender: Sender,
    limits: TimeLimits,
    /// In order of preference; at least one.
    relays: Vec<Relay>,
}

/// A mail that a server has accepted. The default is none: without `Message-ID` and reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Its `Message-ID`, with angle brackets: the same for every attempt of one job.
    pub message_id: String,
    /// The server's reply to the final dot, on one line.
    pub reply: String,
    /// The [name](Relay::name) of the server, if the sink has several.
    pub relay: Option<Arc<str>>,
}

impl MailSink {
    /// A sink that connects over TCP. Nothing is connected yet.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: &MailConfig) -> Result<Self, ConfigError> {
        Self::over(config, |relay| (tcp(relay), Arc::new(())))
    }

    /// A sink whose streams, to whichever relay, come from `connect`, and which notifies `observer`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn with(
        config: &MailConfig,
        connect: Arc<dyn Connect>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ConfigError> {
        Self::over(config, move |_| (Arc::clone(&connect), Arc::clone(&observer)))
    }

    /// A sink that connects over TCP, and notifies of what it does at a relay the observer that
    /// `observer` gives for that relay.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn with_observer(
        config: &MailConfig,
        observer: impl Fn(&RelayConfig) -> Arc<dyn Observer>,
    ) -> Result<Self, ConfigError> {
        Self::over(config, |relay| (tcp(relay), observer(relay)))
    }

    /// A sink with the ends that `ends` gives for each relay: what connects to it, and what is
    /// notified of what the sink does there.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn over(
        config: &MailConfig,
        ends: impl Fn(&RelayConfig) -> (Arc<dyn Connect>, Arc<dyn Observer>),
    ) -> Result<Self, ConfigError> {
        let sender = config.sender()?;
        let is_alone = config.relays.len() == 1;
        let mut names = BTreeSet::new();
        let relay = |relay: &RelayConfig| {
            let name: Arc<str> = relay.name().into();
            // The names of hosts know no case.
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(ConfigError::Twice(name.to_string()));
            }
            let (connect, observer) = ends(relay);
            match Server::new(config, relay, &sender, connect, observer) {
                Ok(server) => Ok(Relay::new(name, server)),
                Err(error) if is_alone => Err(error),
                Err(error) => {
                    Err(ConfigError::Relay { name: name.to_string(), error: Box::new(error) })
                }
            }
        };
        let relays = config.relays.iter().map(relay).collect::<Result<Vec<_>, _>>()?;
        if relays.is_empty() {
            return Err(ConfigError::Host { found: String::new() });
        }
        Ok(Self { sender, limits: config.limits, relays })
    }

    /// The servers, in order of preference.
    pub fn relays(&self) -> impl ExactSizeIterator<Item = &Relay> {
        self.relays.iter()
    }

    /// [Checks](Relay::check_within) every relay, within the limits of mails; gives what the first
    /// one is.
    ///
    /// # Errors
    /// The fault of the first relay that has one.
    pub async fn check(&self) -> Result<ServerReport, ServerFault> {
        let checks = self.relays.iter().map(|relay| relay.check_within(&self.limits));
        let mut checked = join_all(checks).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(checked.swap_remove(0))
    }

    /// Closes idle connections when their time is up, goes on with those that are being opened
    /// while no mail waits for them, and asks relays that are away whether they are back; never
    /// completes. It is to be polled beside the topology. Without it all of this is done when the
    /// next mail is sent. Dropping the future changes nothing.
    pub async fn retire_idle(&self) {
        join_all(self.relays.iter().map(Relay::attend)).await;
    }

    /// Closes the idle connections, with QUIT, without waiting for its answer, and those that are
    /// being opened while no mail waits. Sends under way go on.
    pub fn close_idle(&self) {
        self.relays.iter().for_each(Relay::close_idle);
    }

    /// Connections that are open, idle ones included.
    pub fn open_connections(&self) -> usize {
        self.relays.iter().map(Relay::open_connections).sum()
    }

    /// Why nothing is sent at present, if no relay is well.
    pub fn unavailable_reason(&self) -> Option<String> {
        let reasons = self
            .relays
            .iter()
            .map(|relay| relay.unavailable_reason().map(|reason| self.named(relay, &reason)));
        reasons.collect::<Option<Vec<_>>>().map(|reasons| reasons.join("; "))
    }

    /// Sends to one relay. Meanwhile those that are preferred to it are asked whether they are back.
    async fn send(
        &self,
        place: usize,
        mail: &Arc<Mail>,
        effect: &Effect,
    ) -> Result<Option<Reply>, JobError> {
        let (preferred, relay) = (&self.relays[..place], &self.relays[place]);
        if preferred.is_empty() {
            return relay.send(mail, effect).await;
        }
        tokio::select! {
            biased;
            ended = relay.send(mail, effect) => ended,
            _ = join_all(preferred.iter().map(Relay::recover)) => unreachable!("it never completes"),
        }
    }

    fn accepted(&self, relay: &Relay, mail: &Mail, reply: &Reply) -> Accepted {
        Accepted {
            message_id: mail.message_id.clone(),
            reply: reply.to_string(),
            relay: (self.relays.len() > 1).then(|| Arc::clone(relay.name())),
        }
    }

    /// A reason, with the relay that it is about where there are several.
    fn named(&self, relay: &Relay, reason: &str) -> String {
        match self.relays.len() {
            1 => reason.to_owned(),
            _ => format!("{}: {reason}", relay.name()),
        }
    }
}

fn tcp(relay: &RelayConfig) -> Arc<dyn Connect> {
    Arc::new(TcpConnect::new(relay.host.clone(), relay.port))
}

#[async_trait]
impl JobSink<Job, Accepted> for MailSink {
    /// Sends the mail of a job. Dropping the future closes its connection; if the write with the
    /// final dot had begun, the server may have the mail or not.
    async fn execute(&self, job: &Job, record: &ConsumerRecord) -> Result<Accepted, JobError> {
        self.execute_with_effect(job, record, &Effect::new()).await
    }

    /// The effect begins with the write that holds the final dot.
    async fn execute_with_effect(
        &self,
        job: &Job,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<Accepted, JobError> {
        let mail = Arc::new(self.sender.mail(job, record)?);
        let (mut unavailable, mut lacks_smtputf8) = (Vec::new(), false);
        for (place, relay) in self.relays.iter().enumerate() {
            match self.send(place, &mail, effect).await {
                Err(error) if error.kind() == JobErrorKind::Unavailable => {
                    // It was certainly not sent, and the next relay has its turn.
                    effect.take_back();
                    unavailable.push(self.named(relay, error.reason()));
                }
                Err(error) => {
                    return Err(JobError::new(error.kind(), self.named(relay, error.reason())));
                }
                // The next relay may offer it.
                Ok(None) => lacks_smtputf8 = true,
                Ok(Some(reply)) => {
                    self.relays[..place].iter().for_each(|relay| relay.forget(&mail));
                    return Ok(self.accepted(relay, &mail, &reply));
                }
            }
        }
        let unavailable = unavailable.join("; ");
        Err(match (lacks_smtputf8, &*unavailable) {
            (false, _) => JobError::unavailable(unavailable),
            (true, "") => JobError::permanent(format!("{NEEDS_SMTPUTF8}, and no server offers it")),
            // What can take it may be back later; the others go on meanwhile.
            (true, away) => JobError::transient(format!("{NEEDS_SMTPUTF8}; {away}")),
        })
    }

    /// Pending while no relay is well. The calls that wait here ask the servers, each one at a time,
    /// whether they are back.
    async fn ready(&self) {
        while self.relays.iter().all(Relay::is_away) {
            select_all(self.relays.iter().map(Relay::recovered)).await;
        }
    }
}

impl fmt::Debug for MailSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSink")
            .field("mail_from", &self.sender.mail_from.as_str())
            .field("relays", &self.relays)
            .finish_non_exhaustive()
    }
}

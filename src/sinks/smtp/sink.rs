//! The mail sink.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use lettre::transport::smtp::commands::{Noop, Quit};
use tokio::time::{Instant, sleep_until};

use crate::job::Job;
use crate::record::ConsumerRecord;
use crate::sinks::{Effect, JobError, JobErrorKind, JobSink};

use super::circuit::Circuit;
use super::config::{ConfigError, Login, MailConfig, TimeLimits, TlsMode};
use super::connect::{Connect, TcpConnect};
use super::conversation::{Conversation, NoAnswer, after};
use super::end::{Again, End, is_servers_fault};
use super::fault::{ServerFault, ServerFaultKind};
use super::gauge::Gauge;
use super::hang_ups::{Fault, HangUps};
use super::message::{Mail, Sender};
use super::observer::{Observer, Phase};
use super::open::{Opened, Opener};
use super::pool::{Pool, Slot};
use super::rate::Rate;
use super::tls::Tls;
use super::transaction::{MailTransaction, Sent};

/// How long a connection that is given up is waited for, once QUIT was said.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// Sends the mails of jobs to one SMTP server. See the [module](super) for what is promised.
pub struct MailSink {
    sender: Sender,
    /// The envelope's sender, as lettre's commands take it.
    mail_from: Address,
    opener: Arc<Opener>,
    pool: Arc<Pool>,
    rate: Option<Rate>,
    circuit: Arc<Circuit>,
    hang_ups: HangUps,
    limits: TimeLimits,
    gauge: Arc<Gauge>,
    observer: Arc<dyn Observer>,
}

/// A mail that the server has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its `Message-ID`, with angle brackets: the same for every attempt of one job.
    pub message_id: String,
    /// The server's reply to the final dot, on one line.
    pub reply: String,
}

/// What [`MailSink::check`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Whether the login was used, and accepted.
    pub logged_in: bool,
    /// Whether PIPELINING is offered.
    pub pipelining: bool,
    /// Whether SMTPUTF8 is offered: without it addresses with a local part beyond ASCII fail.
    pub smtputf8: bool,
}

impl MailSink {
    /// A sink that connects over TCP. Nothing is connected yet.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: &MailConfig) -> Result<Self, ConfigError> {
        let connect = TcpConnect::new(config.host.clone(), config.port);
        Self::with(config, Arc::new(connect), Arc::new(()))
    }

    /// A sink whose streams come from `connect`, and whose doings `observer` hears.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn with(
        config: &MailConfig,
        connect: Arc<dyn Connect>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ConfigError> {
        if config.host.is_empty() {
            return Err(ConfigError::Host { found: String::new() });
        }
        config.check_login()?;
        let sender = config.sender()?;
        let gauge = Gauge::new(Arc::clone(&observer));
        let tls = match config.tls {
            TlsMode::None => None,
            _ => Some(Tls::new(config)?),
        };
        let opener = Arc::new(Opener {
            connect,
            mode: config.tls,
            tls,
            login: Mutex::new(config.login.clone()),
            allow_plaintext_auth: config.allow_plaintext_auth,
            ehlo_name: config.greets_as(&sender.mail_from)?,
            needs_smtputf8: sender.mail_from.needs_smtputf8(),
            limits: config.limits,
            observer: Arc::clone(&observer),
            gauge: Arc::clone(&gauge),
            took: Mutex::default(),
        });
        let circuit = Arc::new(Circuit::new(
            config.probe_backoff_min,
            config.probe_backoff_max,
            Arc::clone(&observer),
        ));
        let (idle_limit, for_pool) = (config.idle_limit, (opener.clone(), circuit.clone()));
        Ok(Self {
            mail_from: sender.mail_from.to_lettre(),
            sender,
            opener,
            pool: Pool::new(config.connections_max, idle_limit, for_pool.0, for_pool.1),
            rate: config.mails_per_second_max.map(|rate| Rate::new(rate, config.mails_burst_max)),
            circuit,
            hang_ups: HangUps::default(),
            limits: config.limits,
            gauge,
            observer,
        })
    }

    /// Opens a connection of its own up to the point where mails can be sent, and ends it with
    /// QUIT. It waits for a slot like a mail does, and leaves the circuit as it is.
    ///
    /// # Errors
    /// See [`ServerFault`].
    pub async fn check(&self) -> Result<ServerReport, ServerFault> {
        let _slot = self.pool.slot().await;
        self.pool.clear();
        let Opened { mut conversation, encrypted } = self.opener.open().await?;
        let extensions = conversation.extensions;
        // The server has shown what was asked; how it says goodbye is no fault.
        let _ = conversation.command(Quit, self.limits.command).await;
        Ok(ServerReport {
            encrypted,
            logged_in: self.opener.login().is_some(),
            pipelining: extensions.pipelining,
            smtputf8: extensions.smtputf8,
        })
    }

    /// Logs in with another login from the next connection on, where a password was rotated. Those
    /// that are open stay; while the circuit is open the next probe tries it.
    ///
    /// # Errors
    /// If it holds a NUL, which no login can carry; the old one stays then.
    pub fn set_login(&self, login: Login) -> Result<(), ConfigError> {
        login.check()?;
        self.opener.set_login(login);
        Ok(())
    }

    /// Closes idle connections when their time is up, and goes on with those that are being opened
    /// while no mail waits for them; never completes. It is to be polled beside the topology.
    /// Without it both are done when the next mail is sent. Dropping the future changes nothing.
    pub async fn retire_idle(&self) {
        let retire = async {
            loop {
                match self.pool.retire() {
                    Some(at) => sleep_until(at).await,
                    // None is idle: the next one is not due before the limit is over once.
                    None => sleep_until(after(self.pool.idle_limit())).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = retire => {}
            never = self.pool.open() => match never {},
        }
    }

    /// Closes the idle connections, with QUIT, without waiting for its answer, and those that are
    /// being opened while no mail waits. Sends under way go on.
    pub fn close_idle(&self) {
        self.pool.clear();
    }

    /// Connections that are open, idle ones included.
    pub fn open_connections(&self) -> usize {
        self.gauge.open_connections()
    }

    /// Why nothing is sent at present, if the circuit is open.
    pub fn unavailable_reason(&self) -> Option<String> {
        self.circuit.reason()
    }

    async fn deliver(
        &self,
        conversation: Conversation,
        slot: Slot,
        mail: &Mail,
        effect: &Effect,
    ) -> Result<Accepted, JobError> {
        let transaction = MailTransaction {
            mail_from: &self.mail_from,
            limits: &self.limits,
            observer: &*self.observer,
            pool: &self.pool,
            circuit: &self.circuit,
            effect,
        };
        let sent = transaction.send(conversation, mail).await;
        let Some(again) = sent.again else { return self.finish(slot, mail, sent) };
        effect.take_back();
        let first = self.give_up(sent).await;
        // Only a fresh connection shows the cause, so this send takes no other.
        let opened = match self.opener.open_beside_others().await {
            Ok(opened) => opened,
            Err(fault) if self.pool.is_limit(&fault) => {
                slot.withhold();
                return Err(JobError::unavailable(fault.to_string()));
            }
            Err(fault) => return Err(self.unavailable(&fault)),
        };
        let sent = transaction.send(opened.conversation, mail).await;
        match again {
            Again::Followed if !first.is_same_refusal(&sent.end) => self.pool.let_none_follow(),
            Again::Spent(mails) if matches!(sent.end, End::Accepted(_)) => {
                self.pool.session_limit().refused_after(mails);
            }
            _ => {}
        }
        self.finish(slot, mail, sent)
    }

    /// Ends a connection that may be to blame for the end of a mail on it. Where the server is
    /// known to listen, it has heard of that before the next connection is opened: it may have a
    /// limit of them. A mail that followed takes its turn elsewhere.
    async fn give_up(&self, sent: Sent) -> End {
        let Sent { end, conversation, follower, .. } = sent;
        if let Some(mut conversation) = conversation.filter(|_| follower.is_none()) {
            let _ = conversation.command(Quit, self.limits.command.min(QUIT_LIMIT)).await;
        }
        end
    }

    fn finish(&self, slot: Slot, mail: &Mail, sent: Sent) -> Result<Accepted, JobError> {
        let Sent { end, conversation, follower, .. } = sent;
        match (conversation, follower) {
            (Some(conversation), Some(follower)) => follower.follow(slot, conversation),
            (Some(conversation), None) => slot.put_back(conversation),
            (None, follower) => {
                drop(follower);
                drop(slot);
            }
        }
        match end {
            End::Accepted(reply) => {
                Ok(Accepted { message_id: mail.message_id.clone(), reply: reply.to_string() })
            }
            End::Refused(exchange, reply) if reply.code == 421 => {
                Err(self.hung_up(mail, format!("{}: {reply}", exchange.name())))
            }
            End::Refused(exchange, reply) if is_servers_fault(&reply) => {
                Err(self.unavailable(&format!("{}: {reply}", exchange.name())))
            }
            End::Refused(exchange, reply) => {
                let reason = format!("{}: {reply}", exchange.name());
                let for_good = reply.code / 100 == 5;
                Err(if for_good { JobError::permanent } else { JobError::transient }(reason))
            }
            End::NoSmtputf8 => Err(JobError::permanent(
                "an address has a local part beyond ASCII, which needs SMTPUTF8, and the server \
                 does not offer it",
            )),
            End::Unsent(exchange, no_answer) if no_answer.is_lost() => {
                Err(self.hung_up(mail, format!("{}: {no_answer}", exchange.name())))
            }
            End::Unsent(exchange, no_answer) => {
                Err(JobError::transient(format!("{}: {no_answer}", exchange.name())))
            }
            End::Stale => Err(JobError::transient("the connection was closed before any answer")),
            End::Ambiguous(no_answer) => {
                Err(JobError::ambiguous(format!("after the final dot: {no_answer}")))
            }
        }
    }

    /// The server has hung up in the midst of a mail.
    fn hung_up(&self, mail: &Mail, reason: String) -> JobError {
        match self.hang_ups.judge(&mail.message_id) {
            Fault::Job => JobError::transient(reason),
            Fault::Unknown => JobError::unavailable(reason),
            Fault::Server => self.unavailable(&reason),
        }
    }

    fn unavailable(&self, reason: &impl ToString) -> JobError {
        let reason = reason.to_string();
        self.pool.let_none_wait(&reason);
        JobError::unavailable(reason)
    }

    /// Asks whether the server is there: an idle connection if there is one, else a new one, which
    /// then waits for the next mail.
    async fn probe(&self) -> Result<(), ServerFault> {
        let slot = self.pool.slot().await;
        if let Some(mut conversation) = slot.idle() {
            let start = Instant::now();
            conversation.begin(after(self.limits.whole));
            let answer = conversation.command(Noop, self.limits.command).await;
            let succeeded = matches!(&answer, Ok(reply) if reply.is_positive());
            self.observer.phase(Phase::Noop, start.elapsed(), succeeded);
            if succeeded {
                conversation.end();
                if let Some(conversation) = conversation.if_clean() {
                    slot.put_back(conversation);
                }
                return Ok(());
            }
            if let Err(no_answer @ NoAnswer::TimedOut(_)) = answer {
                let kind = ServerFaultKind::Unreachable;
                return Err(ServerFault::new(Phase::Noop, kind, no_answer.to_string()));
            }
        }
        let mut conversation = self.opener.open().await?.conversation;
        self.pool.restore();
        conversation.end();
        if let Some(conversation) = conversation.if_clean() {
            slot.put_back(conversation);
        }
        Ok(())
    }
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
        if let Some(rate) = &self.rate {
            rate.take().await;
        }
        let (conversation, slot) =
            self.pool.connection(&mail).await.map_err(JobError::unavailable)?;
        let outcome = self.deliver(conversation, slot, &mail, effect).await;
        let job = &mail.message_id;
        match outcome.as_ref().map_err(JobError::kind) {
            Ok(_) => self.hang_ups.taken(job),
            Err(JobErrorKind::Permanent) => self.hang_ups.forget(job),
            Err(_) => self.hang_ups.tried(job),
        }
        outcome
    }

    /// Pending while the circuit is open. The calls that wait here probe the server, one at a time.
    async fn ready(&self) {
        while self.circuit.probe_at().is_some() {
            let _probe = self.circuit.probe.lock().await;
            let Some(probe_at) = self.circuit.probe_at() else { return };
            sleep_until(probe_at).await;
            match self.probe().await {
                Ok(()) => self.circuit.close(),
                Err(fault) => self.circuit.stay_open(&fault.to_string()),
            }
        }
    }
}

impl fmt::Debug for MailSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSink")
            .field("mail_from", &self.sender.mail_from.as_str())
            .field("open_connections", &self.open_connections())
            .finish_non_exhaustive()
    }
}

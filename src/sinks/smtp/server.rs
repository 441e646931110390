//! One server: its connections, its limits, its circuit.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use lettre::Address;
use lettre::transport::smtp::commands::{Noop, Quit};
use tokio::time::{Instant, sleep_until};

use crate::sinks::{Effect, JobError, JobErrorKind};

use super::circuit::{Circuit, Met};
use super::config::{ConfigError, MailConfig, RelayConfig, TimeLimits};
use super::connect::Connect;
use super::conversation::{Conversation, NoAnswer, after};
use super::end::{Again, End, is_servers_fault};
use super::fault::{ServerFault, ServerFaultKind};
use super::gauge::Gauge;
use super::hang_ups::{Fault, HangUps};
use super::message::{Mail, Sender};
use super::observer::{Event, Observer, Phase};
use super::open::{Opened, Opener};
use super::pool::{Pool, Slot};
use super::rate::Rate;
use super::relay::ServerReport;
use super::reply::Reply;
use super::transaction::{MailTransaction, Sent, takes_mails};

/// How long a connection that is given up is waited for, once QUIT was said.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// Sends mails to one server.
pub(super) struct Server {
    /// The envelope's sender, as lettre's commands take it.
    mail_from: Address,
    pub(super) opener: Arc<Opener>,
    pub(super) pool: Arc<Pool>,
    rate: Option<Rate>,
    pub(super) circuit: Arc<Circuit>,
    hang_ups: HangUps,
    limits: TimeLimits,
    pub(super) gauge: Arc<Gauge>,
    observer: Arc<dyn Observer>,
}

impl Server {
    pub(super) fn new(
        config: &MailConfig,
        relay: &RelayConfig,
        sender: &Sender,
        connect: Arc<dyn Connect>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ConfigError> {
        let gauge = Gauge::new(Arc::clone(&observer));
        let opener = Arc::new(Opener {
            connect,
            mode: relay.tls,
            tls: relay.tls()?,
            login: Mutex::new(relay.login.clone()),
            allow_plaintext_auth: relay.allow_plaintext_auth,
            ehlo_name: config.greets_as(&sender.mail_from)?,
            needs_smtputf8: sender.mail_from.needs_smtputf8(),
            limits: config.limits,
            observer: Arc::clone(&observer),
            gauge: Arc::clone(&gauge),
            took: Mutex::default(),
            given_up: AtomicU32::default(),
        });
        let circuit = Arc::new(Circuit::new(
            config.probe_backoff_min,
            config.probe_backoff_max,
            Arc::clone(&observer),
        ));
        let has_next = config.relays.last().is_some_and(|last| last.name() != relay.name());
        let (connections_max, idle_limit) = (relay.connections_max, config.idle_limit);
        let for_pool = (opener.clone(), circuit.clone());
        Ok(Self {
            mail_from: sender.mail_from.to_lettre(),
            opener,
            pool: Pool::new(connections_max, idle_limit, for_pool.0, for_pool.1, has_next),
            rate: relay.mails_per_second_max.map(|rate| Rate::new(rate, relay.mails_burst_max)),
            circuit,
            hang_ups: HangUps::default(),
            limits: config.limits,
            gauge,
            observer,
        })
    }

    /// Opens a connection of its own, begins a mail there and takes it back, and ends it.
    pub(super) async fn check_within(
        &self,
        limits: &TimeLimits,
    ) -> Result<ServerReport, ServerFault> {
        let _slot = self.pool.slot().await;
        self.pool.clear();
        let Opened { mut conversation, encrypted } = self.opener.open_within(limits).await?;
        let extensions = conversation.extensions;
        self.takes_mails(&mut conversation, limits).await?;
        // The server has shown what was asked; how it says goodbye is no fault.
        let _ = conversation.command(Quit, limits.command).await;
        Ok(ServerReport {
            encrypted,
            logged_in: self.opener.login().is_some(),
            pipelining: extensions.pipelining,
            smtputf8: extensions.smtputf8,
        })
    }

    /// Sends a mail, and gives the reply to its final dot; none, if the server does not offer the
    /// SMTPUTF8 that the mail needs, and so was not given it.
    pub(super) async fn send(
        &self,
        mail: &Arc<Mail>,
        effect: &Effect,
    ) -> Result<Option<Reply>, JobError> {
        let turn = effect.wait_for(async {
            self.admitted().await;
            self.pool.connection(mail).await
        });
        let (conversation, slot) = turn.await.map_err(JobError::unavailable)?;
        let outcome = self.deliver(conversation, slot, mail, effect).await;
        let job = &mail.message_id;
        if !matches!(&outcome, Err(error) if error.kind() == JobErrorKind::Unavailable) {
            self.circuit.answered();
        }
        match outcome.as_ref().map_err(JobError::kind) {
            Ok(Some(_)) => self.hang_ups.taken(job),
            Ok(None) | Err(JobErrorKind::Permanent) => self.hang_ups.forget(job),
            Err(_) => self.hang_ups.tried(job),
        }
        outcome
    }

    /// No attempt of a job follows.
    pub(super) fn forget(&self, mail: &Mail) {
        self.hang_ups.forget(&mail.message_id);
    }

    /// Completes when the rate allows a mail, or the circuit is open: whoever waits for a server
    /// that is away may have another one.
    async fn admitted(&self) {
        let Some(rate) = self.rate.as_ref().filter(|_| !self.circuit.is_open()) else { return };
        tokio::select! {
            biased;
            () = rate.take() => {}
            () = self.circuit.opened() => rate.void_turns(),
        }
    }

    /// Completes when the circuit is closed: asks the server again and again, with the back-off
    /// between.
    pub(super) async fn recover(&self) {
        while let Some(probe_at) = self.circuit.probe_at() {
            sleep_until(probe_at).await;
            match self.probe().await {
                Ok(()) => self.circuit.close(),
                Err(fault) => self.circuit.stay_open(&fault.to_string()),
            }
        }
    }

    async fn deliver(
        &self,
        conversation: Conversation,
        slot: Slot,
        mail: &Mail,
        effect: &Effect,
    ) -> Result<Option<Reply>, JobError> {
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
        // Only a fresh connection shows the cause, so this send takes no other. It is boxed since it is
        // large and seldom needed: without the box every mail's future has room for it.
        let opening = self.opener.open_beside_others(|_| true).boxed();
        let opened = match effect.wait_for(opening).await {
            Ok(opened) => opened,
            Err(fault) if self.pool.is_limit(&fault) => {
                slot.withhold();
                return Err(JobError::unavailable(fault.to_string()));
            }
            Err(fault) if fault.is_given_up() => {
                return Err(JobError::unavailable(fault.to_string()));
            }
            Err(fault) => return Err(self.unavailable(&fault, Met::Connecting)),
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

    fn finish(&self, slot: Slot, mail: &Mail, sent: Sent) -> Result<Option<Reply>, JobError> {
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
            End::Accepted(reply) => Ok(Some(reply)),
            End::Refused(exchange, reply) if is_servers_fault(&reply) => {
                Err(self.hung_up(mail, format!("{}: {reply}", exchange.name())))
            }
            End::Refused(exchange, reply) => {
                let reason = format!("{}: {reply}", exchange.name());
                let for_good = reply.code / 100 == 5;
                Err(if for_good { JobError::permanent } else { JobError::transient }(reason))
            }
            End::NoSmtputf8 => Ok(None),
            End::Unsent(exchange, no_answer) => {
                Err(self.hung_up(mail, format!("{}: {no_answer}", exchange.name())))
            }
            End::Stale => Err(JobError::transient("the connection was closed before any answer")),
            End::Ambiguous(no_answer) => {
                Err(JobError::ambiguous(format!("after the final dot: {no_answer}")))
            }
        }
    }

    /// The server has hung up in the midst of a mail, said nothing or no SMTP, or what one says that is
    /// away.
    fn hung_up(&self, mail: &Mail, reason: String) -> JobError {
        match self.hang_ups.judge(&mail.message_id) {
            Fault::Job => JobError::transient(reason),
            Fault::Unknown => JobError::unavailable(reason),
            Fault::Server => self.unavailable(&reason, Met::Sending),
        }
    }

    fn unavailable(&self, reason: &impl ToString, met: Met) -> JobError {
        let reason = reason.to_string();
        self.pool.let_none_wait(&reason, met);
        JobError::unavailable(reason)
    }

    /// Asks whether the server is there: an idle connection if there is one, else a new one, which then
    /// waits for the next mail.
    async fn probe(&self) -> Result<(), ServerFault> {
        let slot = self.pool.slot().await;
        if let Some(mut conversation) = slot.idle() {
            let start = Instant::now();
            conversation.begin(after(self.limits.whole));
            let answer = conversation.command(Noop, self.limits.command).await;
            let succeeded = matches!(&answer, Ok(reply) if reply.is_positive());
            let (phase, took) = (Phase::Noop, start.elapsed());
            self.observer.on(&Event::PhaseEnded { phase, took, succeeded });
            if succeeded && self.takes_mails_again(&mut conversation).await.is_ok() {
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
        let mut conversation = self.opener.open_beside_others(|_| true).await?.conversation;
        self.takes_mails_again(&mut conversation).await?;
        self.pool.restore();
        if let Some(conversation) = conversation.if_clean() {
            slot.put_back(conversation);
        }
        Ok(())
    }

    /// Whether the connection of a probe is good for mails. Only where a mail has met the fault one is
    /// begun: there are servers that take one on each connection.
    async fn takes_mails_again(&self, conversation: &mut Conversation) -> Result<(), ServerFault> {
        if !self.circuit.was_met_sending() {
            conversation.end();
            return Ok(());
        }
        conversation.mails += 1;
        let taken = self.takes_mails(conversation, &self.limits).await;
        taken.or_else(|fault| match fault.kind() {
            // It says so to each mail: it is there.
            ServerFaultKind::Sender => Ok(()),
            _ => Err(fault),
        })
    }

    /// Whether a mail can be begun.
    async fn takes_mails(
        &self,
        conversation: &mut Conversation,
        limits: &TimeLimits,
    ) -> Result<(), ServerFault> {
        let needs_smtputf8 = self.opener.needs_smtputf8;
        takes_mails(conversation, &self.mail_from, needs_smtputf8, limits.command).await
    }
}

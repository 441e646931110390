//! One conversation: greeting, commands, data, with the misfortunes that strike it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::auth::AuthState;
use super::command::{Command, Verb};
use super::conversation::Exchange;
use super::data::DataDecoder;
use super::extension::Extension;
use super::misfortune::Moment;
use super::misfortunes::{Ending, Scene, Tally, Verdict};
use super::protocol::{Next, Protocol};
use super::reply::Reply;
use super::server::Shared;
use super::wire::{BadLine, Wire};

/// The longest command line without its CRLF: the 512 octets of RFC 5321 section 4.5.3.1.4 and what
/// the extensions add to them.
const COMMAND_OCTETS_MAX: usize = 2_048;
/// The longest response in AUTH without its CRLF (RFC 4954 section 4).
const RESPONSE_OCTETS_MAX: usize = 12_288;

/// How a session ended.
#[derive(Debug)]
pub(super) enum End<S> {
    /// The client has gone, or is cut off without a word.
    Cut,
    /// The last reply is written and this side is closed.
    Closed(Wire<S>),
    /// The handshake comes next, on a stream from which nothing else is kept.
    StartTls(S, Tally),
}

/// Where a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Command,
    Data,
    StartTls,
    Close,
    Cut,
}

/// What comes in where a command is expected.
enum Incoming {
    Line(Result<String, BadLine>),
    Idle(Verdict),
    Gone,
}

pub(super) struct Session<'a, S> {
    shared: &'a Shared,
    wire: Wire<S>,
    protocol: Protocol<'a>,
    connection: u64,
    /// The number of the MAIL in force.
    message: Option<u64>,
    tally: Tally,
    changes: watch::Receiver<u64>,
    /// More had come in when the last command was taken.
    early: bool,
    /// What comes in has come with the final dot before it.
    behind_dot: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Send + Unpin> Session<'a, S> {
    pub(super) fn new(
        shared: &'a Shared,
        stream: S,
        connection: u64,
        tally: Tally,
        tls: bool,
    ) -> Self {
        Self {
            shared,
            wire: Wire::new(stream),
            protocol: Protocol::new(&shared.config, tls),
            connection,
            message: None,
            tally,
            changes: shared.misfortunes.watch(),
            early: false,
            behind_dot: false,
        }
    }

    /// Talks until the end. `connect` is the verdict on the connection where the greeting is still
    /// to come; after STARTTLS there is none.
    pub(super) async fn run(mut self, connect: Option<Verdict>) -> io::Result<End<S>> {
        let mut flow = match connect {
            Some(verdict) => self.greet(&verdict).await?,
            None => Flow::Command,
        };
        loop {
            flow = match flow {
                Flow::Command => self.command().await?,
                Flow::Data => self.data().await?,
                Flow::StartTls => {
                    self.wire.flush().await?;
                    return Ok(End::StartTls(self.wire.into_stream(), self.tally));
                }
                Flow::Close => {
                    self.wire.shutdown().await?;
                    return Ok(End::Closed(self.wire));
                }
                Flow::Cut => return Ok(End::Cut),
            };
        }
    }

    async fn greet(&mut self, verdict: &Verdict) -> io::Result<Flow> {
        let greeting =
            Reply::plain(220, format!("{} ESMTP jobstream-testkit", self.shared.config.name));
        let reply = verdict.reply.clone().unwrap_or(greeting);
        if !reply.is_positive() {
            self.protocol.refuse();
        }
        self.deliver(Moment::Connect, "", reply, Next::Command, verdict).await
    }

    async fn command(&mut self) -> io::Result<Flow> {
        match self.incoming().await? {
            Incoming::Gone => Ok(Flow::Cut),
            Incoming::Idle(verdict) => self.strike(&verdict).await,
            Incoming::Line(line) => {
                let pipelined = std::mem::replace(&mut self.early, !self.wire.input().is_empty());
                let behind_dot = self.behind_dot;
                self.behind_dot &= self.early;
                let forbidden =
                    pipelined && !self.shared.config.extensions.has(Extension::Pipelining);
                let refusal = match line {
                    Ok(line) if !forbidden => return self.answer(&line, behind_dot).await,
                    Ok(_) => Reply::new(503, "5.5.1", "PIPELINING was not offered"),
                    Err(BadLine::TooLong) => Reply::new(500, "5.5.2", "line too long"),
                    Err(BadLine::Control) => {
                        Reply::new(500, "5.5.2", "bare CR, LF or NUL in a line")
                    }
                    Err(BadLine::NotUtf8) => Reply::new(500, "5.5.2", "a line is not UTF-8"),
                };
                let verdict = Verdict::default();
                self.deliver(Moment::Any, "", refusal, Next::Command, &verdict).await
            }
        }
    }

    /// Waits for a line, or for a misfortune of idleness.
    async fn incoming(&mut self) -> io::Result<Incoming> {
        if let Some(line) = self.wire.take_line(COMMAND_OCTETS_MAX) {
            return Ok(Incoming::Line(line));
        }
        let since = Instant::now();
        let mut judged = None;
        loop {
            let limit = self.shared.misfortunes.idle_limit(judged);
            let idle = async {
                match limit {
                    Some(after) => tokio::time::sleep_until(since + after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                more = self.wire.fill() => if !more? {
                    return Ok(Incoming::Gone);
                },
                () = idle => {
                    judged = limit;
                    let moment = Moment::Idle { after: limit.unwrap_or_default() };
                    let verdict = self.judge(moment, None, false);
                    if verdict.is_struck() {
                        return Ok(Incoming::Idle(verdict));
                    }
                }
                _ = self.changes.changed() => {}
            }
            if let Some(line) = self.wire.take_line(COMMAND_OCTETS_MAX) {
                return Ok(Incoming::Line(line));
            }
        }
    }

    /// A misfortune where no reply is due: between commands, or inside the data.
    async fn strike(&mut self, verdict: &Verdict) -> io::Result<Flow> {
        if verdict.delay > Duration::ZERO && !self.wire.hold(verdict.delay).await? {
            return Ok(Flow::Cut);
        }
        match (verdict.ending, &verdict.reply) {
            (Some(Ending::Ignore), _) => Ok(Flow::Command),
            (Some(Ending::Stall | Ending::AcceptThenStall), _) => {
                self.wire.stall().await?;
                Ok(Flow::Cut)
            }
            (Some(_), _) => self.wire.flush().await.map(|()| Flow::Cut),
            (None, Some(reply)) => {
                self.send(reply, verdict).await?;
                Ok(Flow::Close)
            }
            (None, None) => Ok(Flow::Command),
        }
    }

    async fn answer(&mut self, line: &str, behind_dot: bool) -> io::Result<Flow> {
        let command = Command::parse(line);
        let moment = moment(command.verb);
        if command.verb == Verb::Mail {
            self.message = Some(self.shared.next_message());
            self.tally.begin_mail();
        }
        let named = if self.shared.misfortunes.is_empty() { None } else { command.address() };
        let verdict = self.judge(moment, named.as_ref(), behind_dot);
        if let Some(flow) = self.end_before(moment, line, &verdict).await? {
            return Ok(flow);
        }
        let (reply, next) = match &verdict.reply {
            Some(scripted) if command.verb == Verb::Data => {
                let next = if scripted.code() == 354 { Next::Data } else { Next::Command };
                (scripted.clone(), next)
            }
            Some(scripted) if !scripted.is_positive() => (scripted.clone(), Next::Command),
            _ if command.verb == Verb::Auth => match self.authenticate(command.argument).await? {
                Some(reply) => (verdict.replace(reply), Next::Command),
                None => return Ok(Flow::Cut),
            },
            _ => {
                let (reply, next) = self.protocol.obey(&command);
                (verdict.replace(reply), next)
            }
        };
        self.deliver(moment, line, reply, next, &verdict).await
    }

    /// The exchange of AUTH up to its last reply; `None` when the client has gone.
    async fn authenticate(&mut self, argument: &str) -> io::Result<Option<Reply>> {
        let mut step = self.protocol.begin_auth(argument);
        loop {
            let challenge = match step {
                AuthState::Failed(reply) => return Ok(Some(reply)),
                AuthState::Claim(login) => return Ok(Some(self.protocol.claim(login))),
                AuthState::Prompt(prompt, challenge) => {
                    self.send(&prompt, &Verdict::default()).await?;
                    challenge
                }
            };
            let response = loop {
                match self.wire.take_line(RESPONSE_OCTETS_MAX) {
                    Some(line) => break line,
                    None if self.wire.fill().await? => {}
                    None => return Ok(None),
                }
            };
            self.early = !self.wire.input().is_empty();
            let Ok(response) = response else {
                return Ok(Some(Reply::new(500, "5.5.2", "bad line")));
            };
            step = challenge.answer(&response);
        }
    }

    async fn data(&mut self) -> io::Result<Flow> {
        let mut body = self.judge_body();
        let mut decoder = self.protocol.decoder();
        let mut received = 0;
        loop {
            if let Some((_, verdict)) = body.take_if(|(octets, _)| received >= *octets) {
                let flow = self.strike(&verdict).await?;
                if flow != Flow::Command {
                    return Ok(flow);
                }
            }
            let input = self.wire.input();
            let until = body.as_ref().map_or(u64::MAX, |(octets, _)| octets - received);
            let until = usize::try_from(until).unwrap_or(usize::MAX).min(input.len());
            let used = decoder.feed(&input[..until]);
            self.wire.consume(used);
            received += used as u64;
            if decoder.is_complete() {
                return self.end_data(decoder).await;
            }
            if self.wire.input().is_empty() && !self.wire.fill().await? {
                return Ok(Flow::Cut);
            }
        }
    }

    async fn end_data(&mut self, decoder: DataDecoder) -> io::Result<Flow> {
        self.early = !self.wire.input().is_empty();
        self.behind_dot = self.early;
        let verdict = self.judge(Moment::Dot, None, false);
        if let Some(flow) = self.end_before(Moment::Dot, ".", &verdict).await? {
            return Ok(flow);
        }
        let reply = match &verdict.reply {
            Some(scripted) if !scripted.is_positive() => {
                self.protocol.reset();
                scripted.clone()
            }
            _ => match self.protocol.end_mail(decoder, self.connection) {
                Ok(mail) => {
                    self.shared.inbox.accept(mail);
                    verdict.replace(Reply::new(250, "2.0.0", "accepted"))
                }
                Err(refusal) => refusal,
            },
        };
        self.deliver(Moment::Dot, ".", reply, Next::Command, &verdict).await
    }

    /// What ends the conversation before the command is obeyed, if anything does.
    async fn end_before(
        &mut self,
        moment: Moment,
        line: &str,
        verdict: &Verdict,
    ) -> io::Result<Option<Flow>> {
        match verdict.ending {
            Some(Ending::DisconnectBefore) => self.wire.flush().await?,
            Some(Ending::Stall) => {
                self.note(moment, line, None);
                self.wire.stall().await?;
                return Ok(Some(Flow::Cut));
            }
            Some(Ending::Ignore) => {
                self.note(moment, line, None);
                if moment == Moment::Dot {
                    self.protocol.reset();
                }
                return Ok(Some(Flow::Command));
            }
            _ => return Ok(None),
        }
        self.note(moment, line, None);
        Ok(Some(Flow::Cut))
    }

    async fn deliver(
        &mut self,
        moment: Moment,
        line: &str,
        reply: Reply,
        next: Next,
        verdict: &Verdict,
    ) -> io::Result<Flow> {
        if let Some(Ending::AcceptThenDisconnect | Ending::AcceptThenStall) = verdict.ending {
            self.note(moment, line, None);
            return self.strike(verdict).await;
        }
        if verdict.delay > Duration::ZERO && !self.wire.hold(verdict.delay).await? {
            self.note(moment, line, None);
            return Ok(Flow::Cut);
        }
        self.note(moment, line, Some(reply.code()));
        self.send(&reply, verdict).await?;
        if verdict.ending == Some(Ending::DisconnectAfter) || reply.code() == 421 {
            return Ok(Flow::Close);
        }
        Ok(match next {
            Next::StartTls if !reply.is_positive() => Flow::Command,
            Next::Command => Flow::Command,
            Next::Data => Flow::Data,
            Next::StartTls => Flow::StartTls,
            Next::Close => Flow::Close,
        })
    }

    async fn send(&mut self, reply: &Reply, verdict: &Verdict) -> io::Result<()> {
        let enhanced = self.shared.config.extensions.has(Extension::EnhancedStatusCodes);
        if verdict.split {
            self.wire.push_split(reply, enhanced).await
        } else {
            self.wire.push(reply, enhanced).await
        }
    }

    /// `named` is the address in MAIL or RCPT.
    fn judge(&mut self, moment: Moment, named: Option<&String>, behind_dot: bool) -> Verdict {
        let (sender, recipients) = match moment {
            Moment::Mail => (named.map(String::as_str), &[][..]),
            Moment::Rcpt => (self.protocol.sender(), named.map_or(&[][..], std::slice::from_ref)),
            _ => (self.protocol.sender(), self.protocol.recipients()),
        };
        let (connection, message) = (self.connection, self.message);
        let scene = Scene { moment, connection, message, sender, recipients, behind_dot };
        self.shared.misfortunes.judge(&scene, &mut self.tally)
    }

    fn judge_body(&mut self) -> Option<(u64, Verdict)> {
        let scene = Scene {
            moment: Moment::Body { octets: 0 },
            connection: self.connection,
            message: self.message,
            sender: self.protocol.sender(),
            recipients: self.protocol.recipients(),
            behind_dot: false,
        };
        self.shared.misfortunes.judge_body(&scene, &mut self.tally)
    }

    fn note(&self, moment: Moment, line: &str, reply: Option<u16>) {
        self.shared.conversation.note(|| Exchange {
            connection: self.connection,
            moment,
            command: line.to_owned(),
            reply,
            tls: self.protocol.is_tls(),
        });
    }
}

fn moment(verb: Verb) -> Moment {
    match verb {
        Verb::Ehlo | Verb::Helo => Moment::Ehlo,
        Verb::StartTls => Moment::StartTls,
        Verb::Auth => Moment::Auth,
        Verb::Mail => Moment::Mail,
        Verb::Rcpt => Moment::Rcpt,
        Verb::Data => Moment::Data,
        Verb::Rset => Moment::Rset,
        Verb::Noop => Moment::Noop,
        Verb::Vrfy => Moment::Vrfy,
        Verb::Quit => Moment::Quit,
        Verb::Other | Verb::Unknown => Moment::Any,
    }
}

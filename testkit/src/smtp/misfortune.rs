//! What can go wrong in a conversation, and when.

use std::time::Duration;

/// A point of the conversation at which a misfortune can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A new connection, before TLS and before the greeting.
    Connect,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS, before the handshake.
    StartTls,
    /// AUTH, with its whole exchange.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, before the text.
    Data,
    /// Inside the text, once this many octets of it were received (dots still stuffed).
    Body {
        /// 0 strikes right after the 354. A shorter text, final dot included, meets no misfortune.
        octets: u64,
    },
    /// The final dot.
    Dot,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// QUIT.
    Quit,
    /// When the client has sent nothing for this long while a command is expected.
    Idle {
        /// By tokio's clock.
        after: Duration,
    },
    /// Every moment but [`Body`](Self::Body) and [`Idle`](Self::Idle).
    Any,
}

impl Moment {
    /// Whether a misfortune at `self` strikes at the moment `now`.
    pub(super) fn covers(self, now: Self) -> bool {
        let listed = !matches!(now, Self::Body { .. } | Self::Idle { .. });
        self == now || (self == Self::Any && listed)
    }
}

/// What the server does at that moment, instead of or besides what it should.
///
/// Several misfortunes at one moment add up: delays are summed, any
/// [`SplitReply`](Self::SplitReply) splits, and of the others the one that was pushed first counts,
/// one reply and one end each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends this reply. With 4xx or 5xx the command has no effect; with 2xx or 3xx it is obeyed
    /// and only the reply is replaced. 421 closes the connection. 354 to DATA is obeyed even where
    /// no recipient was accepted (RFC 2920 section 3.1); the final dot then gets 554.
    Reply {
        /// Any three digits.
        code: u16,
        /// Sent as it is; line feeds make a multi-line reply.
        text: String,
    },
    /// Closes the connection; the command has no effect.
    DisconnectBefore,
    /// Obeys the command, sends its reply and then closes the connection.
    DisconnectAfter,
    /// Obeys the command and closes the connection instead of replying. At [`Moment::Dot`] the mail
    /// is in the inbox and the client can't know.
    AcceptThenDisconnect,
    /// Obeys the command and replies late, by tokio's clock.
    Delay(Duration),
    /// Never answers; the command has no effect. The connection stays until the client closes it.
    Stall,
    /// Obeys the command and never answers.
    AcceptThenStall,
    /// Sends the reply in single octets, each by a write of its own.
    SplitReply,
    /// Passes over the command as if it had never come: no effect, no reply, and the conversation
    /// goes on. A new connection is greeted all the same.
    Ignore,
}

/// What the count of [`Occasion::nth`], [`Occasion::every`] and [`Occasion::after`] begins anew
/// with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Never: it counts all occurrences on the server.
    #[default]
    Server,
    /// Each connection.
    Connection,
    /// Each mail: each MAIL.
    Mail,
}

/// A misfortune: an [`Act`] and the [`Occasion`] on which it happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfortune {
    pub(super) occasion: Occasion,
    pub(super) act: Act,
}

impl Misfortune {
    /// Begins a misfortune: `Misfortune::at(Moment::Dot).nth(2).then(Act::AcceptThenDisconnect)`.
    #[must_use]
    pub fn at(moment: Moment) -> Occasion {
        Occasion {
            moment,
            recipient: None,
            sender: None,
            connection: None,
            message: None,
            nth: None,
            every: None,
            after: None,
            behind_dot: false,
            per: Per::Server,
            probability: None,
            times: None,
        }
    }
}

/// When a misfortune strikes. All conditions must hold; without any it strikes at every occurrence
/// of its moment.
///
/// They are judged in this order: addresses, connection and message first; what passes is counted
/// for `nth`, `every` and `after`; then comes chance; then `times`.
#[derive(Clone, Debug, PartialEq)]
pub struct Occasion {
    pub(super) moment: Moment,
    pub(super) recipient: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) connection: Option<u64>,
    pub(super) message: Option<u64>,
    pub(super) nth: Option<u64>,
    pub(super) every: Option<u64>,
    pub(super) after: Option<u64>,
    pub(super) behind_dot: bool,
    pub(super) per: Per,
    pub(super) probability: Option<f64>,
    pub(super) times: Option<u64>,
}

impl Occasion {
    /// Only for this recipient: at RCPT the one named, later any that was accepted. `@example.com`
    /// stands for every address of that domain. Case does not matter.
    #[must_use]
    pub fn to(mut self, recipient: impl Into<String>) -> Self {
        self.recipient = Some(recipient.into());
        self
    }

    /// Only for this sender, from MAIL on. `@example.com` stands for every address of that domain,
    /// the empty text for the null sender.
    #[must_use]
    pub fn from(mut self, sender: impl Into<String>) -> Self {
        self.sender = Some(sender.into());
        self
    }

    /// Only on the connection with this number, from 1 in the order in which they came.
    #[must_use]
    pub fn connection(mut self, number: u64) -> Self {
        self.connection = Some(number);
        self
    }

    /// Only for the message with this number: the server counts MAIL commands from 1, so a second
    /// attempt has a number of its own.
    #[must_use]
    pub fn message(mut self, number: u64) -> Self {
        self.message = Some(number);
        self
    }

    /// Only at the nth occurrence, from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    /// Only at each `every`th occurrence. With `Moment::Rcpt`, `every(2)` and `per(Per::Mail)` half
    /// of the recipients of each mail are refused, beginning with the second. 0 is taken as 1.
    #[must_use]
    pub fn every(mut self, every: u64) -> Self {
        self.every = Some(every.max(1));
        self
    }

    /// Not at the first `after` occurrences. With `Moment::Data` and `per(Per::Connection)` the
    /// server has a limit of mails on one connection.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = Some(after);
        self
    }

    /// Only for commands that were sent behind the final dot of another mail, before its answer.
    #[must_use]
    pub fn behind_dot(mut self) -> Self {
        self.behind_dot = true;
        self
    }

    /// What `nth`, `every` and `after` count.
    #[must_use]
    pub fn per(mut self, per: Per) -> Self {
        self.per = per;
        self
    }

    /// Strikes with this probability, 0.0 to 1.0. Whether the kth occurrence is struck depends on
    /// the server's seed, on how many misfortunes were pushed before this one, and on k; on nothing
    /// else.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// Strikes at most this many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// What happens then.
    #[must_use]
    pub fn then(self, act: Act) -> Misfortune {
        Misfortune { occasion: self, act }
    }

    /// Short for [`Act::Reply`].
    #[must_use]
    pub fn reply(self, code: u16, text: impl Into<String>) -> Misfortune {
        self.then(Act::Reply { code, text: text.into() })
    }
}

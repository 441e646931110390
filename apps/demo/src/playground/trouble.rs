//! The misfortunes that a person can switch on and off.

use std::io;

use jobstream_testkit::broker::Broker;
use jobstream_testkit::smtp::{Act, Misfortune, MisfortuneId, Moment, SmtpServer};

use super::member::{Life, Member};

/// A misfortune, as a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// The mail server takes no connection, and cuts those that are open.
    ServerRefuses,
    /// It answers every recipient with 451.
    ServerAnswers4xx,
    /// It takes the mail and dies before it says so.
    ServerDiesAfterTheDot,
    /// The broker answers nobody.
    BrokerAway,
    /// The first member is killed.
    MemberKilled,
    /// The second one stands still past its session; switched off, it wakes as a zombie.
    Zombie,
}

/// A misfortune that can't be ended.
#[derive(Debug, thiserror::Error)]
#[error("the mail server can't listen again: {0}")]
pub(crate) struct TroubleError(#[from] io::Error);

impl Trouble {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 6] = [
        Self::ServerRefuses,
        Self::ServerAnswers4xx,
        Self::ServerDiesAfterTheDot,
        Self::BrokerAway,
        Self::MemberKilled,
        Self::Zombie,
    ];

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.name() == name)
    }

    /// Its name, as in an address.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ServerRefuses => "server-refuses",
            Self::ServerAnswers4xx => "server-answers-4xx",
            Self::ServerDiesAfterTheDot => "server-dies-after-the-dot",
            Self::BrokerAway => "broker-away",
            Self::MemberKilled => "member-killed",
            Self::Zombie => "zombie",
        }
    }

    /// What it is called.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::ServerRefuses => "Mail server refuses",
            Self::ServerAnswers4xx => "Mail server answers 4xx",
            Self::ServerDiesAfterTheDot => "Dies after the final dot",
            Self::BrokerAway => "Broker away",
            Self::MemberKilled => "Member 1 killed",
            Self::Zombie => "Member 2 a zombie",
        }
    }

    /// What is to be seen while it lasts.
    pub(super) const fn effect(self) -> &'static str {
        match self {
            Self::ServerRefuses => {
                "Intake closes. Jobs wait and none fails, however long it lasts."
            }
            Self::ServerAnswers4xx => {
                "Each job is tried again, later and later, in order of its key."
            }
            Self::ServerDiesAfterTheDot => {
                "The mail has arrived and nobody can know. It is sent again, and that is counted."
            }
            Self::BrokerAway => "Nothing comes in and nothing is committed. What you submit waits.",
            Self::MemberKilled => {
                "After its session of 4 s the other member takes its partitions over."
            }
            Self::Zombie => {
                "It stands still past its session. Switched off, it wakes and is fenced."
            }
        }
    }

    /// Lets it happen; what it gives back is needed to end it.
    pub(super) async fn begin(
        self,
        server: &SmtpServer,
        broker: &Broker,
        members: &[Member],
    ) -> Option<MisfortuneId> {
        match self {
            Self::ServerRefuses => {
                server.refuse_connections().await;
                server.disconnect_all();
            }
            Self::ServerAnswers4xx => {
                let busy = Misfortune::at(Moment::Rcpt).reply(451, "4.3.0 the switch is on");
                return Some(server.misfortunes().push(busy));
            }
            Self::ServerDiesAfterTheDot => {
                let dies = Misfortune::at(Moment::Dot).then(Act::AcceptThenDisconnect);
                return Some(server.misfortunes().push(dies));
            }
            Self::BrokerAway => broker.stop(),
            Self::MemberKilled => members[0].set(Life::Killed),
            Self::Zombie => members[1].set(Life::Suspended),
        }
        None
    }

    /// Ends it.
    pub(super) async fn end(
        self,
        begun: Option<MisfortuneId>,
        server: &SmtpServer,
        broker: &Broker,
        members: &[Member],
    ) -> Result<(), TroubleError> {
        begun.map(|id| server.misfortunes().remove(id));
        match self {
            Self::ServerRefuses => server.admit_connections().await?,
            Self::ServerAnswers4xx | Self::ServerDiesAfterTheDot => {}
            Self::BrokerAway => broker.start(),
            Self::MemberKilled => members[0].set(Life::Running),
            Self::Zombie => members[1].set(Life::Running),
        }
        Ok(())
    }
}

//! What the mail server can do, at every command.

use std::time::Duration;

use jobstream_testkit::simulation::Search;
use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};

/// The moments of a mail, where everything can happen.
const OF_MAILS: [Moment; 5] =
    [Moment::Mail, Moment::Rcpt, Moment::Data, Moment::Body { octets: 20 }, Moment::Dot];

/// The others, where less makes a difference.
const OF_CONNECTIONS: [Moment; 7] = [
    Moment::Connect,
    Moment::Ehlo,
    Moment::StartTls,
    Moment::Auth,
    Moment::Rset,
    Moment::Noop,
    Moment::Quit,
];

/// Some mails are answered by 421. Who has an idle connection besides asks by NOOP whether that is
/// over.
const RESTARTS: &str = "the server restarts";
const REFUSALS: u64 = 6;

fn reply(code: u16) -> Act {
    Act::Reply { code, text: "as the schedule wants it".to_owned() }
}

fn few_acts() -> Vec<Act> {
    vec![
        reply(421),
        reply(554),
        Act::DisconnectBefore,
        Act::AcceptThenDisconnect,
        Act::Stall,
        Act::Delay(Duration::from_secs(6)),
    ]
}

fn all_acts() -> Vec<Act> {
    vec![
        reply(421),
        reply(452),
        reply(554),
        Act::DisconnectBefore,
        Act::DisconnectAfter,
        Act::AcceptThenDisconnect,
        Act::Stall,
        Act::AcceptThenStall,
        Act::SplitReply,
        Act::Delay(Duration::from_secs(2)),
        Act::Delay(Duration::from_secs(3)),
        Act::Delay(Duration::from_secs(6)),
    ]
}

/// Adds acts at each moment, to strike once, at the next occasion.
pub(crate) fn with_misfortunes(mut search: Search<SmtpServer>) -> Search<SmtpServer> {
    let of_mails = OF_MAILS.map(|moment| (moment, all_acts()));
    let of_connections = OF_CONNECTIONS.map(|moment| (moment, few_acts()));
    for (moment, acts) in of_mails.into_iter().chain(of_connections) {
        for act in acts {
            let name: &'static str = match &act {
                Act::Reply { code, .. } => format!("{code} at {moment:?}").leak(),
                act => format!("{act:?} at {moment:?}").leak(),
            };
            search = search.misfortune(name, move |server: &SmtpServer| {
                let once = Misfortune::at(moment).times(1).then(act.clone());
                server.misfortunes().push(once);
            });
        }
    }
    let restarts = |server: &SmtpServer| {
        let refusal = Misfortune::at(Moment::Mail).times(REFUSALS).reply(421, "restarting");
        server.misfortunes().push(refusal);
    };
    search.misfortune(RESTARTS, restarts).brought_about("smtp NOOP", RESTARTS)
}

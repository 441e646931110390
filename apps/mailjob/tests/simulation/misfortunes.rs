//! What the mail server can do, at every command.

use std::time::Duration;

use jobstream_testkit::simulation::Search;
use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};

use crate::jobs::customer;

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

/// What a reply says that the schedule wants.
pub(crate) const AS_WANTED: &str = "as the schedule wants it";

/// The job on whose recipient the server hangs up at times, and on no other's.
pub(crate) const HUNG_UP: u64 = 31;
const HANG_UPS: u64 = 8;

/// Some mails are answered by 421, and so are the connections after them.
const RESTARTS: &str = "the server restarts";
const REFUSALS: u64 = 4;
/// Some mails are answered by 530, which opens the circuit: a member that has an idle connection besides
/// asks by NOOP whether that is over.
const EXPIRES: &str = "a login expires";
const EXPIRATIONS: u64 = 3;

/// The server takes connections beyond so many, and does not greet them.
const SERVES_FEW: [(&str, u64); 2] = [("one connection is served", 1), ("two are served", 2)];

fn reply(code: u16) -> Act {
    Act::Reply { code, text: AS_WANTED.to_owned() }
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
    for (name, act) in
        [("421 to one recipient", reply(421)), ("closed on one recipient", Act::DisconnectBefore)]
    {
        search = search.misfortune(name, move |server: &SmtpServer| {
            let hang_up = Misfortune::at(Moment::Rcpt).to(customer(HUNG_UP)).times(HANG_UPS);
            server.misfortunes().push(hang_up.then(act.clone()));
        });
    }
    let restarts = |server: &SmtpServer| {
        for moment in [Moment::Mail, Moment::Ehlo] {
            let refusal = Misfortune::at(moment).times(REFUSALS).reply(421, "restarting");
            server.misfortunes().push(refusal);
        }
    };
    let expires = |server: &SmtpServer| {
        let refusal = Misfortune::at(Moment::Mail).times(EXPIRATIONS).reply(530, "log in again");
        server.misfortunes().push(refusal);
    };
    for (name, connections) in SERVES_FEW {
        search = search.misfortune(name, move |server: &SmtpServer| {
            server.serve_at_most(connections);
            // So that `are_hang_ups_alone` sees it.
            let noted = Misfortune::at(Moment::Any).times(1).then(Act::Delay(Duration::ZERO));
            server.misfortunes().push(noted);
        });
    }
    search
        .healed_by(|server| server.serve_at_most(u64::MAX))
        .misfortune(RESTARTS, restarts)
        .misfortune(EXPIRES, expires)
        .brought_about("smtp NOOP", EXPIRES)
}

/// Whether nothing went wrong in a run but that the server hung up on one recipient, and what it does
/// in every run of its seed.
pub(crate) fn are_hang_ups_alone(server: &SmtpServer) -> bool {
    let recipient = format!("to={}", customer(HUNG_UP));
    let strikes = server.misfortunes().strikes();
    let of_the_schedule = strikes.iter().filter(|(it, _)| it.to_string().contains(" times="));
    let mut struck = of_the_schedule.filter(|(_, struck)| *struck > 0);
    struck.all(|(misfortune, _)| misfortune.to_string().contains(&recipient))
}

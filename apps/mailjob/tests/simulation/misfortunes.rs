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
/// asks by NOOP whether that is over. So many, that every member is likely to meet some.
const EXPIRES: &str = "a login expires";
const EXPIRATIONS: u64 = 8;

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

/// Adds what can go wrong at the server of a run.
pub(crate) fn with_misfortunes(search: Search<SmtpServer>) -> Search<SmtpServer> {
    with_misfortunes_of(search, "", |server| server)
        .healed_by(|server| server.serve_at_most(u64::MAX))
}

/// Adds what can go wrong at one of the servers of a run: acts at each moment, to strike once, at the
/// next occasion, and more. Their names begin with `prefix`.
pub(crate) fn with_misfortunes_of<O: Send + Sync + 'static>(
    mut search: Search<O>,
    prefix: &'static str,
    server_of: fn(&O) -> &SmtpServer,
) -> Search<O> {
    let named = |name: &str| -> &'static str { format!("{prefix}{name}").leak() };
    let of_mails = OF_MAILS.map(|moment| (moment, all_acts()));
    let of_connections = OF_CONNECTIONS.map(|moment| (moment, few_acts()));
    for (moment, acts) in of_mails.into_iter().chain(of_connections) {
        for act in acts {
            let name = match &act {
                Act::Reply { code, .. } => named(&format!("{code} at {moment:?}")),
                act => named(&format!("{act:?} at {moment:?}")),
            };
            search = search.misfortune(name, move |outside| {
                let once = Misfortune::at(moment).times(1).then(act.clone());
                server_of(outside).misfortunes().push(once);
            });
        }
    }
    for (name, act) in
        [("421 to one recipient", reply(421)), ("closed on one recipient", Act::DisconnectBefore)]
    {
        search = search.misfortune(named(name), move |outside| {
            let hang_up = Misfortune::at(Moment::Rcpt).to(customer(HUNG_UP)).times(HANG_UPS);
            server_of(outside).misfortunes().push(hang_up.then(act.clone()));
        });
    }
    let restarts = move |outside: &O| {
        for moment in [Moment::Mail, Moment::Ehlo] {
            let refusal = Misfortune::at(moment).times(REFUSALS).reply(421, "restarting");
            server_of(outside).misfortunes().push(refusal);
        }
    };
    let expires = move |outside: &O| {
        let refusal = Misfortune::at(Moment::Mail).times(EXPIRATIONS).reply(530, "log in again");
        server_of(outside).misfortunes().push(refusal);
    };
    for (name, connections) in SERVES_FEW {
        search = search.misfortune(named(name), move |outside| {
            let server = server_of(outside);
            server.serve_at_most(connections);
            // So that `are_hang_ups_alone` sees it.
            let noted = Misfortune::at(Moment::Any).times(1).then(Act::Delay(Duration::ZERO));
            server.misfortunes().push(noted);
        });
    }
    let expires_name = named(EXPIRES);
    search
        .misfortune(named(RESTARTS), restarts)
        .misfortune(expires_name, expires)
        .brought_about("smtp NOOP", expires_name)
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

//! Misfortunes of every kind, shuffled over many jobs on few connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jobstream::sinks::smtp::{MailSink, TimeLimits};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Extension, Misfortune, Moment, SmtpServer};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use tokio::time::timeout;

use super::peer::{let_others_run, poll_times, send, sink, with_connections};

const CONNECTIONS: usize = 3;
const JOBS: usize = 30;
const ATTEMPTS: usize = 12;
const REFUSED: &str = "refused@example.net";

/// What is known of one job at its end.
#[derive(Default)]
pub(crate) struct Fate {
    accepted: Option<String>,
    refused: bool,
    /// Attempts after which nobody knows: ambiguous, or dropped.
    doubts: u64,
}

impl Fate {
    /// Whether its mail has arrived as it should, by how often mails have. Gives its Message-ID.
    pub(crate) fn holds(&self, id: &str, counts: &BTreeMap<String, u64>) -> Option<String> {
        let message_id = self.accepted.as_ref()?.trim_matches(['<', '>']).to_owned();
        let count = counts.get(&message_id).copied().unwrap_or(0);
        assert!(count >= 1, "{id} was reported as sent, and did not arrive");
        assert!(count <= 1 + self.doubts, "{id} was sent again after its answer");
        Some(message_id)
    }
}

/// What a server says to the jobs that it does not want.
pub(crate) fn refusal() -> Misfortune {
    Misfortune::at(Moment::Dot).to(REFUSED).reply(554, "looks like spam")
}

fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        Just(Moment::Connect),
        Just(Moment::Ehlo),
        Just(Moment::Mail),
        Just(Moment::Rcpt),
        Just(Moment::Data),
        Just(Moment::Dot),
        Just(Moment::Rset),
        Just(Moment::Any),
        (0..300u64).prop_map(|octets| Moment::Body { octets }),
        (1..40u64).prop_map(|seconds| Moment::Idle { after: Duration::from_secs(seconds) }),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let reply = |code| Act::Reply { code, text: "misfortune\nof two lines".into() };
    prop_oneof![
        prop_oneof![Just(421u16), Just(450), Just(451), Just(550), Just(554), Just(530)]
            .prop_map(reply),
        Just(Act::DisconnectBefore),
        Just(Act::DisconnectAfter),
        Just(Act::AcceptThenDisconnect),
        Just(Act::Stall),
        Just(Act::AcceptThenStall),
        Just(Act::SplitReply),
        (0..20u64).prop_map(|seconds| Act::Delay(Duration::from_secs(seconds))),
    ]
}

pub(crate) fn misfortunes() -> impl Strategy<Value = Vec<Misfortune>> {
    let one = (moments(), acts(), 1..5u8).prop_map(|(moment, act, tenths)| {
        Misfortune::at(moment).probability(f64::from(tenths) / 10.0).times(25).then(act)
    });
    proptest::collection::vec(one, 0..6)
}

pub(crate) async fn run_job(sink: &MailSink, number: usize, polls: usize) -> (String, Fate) {
    let id = format!("job-{number}");
    let to = if number.is_multiple_of(5) { REFUSED } else { "to@example.net" };
    let mut fate = Fate::default();
    // Every third job is dropped once, somewhere.
    if number.is_multiple_of(3) {
        let dropped = poll_times(send(sink, &id, to), polls).await;
        match dropped {
            Some(Ok(accepted)) => fate.accepted = Some(accepted.message_id),
            Some(Err(error)) => fate.doubts += u64::from(error.kind() == JobErrorKind::Ambiguous),
            None => fate.doubts += 1,
        }
    }
    for _ in 0..ATTEMPTS {
        if fate.accepted.is_some() || fate.refused {
            break;
        }
        if timeout(Duration::from_secs(3600), sink.ready()).await.is_err() {
            break;
        }
        match send(sink, &id, to).await {
            Ok(accepted) => fate.accepted = Some(accepted.message_id),
            Err(error) => match error.kind() {
                JobErrorKind::Permanent => fate.refused = true,
                JobErrorKind::Ambiguous => fate.doubts += 1,
                _ => {}
            },
        }
    }
    assert!(to != REFUSED || fate.accepted.is_none(), "a refused mail was reported as sent");
    (id, fate)
}

async fn shuffle(misfortunes: Vec<Misfortune>, seed: u64, pipelining: bool, polls: Vec<usize>) {
    let mut builder = SmtpServer::builder().seed(seed).misfortune(refusal());
    if !pipelining {
        builder = builder.without(Extension::Pipelining);
    }
    for misfortune in misfortunes {
        builder = builder.misfortune(misfortune);
    }
    let server = Arc::new(builder.in_memory().expect("a server in memory"));
    let limits = TimeLimits { final_reply: Duration::from_secs(15), ..TimeLimits::default() };
    let sink = sink(&server, &with_connections(CONNECTIONS).limits(limits));
    let jobs = polls.into_iter().enumerate().map(|(number, polls)| run_job(&sink, number, polls));
    let fates = join_all(jobs).await;
    let_others_run().await;

    let counts = server.inbox().counts();
    let mut known = BTreeSet::new();
    for (id, fate) in fates {
        if let Some(message_id) = fate.holds(&id, &counts) {
            assert!(known.insert(message_id), "two jobs have one Message-ID");
        }
    }
    assert!(sink.open_connections() <= CONNECTIONS);
    sink.close_idle();
    let_others_run().await;
    assert_eq!(sink.open_connections(), 0, "a connection has leaked");
}

#[test]
fn every_job_gets_its_own_answer_whatever_the_server_does() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let polls = proptest::collection::vec(0..40usize, JOBS);
    let all = (misfortunes(), any::<u64>(), any::<bool>(), polls);
    runner
        .run(&all, |(misfortunes, seed, pipelining, polls)| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime can be built");
            runtime.block_on(shuffle(misfortunes, seed, pipelining, polls));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_and_waiters_are_served_in_order() {
    let server = super::peer::server();
    server.misfortunes().push(Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_secs(1))));
    let sink = sink(&server, &with_connections(CONNECTIONS));
    let order = std::sync::Mutex::new(Vec::new());
    join_all((0..30).map(|number| {
        let (sink, order) = (&sink, &order);
        async move {
            assert!(send(sink, &format!("{number}"), "to@example.net").await.is_ok());
            order.lock().unwrap().push(number);
        }
    }))
    .await;
    assert_eq!(server.connections().peak, 3);
    assert_eq!(server.connections().total, 3);
    assert_eq!(*order.lock().unwrap(), (0..30).collect::<Vec<_>>());
}

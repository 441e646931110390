//! A mail takes the first connection that is there, whatever becomes of the others: servers with a
//! limit of connections, which they show by 421, by silence, or by refusing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::{join, join_all};
use jobstream::sinks::smtp::{Connect, MailSink, Phase, Stream, TimeLimits};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer, SmtpServerBuilder};
use proptest::prelude::{Just, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use tokio::time::{Instant, sleep, timeout};

use super::peer::{
    Log, Memory, OTHER, kind_of, let_others_run, poll_times, send, sink, sink_over,
    with_connections,
};

const REFUSED: &str = "refused@example.net";

fn in_memory(builder: SmtpServerBuilder) -> Arc<SmtpServer> {
    Arc::new(builder.in_memory().expect("a server in memory"))
}

/// Refuses connections beyond a limit, as a packet filter does, or closes them.
struct Refusing {
    server: Arc<SmtpServer>,
    limit: u64,
    closes: bool,
}

#[async_trait]
impl Connect for Refusing {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        if self.server.connections().open >= self.limit {
            if self.closes {
                return Ok(Box::new(tokio::io::duplex(1).0));
            }
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let stream = self.server.connect()?;
        // The server has taken it up before the next one is asked for.
        let_others_run().await;
        Ok(Box::new(stream))
    }
}

/// Sends to all of these at once, each until it has its answer.
async fn send_all(sink: &MailSink, mails: &[(String, &str)]) -> Vec<Option<JobErrorKind>> {
    join_all(mails.iter().map(|(id, to)| async {
        loop {
            sink.ready().await;
            match kind_of(sink, id, to).await {
                Some(JobErrorKind::Unavailable) => {}
                kind => return kind,
            }
        }
    }))
    .await
}

#[tokio::test(start_paused = true)]
async fn no_mail_waits_for_a_connection_that_is_not_greeted_while_others_come_free() {
    let server = in_memory(SmtpServer::builder().served_limit(2));
    let log = Arc::new(Log::default());
    let connect = Arc::new(Memory(Arc::clone(&server)));
    let sink = MailSink::with(&with_connections(10), connect, Arc::clone(&log) as _).unwrap();
    let start = Instant::now();
    let ids: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    let ends = join_all(ids.iter().map(|id| send(&sink, id, OTHER))).await;
    assert!(ends.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing was waited for");
    assert_eq!(server.connections().total, 2);
    assert_eq!(*log.changes.lock().unwrap(), [""; 0], "the circuit did not open");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lets_connections_wait_is_met_by_fewer_of_them_until_it_has_room() {
    let server = in_memory(SmtpServer::builder().served_limit(2));
    let config = with_connections(10).idle_limit(Duration::from_secs(3_600));
    let log = Arc::new(Log::default());
    let connect = Arc::new(Memory(Arc::clone(&server)));
    let sink = MailSink::with(&config, connect, Arc::clone(&log) as _).unwrap();
    let left_out = || log.left_out.load(Ordering::Relaxed);
    let burst = || async {
        let ids: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        assert!(
            join_all(ids.iter().map(|id| send(&sink, id, OTHER))).await.iter().all(Result::is_ok)
        );
    };
    let work = async {
        burst().await;
        assert_eq!((sink.open_connections(), left_out()), (10, 0));
        sleep(Duration::from_secs(6)).await;
        assert_eq!((sink.open_connections(), left_out()), (2, 8), "the others were given up");
        burst().await;
        assert_eq!(sink.open_connections(), 2);
        sleep(Duration::from_secs(60)).await;
        burst().await;
        burst().await;
        assert_eq!(sink.open_connections(), 3, "one a minute is tried again");
        server.serve_at_most(10);
        sleep(Duration::from_secs(60)).await;
        server
            .misfortunes()
            .push(Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_secs(1))));
        burst().await;
        burst().await;
        let found = (sink.open_connections(), left_out());
        assert_eq!(found, (10, 0), "one that is served shows that there is room");
    };
    tokio::select! {
        biased;
        () = sink.retire_idle() => unreachable!("it never completes"),
        () = work => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_greets_nobody_opens_the_circuit() {
    let server = in_memory(SmtpServer::builder().served_limit(0));
    let sink = sink(&server, &with_connections(3));
    let ids: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let ends = join_all(ids.iter().map(|id| kind_of(&sink, id, OTHER))).await;
    assert_eq!(ends, [Some(JobErrorKind::Unavailable); 10]);
    let reason = sink.unavailable_reason().expect("it is open");
    assert!(reason.starts_with("greeting: no answer within 300 s"), "{reason}");
    assert_eq!(sink.open_connections(), 0, "none is kept");
    server.serve_at_most(1);
    sink.ready().await;
    assert!(send(&sink, "1", OTHER).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_silent_server_has_an_answer_within_its_own_limits_and_learns_whether_mails_flow()
 {
    let server = in_memory(SmtpServer::builder().served_limit(1));
    let sink = sink(&server, &with_connections(2));
    let second = Duration::from_secs(1);
    let limits = TimeLimits { greeting: second, ..TimeLimits::default() };
    let ask = async || {
        let start = Instant::now();
        let relay = sink.relays().next().expect("there is one");
        let fault = relay.check_within(&limits).await.expect_err("the server is silent");
        assert_eq!((fault.phase(), start.elapsed()), (Phase::Greeting, second));
        relay.serves()
    };
    let slow = Misfortune::at(Moment::Dot).then(Act::Delay(2 * second));
    server.misfortunes().push(slow);
    let (sent, is_served) = join(send(&sink, "1", OTHER), async {
        let_others_run().await;
        ask().await
    })
    .await;
    assert!(sent.is_ok() && is_served);
    server.serve_at_most(0);
    assert!(!ask().await, "no mail is under way, and no connection is kept");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_greets_late_is_waited_for() {
    let late = Misfortune::at(Moment::Connect).then(Act::Delay(Duration::from_secs(20)));
    let server = in_memory(SmtpServer::builder().misfortune(late));
    let sink = sink(&server, &with_connections(2));
    assert!(send(&sink, "1", OTHER).await.is_ok());
    assert_eq!(server.connections().total, 4, "after 5, 10 and 20 s another one was tried");
    server
        .misfortunes()
        .push(Misfortune::at(Moment::Dot).times(1).then(Act::Delay(Duration::from_secs(60))));
    let (slow, other) = join(send(&sink, "2", OTHER), send(&sink, "3", OTHER)).await;
    assert!(slow.is_ok() && other.is_ok());
    assert_eq!(server.connections().total, 5, "the second one was not given up");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_ready_late_is_kept_for_the_next_mail() {
    let late = Misfortune::at(Moment::Connect).connection(2);
    let late = late.then(Act::Delay(Duration::from_secs(3)));
    let server = in_memory(SmtpServer::builder().misfortune(late));
    let sink = sink(&server, &with_connections(2));
    let (first, second) = join(send(&sink, "1", OTHER), send(&sink, "2", OTHER)).await;
    assert!(first.is_ok() && second.is_ok(), "both went by the first");
    let none = timeout(Duration::from_secs(4), sink.retire_idle()).await;
    assert!(none.is_err(), "it never completes");
    let slow = Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_secs(1)));
    server.misfortunes().push(slow);
    let start = Instant::now();
    let (third, fourth) = join(send(&sink, "3", OTHER), send(&sink, "4", OTHER)).await;
    assert!(third.is_ok() && fourth.is_ok());
    assert_eq!(start.elapsed(), Duration::from_secs(1), "each had a connection");
    assert_eq!(server.connections().total, 2);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_does_not_stop_the_connection_that_it_began() {
    let late = Misfortune::at(Moment::Connect).then(Act::Delay(Duration::from_secs(2)));
    let server = in_memory(SmtpServer::builder().misfortune(late));
    let sink = sink(&server, &with_connections(1));
    let mut first = Box::pin(send(&sink, "first", OTHER));
    assert!(poll_times(&mut first, 3).await.is_none());
    let mut second = Box::pin(send(&sink, "second", OTHER));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert!(second.await.is_ok());
    assert_eq!(server.connections().total, 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_is_not_answered_and_takes_no_turn() {
    let server = in_memory(SmtpServer::builder().served_limit(0));
    let sink = sink(&server, &with_connections(1));
    let mut stays = Box::pin(send(&sink, "stays", OTHER));
    assert!((&mut stays).now_or_never().is_none());
    for number in 0..10_000 {
        assert!(send(&sink, &number.to_string(), OTHER).now_or_never().is_none());
    }
    server.serve_at_most(1);
    assert!(stays.await.is_ok());
    let_others_run().await;
    assert_eq!((server.inbox().count(), server.connections().total), (1, 1));
}

#[derive(Clone, Copy, Debug)]
enum Limited {
    Says421,
    IsSilent,
    Refuses,
    Closes,
}

/// Sends mails by as many connections as we please to a server that has fewer. Every mail gets its
/// own answer, and the right one.
async fn limited(
    by: Limited,
    limit: u64,
    connections: usize,
    mails: usize,
    slow: bool,
    drops: Vec<usize>,
) {
    let refusal = Misfortune::at(Moment::Dot).to(REFUSED).reply(554, "looks like spam");
    let mut builder = SmtpServer::builder().misfortune(refusal);
    if slow {
        let delay = Misfortune::at(Moment::Dot).every(3).then(Act::Delay(Duration::from_secs(1)));
        builder = builder.misfortune(delay);
    }
    builder = match by {
        Limited::Says421 => builder.connections_limit(limit),
        Limited::IsSilent => builder.served_limit(limit),
        Limited::Refuses | Limited::Closes => builder,
    };
    let server = in_memory(builder);
    let config = with_connections(connections);
    let sink = match by {
        Limited::Refuses | Limited::Closes => {
            let closes = matches!(by, Limited::Closes);
            sink_over(Refusing { server: Arc::clone(&server), limit, closes }, &config)
        }
        _ => sink(&server, &config),
    };
    let to = |number: usize| if number.is_multiple_of(4) { REFUSED } else { OTHER };
    let mails: Vec<_> = (0..mails).map(|number| (format!("mail {number}"), to(number))).collect();
    // Some are dropped somewhere: their commands may stand on a connection, and their openings go on.
    let dropped = join_all(drops.iter().enumerate().map(|(number, polls)| {
        let sink = &sink;
        async move { poll_times(send(sink, &format!("dropped {number}"), OTHER), *polls).await }
    }));
    let (kinds, _) = join(send_all(&sink, &mails), dropped).await;
    let counts = server.inbox().counts();
    for ((id, to), kind) in mails.iter().zip(kinds) {
        let expected = (*to == REFUSED).then_some(JobErrorKind::Permanent);
        assert_eq!(kind, expected, "{id}");
    }
    assert!(counts.values().all(|count| *count == 1), "a mail was sent twice");
    let accepted = mails.iter().filter(|(_, to)| *to == OTHER).count();
    assert!((accepted..=accepted + drops.len()).contains(&counts.len()));
    assert!(sink.open_connections() <= connections);
    sink.close_idle();
    let_others_run().await;
    assert_eq!(sink.open_connections(), 0, "a connection has leaked");
    let one_more = [("one more".to_owned(), OTHER)];
    let sent = timeout(Duration::from_secs(3_600), send_all(&sink, &one_more)).await;
    assert_eq!(sent, Ok(vec![None]), "a slot was lost");
}

#[test]
fn every_mail_gets_its_own_answer_from_a_server_with_a_hidden_limit() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let by = prop_oneof![
        Just(Limited::Says421),
        Just(Limited::IsSilent),
        Just(Limited::Refuses),
        Just(Limited::Closes),
    ];
    let drops = proptest::collection::vec(0..30usize, 0..8);
    let all = (by, 1..6u64, 1..12usize, 1..60usize, any::<bool>(), drops);
    runner
        .run(&all, |(by, limit, connections, mails, slow, drops)| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime can be built");
            runtime.block_on(limited(by, limit, connections, mails, slow, drops));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

//! Several relays: the first that is well takes a mail, and no end of a mail is passed on to another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use jobstream::sinks::smtp::{
    ConfigError, Connect, MailConfig, MailSink, Observer, RelayConfig, TimeLimits, TlsMode,
};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Extension, Misfortune, Moment, SmtpServer, SmtpServerBuilder};
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use tokio::time::{Instant, sleep, timeout};

use super::misfortunes::{misfortunes, run_job};
use super::peer::{Memory, OTHER, config, kind_of, let_others_run, paused, send, server};

const NAMES: [&str; 2] = ["mx1:25", "mx2:25"];
const CONNECTIONS: usize = 3;
const JOBS: usize = 30;

/// Without TLS, with few connections to each of two relays.
fn of_two() -> MailConfig {
    let mut config =
        config().fallback("mx2").connections_max(CONNECTIONS.try_into().expect("not zero"));
    config.relays[0].host = "mx1".to_owned();
    config
}

/// A sink over two servers, in order of preference.
fn sink_of(servers: &[Arc<SmtpServer>; 2], config: &MailConfig) -> MailSink {
    let ends = |relay: &RelayConfig| {
        let place = NAMES.iter().position(|name| *name == relay.name()).expect("one of both");
        let connect: Arc<dyn Connect> = Arc::new(Memory(Arc::clone(&servers[place])));
        (connect, Arc::new(()) as Arc<dyn Observer>)
    };
    MailSink::over(config, ends).expect("good settings")
}

/// The relay that took a mail.
async fn relay_of(sink: &MailSink, id: &str) -> String {
    let accepted = send(sink, id, OTHER).await.unwrap_or_else(|error| panic!("{error}"));
    accepted.relay.expect("there are several").to_string()
}

#[tokio::test(start_paused = true)]
async fn a_mail_goes_to_the_first_relay_that_is_well_and_again_to_the_preferred_when_it_is_back() {
    let servers = [server(), server()];
    let sink = sink_of(&servers, &of_two());
    assert_eq!(relay_of(&sink, "1").await, NAMES[0]);
    sink.close_idle();
    servers[0].refuse_connections().await;
    assert_eq!(relay_of(&sink, "2").await, NAMES[1], "within the same attempt");
    assert!(sink.ready().now_or_never().is_some(), "one is well");
    assert!(sink.relays().next().unwrap().unavailable_reason().is_some());
    servers[0].admit_connections().await.unwrap();
    // Nothing is polled beside the mails themselves.
    let mut sent = 2;
    while servers[0].inbox().count() == 1 {
        sent += 1;
        assert!(sent < 1_000, "the preferred relay is never used again");
        send(&sink, &sent.to_string(), OTHER).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(relay_of(&sink, "last").await, NAMES[0]);
    assert_eq!(sink.unavailable_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_away_is_asked_while_no_mail_goes() {
    let servers = [server(), server()];
    let sink = sink_of(&servers, &of_two());
    servers[0].refuse_connections().await;
    assert_eq!(relay_of(&sink, "1").await, NAMES[1]);
    servers[0].admit_connections().await.unwrap();
    let limit = Duration::from_secs(60);
    assert!(timeout(limit, sink.retire_idle()).await.is_err(), "it never completes");
    assert_eq!(relay_of(&sink, "2").await, NAMES[0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_relay_says_of_a_mail_counts_and_is_asked_of_no_other() {
    for (act, kind) in [
        (Act::Reply { code: 451, text: "greylisted".into() }, JobErrorKind::Transient),
        (Act::Reply { code: 550, text: "no such user".into() }, JobErrorKind::Permanent),
        (Act::AcceptThenDisconnect, JobErrorKind::Ambiguous),
        (Act::DisconnectBefore, JobErrorKind::Ambiguous),
    ] {
        let servers = [server(), server()];
        servers[0].misfortunes().push(Misfortune::at(Moment::Dot).times(1).then(act.clone()));
        let sink = sink_of(&servers, &of_two());
        let error = send(&sink, "1", OTHER).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{act:?}");
        assert!(error.reason().starts_with("mx1:25: "), "{error}");
        assert_eq!(servers[1].connections().total, 0, "{act:?}");
        assert_eq!(relay_of(&sink, "2").await, NAMES[0], "it is well: {act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_that_needs_smtputf8_goes_to_a_relay_that_offers_it() {
    const NEEDS_IT: &str = "jos\u{e9}@example.org";
    let without =
        || Arc::new(SmtpServer::builder().without(Extension::SmtpUtf8).in_memory().unwrap());
    let servers = [without(), server()];
    let sink = sink_of(&servers, &of_two());
    assert_eq!(relay_of(&sink, "1").await, NAMES[0]);
    let accepted = send(&sink, "2", NEEDS_IT).await.unwrap();
    assert_eq!(accepted.relay.as_deref(), Some(NAMES[1]));
    assert_eq!(relay_of(&sink, "3").await, NAMES[0], "the first relay is well");

    // It is tried again while the one that offers it is away, and fails where none does.
    sink.close_idle();
    servers[1].refuse_connections().await;
    assert_eq!(kind_of(&sink, "4", NEEDS_IT).await, Some(JobErrorKind::Transient));
    let sink = sink_of(&[without(), without()], &of_two());
    let error = send(&sink, "5", NEEDS_IT).await.unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::Permanent);
    assert!(error.reason().ends_with("SMTPUTF8, and no server offers it"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_in_the_midst_of_a_mail_moves_it_on_without_counting() {
    for moment in [Moment::Mail, Moment::Rcpt, Moment::Dot] {
        let servers = [server(), server()];
        servers[0].misfortunes().push(Misfortune::at(moment).reply(421, "closing"));
        let sink = sink_of(&servers, &of_two());
        assert_eq!(relay_of(&sink, "1").await, NAMES[1], "{moment:?}");
        assert_eq!(servers[0].inbox().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_intake_stops_only_while_no_relay_is_well() {
    let servers = [server(), server()];
    let sink = sink_of(&servers, &of_two());
    for server in &servers {
        assert!(sink.ready().now_or_never().is_some());
        sink.close_idle();
        server.refuse_connections().await;
        let _ = send(&sink, "1", OTHER).await;
    }
    assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Unavailable));
    assert!(sink.ready().now_or_never().is_none());
    let reason = sink.unavailable_reason().unwrap();
    assert!(NAMES.iter().all(|name| reason.contains(name)), "{reason}");
    servers[1].admit_connections().await.unwrap();
    sink.ready().await;
    assert_eq!(relay_of(&sink, "2").await, NAMES[1]);
}

#[tokio::test(start_paused = true)]
async fn mails_that_wait_for_the_rate_of_a_relay_which_goes_away_do_not_wait_on() {
    let servers = [server(), server()];
    let mut config = of_two();
    config.relays[0].mails_per_second_max = Some(1.try_into().unwrap());
    let sink = sink_of(&servers, &config);
    servers[0].misfortunes().push(Misfortune::at(Moment::Mail).reply(421, "closing"));
    let ids: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    let all = join_all(ids.iter().map(|id| relay_of(&sink, id)));
    let relays = timeout(Duration::from_secs(30), all).await.expect("none waits for its turn");
    assert!(relays.iter().all(|relay| relay == NAMES[1]));
}

#[tokio::test(start_paused = true)]
async fn mails_that_wait_for_a_relay_which_is_silent_go_to_the_next_after_five_seconds() {
    for mails in [1, 2, 50] {
        let silent = Arc::new(SmtpServer::builder().served_limit(0).in_memory().unwrap());
        let servers = [silent, server()];
        let sink = sink_of(&servers, &of_two());
        let start = Instant::now();
        let ids: Vec<_> = (0..mails).map(|number| number.to_string()).collect();
        let relays = join_all(ids.iter().map(|id| relay_of(&sink, id))).await;
        assert!(relays.iter().all(|relay| relay == NAMES[1]));
        assert_eq!(start.elapsed(), Duration::from_secs(5), "{mails} mails");
        // It is called unavailable while mails go to the next one, and no longer.
        assert!(sink.relays().next().unwrap().unavailable_reason().is_some());
        servers[0].serve_at_most(10);
        assert!(timeout(Duration::from_secs(60), sink.retire_idle()).await.is_err());
        assert_eq!(sink.relays().next().unwrap().unavailable_reason(), None);
        assert_eq!(relay_of(&sink, "last").await, NAMES[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_at_its_limit_of_connections_is_well() {
    let limited = SmtpServer::builder().connections_limit(1).in_memory().unwrap();
    let servers = [Arc::new(limited), server()];
    let sink = sink_of(&servers, &of_two());
    let ids: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    join_all(ids.iter().map(|id| relay_of(&sink, id))).await;
    let counts = servers.each_ref().map(|server| server.inbox().count());
    assert_eq!(counts.iter().sum::<u64>(), 200);
    assert_eq!(relay_of(&sink, "last").await, NAMES[0]);
}

#[test]
fn a_relay_stands_once_in_the_settings_and_an_error_names_it() {
    let twice = config().fallback("localhost");
    assert_eq!(MailSink::new(&twice).unwrap_err(), ConfigError::Twice("localhost:25".into()));
    let mut wrong = of_two().tls(TlsMode::StartTls);
    wrong.relays[1].tls_ca_pem = Some(b"nothing".to_vec());
    let error = MailSink::new(&wrong).unwrap_err().to_string();
    assert!(error.starts_with("relay mx2:25: tls_ca_pem: found "), "{error}");
    let mut none = of_two();
    none.relays.clear();
    assert!(matches!(MailSink::new(&none), Err(ConfigError::Host { .. })));
}

/// Whatever both servers do, a mail arrives once for its acceptance, and at most once more for each
/// end that nobody knows: over both of them.
async fn shuffle(of_each: [Vec<Misfortune>; 2], seed: u64, polls: Vec<usize>) {
    let servers = of_each.map(|misfortunes| {
        let builder = misfortunes.into_iter().fold(
            SmtpServer::builder().seed(seed).misfortune(super::misfortunes::refusal()),
            SmtpServerBuilder::misfortune,
        );
        Arc::new(builder.in_memory().expect("a server in memory"))
    });
    let limits = TimeLimits { final_reply: Duration::from_secs(15), ..TimeLimits::default() };
    let sink = sink_of(&servers, &of_two().limits(limits));
    let jobs = polls.into_iter().enumerate().map(|(number, polls)| run_job(&sink, number, polls));
    let fates = join_all(jobs).await;
    let_others_run().await;

    let mut counts = BTreeMap::new();
    for (id, count) in servers.iter().flat_map(|server| server.inbox().counts()) {
        *counts.entry(id).or_insert(0) += count;
    }
    for (id, fate) in fates {
        fate.holds(&id, &counts);
    }
    assert!(sink.open_connections() <= 2 * CONNECTIONS);
    sink.close_idle();
    let_others_run().await;
    assert_eq!(sink.open_connections(), 0, "a connection has leaked");
}

#[test]
fn every_job_gets_its_own_answer_whatever_two_servers_do() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let polls = proptest::collection::vec(0..40usize, JOBS);
    let all = (misfortunes(), misfortunes(), any::<u64>(), polls);
    runner
        .run(&all, |(first, second, seed, polls)| {
            paused(shuffle([first, second], seed, polls));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

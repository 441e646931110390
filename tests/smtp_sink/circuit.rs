//! The circuit, the rate limit, and idle connections.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jobstream::sinks::smtp::{MailSink, Phase, ServerFaultKind};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
use tokio::time::{Instant, sleep};

use super::peer::{
    Log, Memory, OTHER, config, kind_of, let_others_run, send, server, sink, with_connections,
};

#[tokio::test(start_paused = true)]
async fn the_circuit_opens_holds_and_closes_again_with_one_line_a_change() {
    let server = server();
    let log = Arc::new(Log::default());
    let connect = Arc::new(Memory(Arc::clone(&server)));
    let sink = MailSink::with(&config(), connect, Arc::clone(&log) as _).unwrap();
    assert!(sink.ready().now_or_never().is_some());

    server.refuse_connections().await;
    assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Unavailable));
    assert!(sink.ready().now_or_never().is_none());
    assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Unavailable));
    let start = Instant::now();
    let back = async {
        sleep(Duration::from_secs(100)).await;
        server.admit_connections().await.unwrap();
    };
    tokio::join!(sink.ready(), sink.ready(), back);
    let waited = start.elapsed().as_secs();
    assert!((100..=130).contains(&waited), "back after {waited} s");
    assert!(sink.ready().now_or_never().is_some());
    assert!(send(&sink, "1", OTHER).await.is_ok());
    assert_eq!(server.connections().total, 1, "the probe's connection is used");
    let changes = log.changes.lock().unwrap();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes[0].starts_with("mail server unavailable: connect: "), "{changes:?}");
    assert_eq!(changes[1], "mail server available");
}

#[tokio::test(start_paused = true)]
async fn dropping_who_waits_for_the_circuit_changes_nothing() {
    let server = server();
    server.misfortunes().push(Misfortune::at(Moment::Connect).times(3).reply(421, "busy"));
    let sink = sink(&server, &config());
    assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Unavailable));
    for _ in 0..20 {
        let _ = tokio::time::timeout(Duration::from_millis(300), sink.ready()).await;
    }
    sink.ready().await;
    assert!(send(&sink, "1", OTHER).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_probe_asks_an_idle_connection_by_noop() {
    let server = server();
    let sink = sink(&server, &with_connections(3));
    let mails = ["1", "2", "3"].map(|id| send(&sink, id, OTHER));
    assert!(futures::future::join_all(mails).await.iter().all(Result::is_ok));
    // Each is asked once more on a fresh connection.
    server.misfortunes().push(Misfortune::at(Moment::Rcpt).times(4).reply(421, "later"));
    assert_eq!(kind_of(&sink, "4", OTHER).await, Some(JobErrorKind::Unavailable));
    assert_eq!(sink.unavailable_reason(), None, "it was taking mails until now");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(kind_of(&sink, "5", OTHER).await, Some(JobErrorKind::Unavailable));
    assert!(sink.unavailable_reason().is_some());
    sink.ready().await;
    assert_eq!(server.connections().total, 5);
    assert!(server.conversation().iter().any(|exchange| exchange.moment == Moment::Noop));
}

#[tokio::test(start_paused = true)]
async fn the_pool_settles_at_what_the_server_allows_and_fails_no_job() {
    let builder = SmtpServer::builder().connections_limit(2);
    let server = Arc::new(builder.in_memory().unwrap());
    let log = Arc::new(Log::default());
    let connect = Arc::new(Memory(Arc::clone(&server)));
    let sink = MailSink::with(&with_connections(6), connect, Arc::clone(&log) as _).unwrap();
    let ids: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    futures::future::join_all(ids.iter().map(|id| async {
        while let Err(error) = send(&sink, id, OTHER).await {
            assert_eq!(error.kind(), JobErrorKind::Unavailable);
            sink.ready().await;
        }
    }))
    .await;
    assert_eq!(server.inbox().count(), 300);
    let changes = log.changes.lock().unwrap();
    assert!(changes.len() <= 4, "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_holds_over_all_connections() {
    let server = server();
    let config = with_connections(8)
        .mails_per_second_max(Some(10.try_into().unwrap()))
        .mails_burst_max(5.try_into().unwrap());
    let sink = sink(&server, &config);
    let start = Instant::now();
    let mails = (0..45).map(|n| format!("{n}")).collect::<Vec<_>>();
    let sent = futures::future::join_all(mails.iter().map(|id| send(&sink, id, OTHER))).await;
    assert!(sent.iter().all(Result::is_ok));
    let millis = start.elapsed().as_millis();
    assert!((4000..4100).contains(&millis), "45 mails, 5 at once and 10 a second: {millis} ms");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_retired_with_quit() {
    let server = server();
    let sink = sink(&server, &with_connections(4));
    let mails = ["1", "2", "3", "4"].map(|id| send(&sink, id, OTHER));
    assert!(futures::future::join_all(mails).await.iter().all(Result::is_ok));
    assert_eq!(sink.open_connections(), 4);
    let work = async {
        for number in 0..50 {
            sleep(Duration::from_secs(1)).await;
            assert!(send(&sink, &format!("later {number}"), OTHER).await.is_ok());
        }
        let_others_run().await;
        assert_eq!(server.connections().open, 1, "one is in use, the others were retired");
        sleep(Duration::from_secs(70)).await;
        assert_eq!((sink.open_connections(), server.connections().open), (0, 0));
    };
    tokio::select! {
        biased;
        () = sink.retire_idle() => unreachable!("it never completes"),
        () = work => {}
    }
    let quits = server.conversation().iter().filter(|e| e.moment == Moment::Quit).count();
    assert_eq!(quits, 4);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_to_a_probe_is_not_waited_for_forever() {
    let server = server();
    let sink = sink(&server, &config());
    assert!(send(&sink, "1", OTHER).await.is_ok());
    server.misfortunes().push(Misfortune::at(Moment::Mail).times(2).reply(421, "busy"));
    server.misfortunes().push(Misfortune::at(Moment::Noop).then(Act::Stall));
    assert_eq!(kind_of(&sink, "2", OTHER).await, Some(JobErrorKind::Unavailable));
    sink.ready().await;
    assert!(send(&sink, "2", OTHER).await.is_ok());
}

/// A sink with its log, where the server says 530 or nothing to every mail at this moment.
#[expect(clippy::unwrap_used, reason = "a test")]
fn without_login(moment: Moment, act: Act) -> (Arc<SmtpServer>, MailSink, Arc<Log>) {
    let server = server();
    server.misfortunes().push(Misfortune::at(moment).then(act));
    let log = Arc::new(Log::default());
    let connect = Arc::new(Memory(Arc::clone(&server)));
    let sink = MailSink::with(&config(), connect, Arc::clone(&log) as _).unwrap();
    (server, sink, log)
}

/// The jobs of an hour, each tried again when the sink is ready, until the server is well.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_mail_of_anybody_is_reported_once_and_fails_no_job() {
    let login = Act::Reply { code: 530, text: "5.7.0 Authentication required".into() };
    for (moment, act) in [
        (Moment::Mail, login.clone()),
        (Moment::Mail, Act::Stall),
        (Moment::Rcpt, login),
        (Moment::Rcpt, Act::Stall),
        (Moment::Data, Act::Reply { code: 250, text: "what?".into() }),
    ] {
        let (server, sink, log) = without_login(moment, act.clone());
        let back = async {
            sleep(Duration::from_secs(3_600)).await;
            server.misfortunes().clear();
        };
        let attempts = async {
            let mut attempts = 1;
            while let Err(error) = send(&sink, "1", OTHER).await {
                assert_eq!(error.kind(), JobErrorKind::Unavailable, "{moment:?} {act:?}: {error}");
                attempts += 1;
                sink.ready().await;
            }
            attempts
        };
        let (attempts, ()) = tokio::join!(attempts, back);
        assert!(attempts < 300, "{moment:?} {act:?}: {attempts} attempts");
        let changes = log.changes.lock().unwrap();
        assert_eq!(changes.len(), 2, "{moment:?} {act:?}: {changes:?}");
        assert!(changes[0].starts_with("mail server unavailable: "), "{changes:?}");
        assert_eq!(changes[1], "mail server available");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_begins_a_mail_and_takes_it_back() {
    for (code, kind) in [(530, ServerFaultKind::Refused), (550, ServerFaultKind::Sender)] {
        let act = Act::Reply { code, text: "5.7.1 not from you".into() };
        let (server, sink, _) = without_login(Moment::Mail, act);
        let fault = sink.check().await.unwrap_err();
        assert_eq!((fault.phase(), fault.kind()), (Phase::Envelope, kind));
        assert_eq!(fault.to_string(), format!("MAIL: {code} 5.7.1 not from you"));
        server.misfortunes().clear();
        assert!(sink.check().await.is_ok());
        assert_eq!(server.inbox().count(), 0);
    }
}

/// Each mail has its own answer.
#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_the_sender_is_there() {
    let act = Act::Reply { code: 550, text: "5.7.1 not from you".into() };
    let (server, sink, _) = without_login(Moment::Mail, act);
    server.refuse_connections().await;
    assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Unavailable));
    server.admit_connections().await.unwrap();
    sink.ready().await;
    assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Permanent));
}

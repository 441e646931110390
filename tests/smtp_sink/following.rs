//! Mails that follow each other: where some wait for a connection, the commands of the next one are
//! written behind the final dot.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use jobstream::sinks::smtp::MailSink;
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Extension, Misfortune, Moment, SmtpServer, SmtpServerBuilder};
use tokio::time::{Instant, timeout};

use super::peer::{
    Budget, CutFirst, OTHER, config, kind_of, let_others_run, poll_times, send, server, sink,
    sink_over, with_connections,
};

const TO: &str = "to@example.net";
const REFUSED: &str = "refused@example.net";

/// Three mails and what they are answered, on one connection that has carried a mail before.
const BYTES: usize = 2_000;

/// Sends a mail to each of these at once, after one that shows how soon the server answers.
async fn burst(sink: &MailSink, recipients: &[&str]) -> Vec<Option<JobErrorKind>> {
    let ids = ["a", "b", "c", "d", "e", "f"];
    join_all(ids.into_iter().zip(recipients).map(|(id, to)| kind_of(sink, id, to))).await
}

/// The writes that it took to send six mails on a connection that had carried one.
async fn writes_of_six_mails(builder: SmtpServerBuilder) -> usize {
    let server = Arc::new(builder.in_memory().expect("a server in memory"));
    let connect = CutFirst::new(&server);
    let sink = sink_over(connect.clone(), &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    let before = connect.writes();
    assert_eq!(burst(&sink, &[TO; 6]).await, [None; 6]);
    assert_eq!(server.inbox().count(), 7);
    assert_eq!(server.connections().total, 1);
    connect.writes() - before
}

#[tokio::test(start_paused = true)]
async fn a_mail_that_follows_another_takes_one_write() {
    assert_eq!(writes_of_six_mails(SmtpServer::builder()).await, 7);
    // Each of the others has its envelope and its message, each a write.
    let slow = Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_secs(1)));
    assert_eq!(writes_of_six_mails(SmtpServer::builder().misfortune(slow)).await, 12);
    // Without PIPELINING, its four parts.
    let one_by_one = SmtpServer::builder().without(Extension::Pipelining);
    assert_eq!(writes_of_six_mails(one_by_one).await, 24);
}

#[tokio::test(start_paused = true)]
async fn each_mail_gets_its_own_answer_whatever_befell_the_one_before() {
    for moment in [Moment::Rcpt, Moment::Data, Moment::Dot] {
        for code in [450, 554] {
            let refusal = Misfortune::at(moment).to(REFUSED).reply(code, "no");
            let builder = SmtpServer::builder().misfortune(refusal);
            let server = Arc::new(builder.in_memory().expect("a server in memory"));
            let sink = sink(&server, &config());
            assert!(send(&sink, "before", OTHER).await.is_ok());
            let expected =
                if code == 554 { JobErrorKind::Permanent } else { JobErrorKind::Transient };
            let kinds = burst(&sink, &[TO, REFUSED, TO, TO]).await;
            assert_eq!(kinds, [None, Some(expected), None, None], "{moment:?} {code}");
            assert_eq!(server.inbox().count(), 4);
            // A refusal of commands that followed, and every one for now, is asked for again.
            let asked_again = code == 450 || moment != Moment::Dot;
            let connections = 1 + u64::from(asked_again);
            assert_eq!(server.connections().total, connections, "{moment:?} {code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_rset_after_a_refused_mail_is_asked_anew() {
    let refusal = Misfortune::at(Moment::Dot).to(REFUSED).reply(554, "looks like spam");
    let nested = Misfortune::at(Moment::Mail).message(3).reply(503, "nested MAIL");
    let builder = SmtpServer::builder().misfortune(refusal).misfortune(nested);
    let server = Arc::new(builder.in_memory().expect("a server in memory"));
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    let kinds = burst(&sink, &[REFUSED, TO]).await;
    assert_eq!(kinds, [Some(JobErrorKind::Permanent), None]);
    assert_eq!(server.connections().total, 2);
}

#[tokio::test(start_paused = true)]
async fn who_follows_does_not_wait_for_a_server_that_is_slow_to_accept() {
    let slow = Misfortune::at(Moment::Dot).to(REFUSED).then(Act::Delay(Duration::from_secs(300)));
    let server = server();
    let sink = sink(&server, &with_connections(2));
    // Both connections have answered soon.
    assert_eq!(burst(&sink, &[OTHER; 2]).await, [None; 2]);
    server.misfortunes().push(slow);
    let start = Instant::now();
    let others = async {
        let kinds = burst(&sink, &[TO; 6]).await;
        assert_eq!(kinds, [None; 6]);
        start.elapsed()
    };
    let (first, others) = join(kind_of(&sink, "slow", REFUSED), others).await;
    assert_eq!(first, None);
    assert!(others < Duration::from_secs(3), "they went by the other connection: {others:?}");
    assert_eq!(server.inbox().count(), 9);
    assert_eq!(server.connections().total, 2, "what was written for the one that left is closed");
    assert_eq!(sink.open_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_follows_does_not_wait_for_a_server_that_answers_the_dot_alone() {
    let server = server();
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    server.misfortunes().push(Misfortune::at(Moment::Mail).message(3).then(Act::Stall));
    let kinds = timeout(Duration::from_secs(3), burst(&sink, &[TO; 4])).await;
    assert_eq!(kinds, Ok(vec![None; 4]));
    assert_eq!(server.inbox().count(), 5);
    assert_eq!(server.connections().total, 2);
}

/// Cuts the connection in the middle of three mails that follow each other.
async fn cut(recipients: [&str; 3], budget: Budget) -> [Option<JobErrorKind>; 3] {
    let refusal = Misfortune::at(Moment::Dot).to(REFUSED).reply(554, "looks like spam");
    let builder = SmtpServer::builder().misfortune(refusal);
    let server = Arc::new(builder.in_memory().expect("a server in memory"));
    let connect = CutFirst::new(&server);
    let sink = sink_over(connect.clone(), &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    server.inbox().clear();
    connect.set(budget);
    let sends = recipients.map(|to| (to, send(&sink, to, to)));
    let ends = join_all(sends.map(|(to, send)| async move { (to, send.await) })).await;
    connect.set(Budget::NONE);
    let_others_run().await;
    let counts = server.inbox().counts();
    let mut doubts = 0;
    for (to, end) in &ends {
        match end {
            Ok(accepted) => {
                assert_ne!(*to, REFUSED, "a refused mail was reported as sent, {budget:?}");
                let id = accepted.message_id.trim_matches(['<', '>']);
                assert_eq!(counts.get(id), Some(&1), "accepted, {budget:?}");
            }
            Err(error) if error.kind() == JobErrorKind::Ambiguous => doubts += 1,
            Err(error) => {
                let refused = error.kind() == JobErrorKind::Permanent;
                assert!(!refused || *to == REFUSED, "nobody refused it, {budget:?}");
            }
        }
    }
    let accepted = ends.iter().filter(|(_, end)| end.is_ok()).count();
    assert!(counts.len() <= accepted + doubts, "sent, and nobody knows of it, {budget:?}");
    assert!(counts.values().all(|&count| count == 1));
    assert!(doubts <= 1, "one final dot can be without an answer, {budget:?}");
    sink.ready().await;
    assert!(send(&sink, "next", OTHER).await.is_ok(), "{budget:?}");
    assert_eq!(sink.open_connections(), 1);
    sink.close_idle();
    let_others_run().await;
    assert_eq!((sink.open_connections(), server.connections().open), (0, 0));
    let kind = |end: &Result<_, jobstream::sinks::JobError>| end.as_ref().err().map(|e| e.kind());
    [kind(&ends[0].1), kind(&ends[1].1), kind(&ends[2].1)]
}

#[tokio::test(start_paused = true)]
async fn a_cut_leaves_doubt_about_one_mail_at_most_and_costs_the_next_nothing() {
    for recipients in [[TO, "to2@example.net", OTHER], [TO, REFUSED, OTHER]] {
        let mut doubtful = [false; 3];
        for bytes in 0..BYTES {
            for budget in
                [Budget { written: bytes, ..Budget::NONE }, Budget { read: bytes, ..Budget::NONE }]
            {
                let kinds = cut(recipients, budget).await;
                for (doubtful, kind) in doubtful.iter_mut().zip(kinds) {
                    *doubtful |= kind == Some(JobErrorKind::Ambiguous);
                }
            }
        }
        assert_eq!(doubtful, [true; 3], "each of them was cut at its final dot");
    }
}

/// Drops the `nth` of three sends at poll `k`; false once it was not dropped.
async fn drop_at(k: usize, nth: usize, recipients: [&str; 3]) -> bool {
    let refusal = Misfortune::at(Moment::Dot).to(REFUSED).reply(554, "looks like spam");
    let split = Misfortune::at(Moment::Any).then(Act::SplitReply);
    let builder = SmtpServer::builder().misfortune(refusal).misfortune(split);
    let server = Arc::new(builder.in_memory().expect("a server in memory"));
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    server.inbox().clear();
    let ends = join_all(recipients.into_iter().enumerate().map(|(number, to)| {
        let sink = &sink;
        async move {
            let polls = if number == nth { k } else { usize::MAX };
            poll_times(send(sink, to, to), polls).await
        }
    }))
    .await;
    let_others_run().await;
    let counts = server.inbox().counts();
    for (number, (to, end)) in recipients.into_iter().zip(&ends).enumerate() {
        match end {
            Some(Ok(accepted)) => {
                let id = accepted.message_id.trim_matches(['<', '>']);
                assert_ne!(to, REFUSED, "a refused mail was sent, poll {k}");
                assert_eq!(counts.get(id), Some(&1), "poll {k}");
            }
            Some(Err(error)) => {
                assert_eq!(error.kind(), JobErrorKind::Permanent, "poll {k}: {error}");
                assert_eq!(to, REFUSED, "poll {k}");
            }
            None => assert_eq!(number, nth),
        }
    }
    let answered = ends.iter().flatten().filter(|end| end.is_ok()).count();
    let dropped = ends[nth].is_none();
    assert!(counts.len() <= answered + usize::from(dropped));
    assert_eq!(sink.open_connections() as u64, server.connections().open);
    assert!(sink.open_connections() <= 1, "poll {k}");
    dropped
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_takes_nobodys_answer_and_nobodys_turn() {
    for recipients in [[TO, REFUSED, OTHER], [REFUSED, TO, OTHER], [TO, OTHER, REFUSED]] {
        for nth in 0..3 {
            let mut k = 0;
            while drop_at(k, nth, recipients).await {
                k += 1;
            }
            assert!(k > 10, "there are many awaits, and it was dropped at {k} only");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_followed_a_send_that_was_dropped_is_still_next() {
    let server = server();
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    server.misfortunes().push(Misfortune::at(Moment::Dot).times(1).then(Act::Stall));
    let order = std::sync::Mutex::new(Vec::new());
    let dropped = timeout(Duration::from_secs(1), send(&sink, "dropped", TO));
    let others = join_all([1, 2, 3].map(|number| {
        let (sink, order) = (&sink, &order);
        async move {
            assert!(send(sink, &number.to_string(), TO).await.is_ok());
            order.lock().unwrap().push(number);
        }
    }));
    let (dropped, _) = join(dropped, others).await;
    assert!(dropped.is_err(), "it waited for its answer");
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    assert_eq!(server.connections().total, 2);
}

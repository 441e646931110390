//! The conversation is cut after every byte, in both directions.

use std::sync::Arc;

use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Extension, Misfortune, Moment, SmtpServer};

use super::peer::{Budget, CutFirst, OTHER, config, kind_of, let_others_run, send, sink_over};

const TO: &str = "to@example.net";

/// More than the conversation has in either direction.
const BYTES: usize = 900;

/// What the server does with `TO`; everybody else's mail it accepts.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Accepts,
    RefusesRecipient,
    RefusesMessage,
}

fn server(answer: Answer, pipelining: bool) -> Arc<SmtpServer> {
    let builder = SmtpServer::builder();
    let builder = if pipelining { builder } else { builder.without(Extension::Pipelining) };
    let builder = match answer {
        Answer::Accepts => builder,
        Answer::RefusesRecipient => {
            builder.misfortune(Misfortune::at(Moment::Rcpt).to(TO).reply(550, "no such user"))
        }
        Answer::RefusesMessage => {
            builder.misfortune(Misfortune::at(Moment::Dot).to(TO).reply(554, "looks like spam"))
        }
    };
    Arc::new(builder.in_memory().expect("a server in memory"))
}

/// Cuts the conversation of a mail, on a new connection or on one that has carried another.
async fn cut(answer: Answer, pipelining: bool, reused: bool, budget: Budget) {
    let server = server(answer, pipelining);
    let connect = CutFirst::new(&server);
    let sink = sink_over(connect.clone(), &config());
    if reused {
        assert!(send(&sink, "before", OTHER).await.is_ok());
        server.inbox().clear();
    }
    connect.set(budget);
    let kind = kind_of(&sink, "first", TO).await;
    connect.set(Budget::NONE);
    let_others_run().await;
    let arrived = server.inbox().mails().len();
    match (kind, answer) {
        (None, Answer::Accepts) => assert_eq!(arrived, 1, "accepted, {budget:?}"),
        (None, _) => panic!("a refused mail was reported as sent, {budget:?}"),
        (Some(JobErrorKind::Permanent), Answer::Accepts) => panic!("nobody refused it, {budget:?}"),
        (Some(JobErrorKind::Ambiguous), answer) => {
            assert!(answer != Answer::RefusesRecipient, "it was refused before, {budget:?}");
            assert!(arrived <= 1);
        }
        (Some(_), _) => assert_eq!(arrived, 0, "certainly not executed, {budget:?}"),
    }
    // Whatever happened, the next job gets its own answer, on a connection that is in order.
    sink.ready().await;
    assert!(send(&sink, "second", OTHER).await.is_ok(), "{budget:?}");
    assert_eq!(server.inbox().mails().len(), arrived + 1);
    assert_eq!(sink.open_connections(), 1);
    assert!(server.connections().peak <= 2, "the cut one may not have been noticed yet");
    sink.close_idle();
    let_others_run().await;
    assert_eq!((sink.open_connections(), server.connections().open), (0, 0));
}

async fn cut_everywhere(answer: Answer) {
    for (pipelining, reused) in [(true, true), (true, false), (false, true), (false, false)] {
        for bytes in 0..BYTES {
            let budget = Budget { written: bytes, ..Budget::NONE };
            cut(answer, pipelining, reused, budget).await;
            let budget = Budget { read: bytes, ..Budget::NONE };
            cut(answer, pipelining, reused, budget).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_never_makes_a_mail_of_unknown_fate_certain() {
    cut_everywhere(Answer::Accepts).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_never_makes_a_refused_recipient_a_sent_mail() {
    cut_everywhere(Answer::RefusesRecipient).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_never_makes_a_refused_message_a_sent_mail() {
    cut_everywhere(Answer::RefusesMessage).await;
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_fate_is_met_by_some_cut() {
    let mut kinds = Vec::new();
    for bytes in 0..BYTES {
        let server = server(Answer::Accepts, true);
        let budget = Budget { written: bytes, ..Budget::NONE };
        let connect = CutFirst::new(&server);
        connect.set(budget);
        let sink = sink_over(connect, &config());
        kinds.push(kind_of(&sink, "first", TO).await);
    }
    kinds.dedup();
    use JobErrorKind::{Ambiguous, Unavailable};
    assert_eq!(kinds, [Some(Unavailable), Some(Ambiguous), None]);
}

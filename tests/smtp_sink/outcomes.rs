//! What the server does, and what becomes of the job (DESIGN's table of fates).

use std::sync::Arc;
use std::time::Duration;

use jobstream::sinks::smtp::{ServerFaultKind, TimeLimits};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Extension, Misfortune, Moment, SmtpServer};

use super::peer::{OTHER, config, job_with, kind_of, let_others_run, send, server, sink};

use JobErrorKind::{Ambiguous, Permanent, Transient, Unavailable};

const TO: &str = "to@example.net";

async fn kind_after(moment: Moment, act: Act, pipelining: bool) -> Option<JobErrorKind> {
    let misfortune = Misfortune::at(moment).times(1).then(act.clone());
    let builder = SmtpServer::builder().misfortune(misfortune);
    let builder = if pipelining { builder } else { builder.without(Extension::Pipelining) };
    let server = Arc::new(builder.in_memory().expect("a server in memory"));
    let sink = sink(&server, &config());
    let kind = kind_of(&sink, "first", TO).await;
    let_others_run().await;
    if !matches!(kind, None | Some(Ambiguous)) {
        assert_eq!(server.inbox().count(), 0, "{moment:?} {act:?}");
    }
    assert_eq!(sink.unavailable_reason().is_some(), kind == Some(Unavailable));
    sink.ready().await;
    assert!(send(&sink, "next", OTHER).await.is_ok(), "{moment:?} {act:?}");
    kind
}

async fn expect(moment: Moment, act: Act, expected: Option<JobErrorKind>) {
    for pipelining in [true, false] {
        let kind = kind_after(moment, act.clone(), pipelining).await;
        assert_eq!(kind, expected, "{moment:?} {act:?}, pipelining {pipelining}");
    }
}

fn reply(code: u16) -> Act {
    Act::Reply { code, text: "because".into() }
}

#[tokio::test(start_paused = true)]
async fn replies_decide_by_their_code_and_moment() {
    for moment in [Moment::Mail, Moment::Rcpt, Moment::Data, Moment::Dot] {
        for code in [500, 501, 503, 521, 550, 552, 554] {
            expect(moment, reply(code), Some(Permanent)).await;
        }
        for code in [450, 451, 452] {
            expect(moment, reply(code), Some(Transient)).await;
        }
        for code in [421, 530, 535] {
            expect(moment, reply(code), Some(Unavailable)).await;
        }
    }
    for moment in [Moment::Connect, Moment::Ehlo] {
        for code in [421, 450, 554, 530] {
            expect(moment, reply(code), Some(Unavailable)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_decides_by_its_moment() {
    for act in [Act::DisconnectBefore, Act::AcceptThenDisconnect, Act::Stall, Act::AcceptThenStall]
    {
        let closes = matches!(act, Act::DisconnectBefore | Act::AcceptThenDisconnect);
        // A silent opening is given up for another one, which is served here.
        let expected = closes.then_some(Unavailable);
        expect(Moment::Connect, act.clone(), expected).await;
        expect(Moment::Ehlo, act.clone(), expected).await;
        for moment in [Moment::Mail, Moment::Rcpt, Moment::Data] {
            expect(moment, act.clone(), Some(Unavailable)).await;
        }
        expect(Moment::Dot, act, Some(Ambiguous)).await;
    }
    expect(Moment::Dot, Act::DisconnectAfter, None).await;
    expect(Moment::Any, Act::SplitReply, None).await;
    expect(Moment::Dot, Act::Delay(Duration::from_secs(599)), None).await;
    expect(Moment::Dot, Act::Delay(Duration::from_secs(601)), Some(Ambiguous)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_smtp_is_no_answer() {
    for code in [354, 200, 999, 100] {
        expect(Moment::Rcpt, reply(code), if code == 200 { None } else { Some(Unavailable) }).await;
    }
    expect(Moment::Dot, reply(354), Some(Ambiguous)).await;
    expect(Moment::Dot, reply(999), Some(Ambiguous)).await;
    expect(Moment::Connect, reply(999), Some(Unavailable)).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_recipient_with_a_354_ends_with_a_lone_dot() {
    let server = server();
    server.misfortunes().push(Misfortune::at(Moment::Rcpt).to(TO).reply(550, "no such user"));
    server.misfortunes().push(Misfortune::at(Moment::Data).to(TO).reply(354, "go on"));
    server.misfortunes().push(Misfortune::at(Moment::Data).nth(1).reply(354, "go on"));
    let sink = sink(&server, &config());
    let error = send(&sink, "first", TO).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (Permanent, "RCPT: 550 no such user"));
    assert_eq!(server.inbox().count(), 0);
    assert!(send(&sink, "second", OTHER).await.is_ok());
    assert_eq!(server.connections().total, 1, "the connection was kept");
    assert_eq!(server.inbox().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_mail_costs_a_rset_and_no_connection() {
    for moment in [Moment::Mail, Moment::Rcpt, Moment::Data, Moment::Dot] {
        for pipelining in [true, false] {
            let refusal = Misfortune::at(moment).nth(1).reply(451, "later");
            let builder = SmtpServer::builder().misfortune(refusal);
            let builder = if pipelining { builder } else { builder.without(Extension::Pipelining) };
            let server = Arc::new(builder.in_memory().unwrap());
            let sink = sink(&server, &config());
            assert_eq!(kind_of(&sink, "first", TO).await, Some(Transient));
            assert!(send(&sink, "second", OTHER).await.is_ok());
            assert_eq!(server.connections().total, 1, "{moment:?}");
            let resets = server.conversation().iter().filter(|e| e.moment == Moment::Rset).count();
            assert_eq!(resets, 1, "{moment:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_while_idle_is_replaced_and_no_circuit_opens() {
    for moment in [Moment::Mail, Moment::Idle { after: Duration::from_secs(5) }] {
        for act in [Act::DisconnectBefore, reply(421)] {
            let server = server();
            let sink = sink(&server, &config());
            assert!(send(&sink, "first", TO).await.is_ok());
            server.misfortunes().push(Misfortune::at(moment).times(1).then(act));
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert!(send(&sink, "second", OTHER).await.is_ok(), "{moment:?}");
            assert_eq!(sink.unavailable_reason(), None);
            assert_eq!(server.connections().total, 2);
            assert_eq!(server.inbox().count(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_needs_smtputf8_fails_where_it_is_not_offered_and_only_there() {
    for offered in [true, false] {
        let builder = SmtpServer::builder();
        let builder = if offered { builder } else { builder.without(Extension::SmtpUtf8) };
        let server = Arc::new(builder.in_memory().unwrap());
        let sink = sink(&server, &config());
        assert!(send(&sink, "first", TO).await.is_ok());
        let kind = kind_of(&sink, "second", "jos\u{e9}@example.net").await;
        assert_eq!(kind, if offered { None } else { Some(Permanent) });
        assert!(send(&sink, "third", "user@b\u{fc}cher.example").await.is_ok());
        assert_eq!(server.connections().total, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_needs_smtputf8_waits_for_a_server_that_offers_it_and_fails_no_job() {
    for offered in [true, false] {
        let builder = SmtpServer::builder();
        let builder = if offered { builder } else { builder.without(Extension::SmtpUtf8) };
        let server = Arc::new(builder.in_memory().unwrap());
        let config = config().mail_from("jos\u{e9}@example.com");
        let sink = sink(&server, &config);
        let kind = kind_of(&sink, "first", TO).await;
        assert_eq!(kind, if offered { None } else { Some(Unavailable) });
        let checked = sink.check().await.map_err(|fault| fault.kind());
        assert_eq!(checked.err(), if offered { None } else { Some(ServerFaultKind::Smtputf8) });
        assert_eq!(sink.unavailable_reason().is_some(), !offered);
    }
    let at_a_domain = config().mail_from("user@b\u{fc}cher.example");
    let builder = SmtpServer::builder().without(Extension::SmtpUtf8);
    let server = Arc::new(builder.in_memory().unwrap());
    assert!(send(&sink(&server, &at_a_domain), "first", TO).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_off_before_its_last_write_was_certainly_not_sent() {
    let server = server();
    server
        .misfortunes()
        .push(Misfortune::at(Moment::Body { octets: 1000 }).times(1).then(Act::DisconnectBefore));
    let sink = sink(&server, &config());
    let text = "A line of the message.\n".repeat(20_000);
    let (job, record) = job_with("first", "a@example.com", TO, "", &text);
    let error = sink.execute(&job, &record).await.unwrap_err();
    assert_eq!(error.kind(), Unavailable, "{error}");
    sink.ready().await;
    assert!(sink.execute(&job, &record).await.is_ok());
    assert_eq!(server.inbox().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_whole_has_a_limit_too() {
    let server = server();
    let late =
        |moment, seconds| Misfortune::at(moment).then(Act::Delay(Duration::from_secs(seconds)));
    server.misfortunes().push(late(Moment::Rcpt, 50));
    server.misfortunes().push(late(Moment::Dot, 50));
    let whole = Duration::from_secs(75);
    let limits = TimeLimits { whole, ..TimeLimits::default() };
    let sink = sink(&server, &config().limits(limits));
    let start = tokio::time::Instant::now();
    assert_eq!(kind_of(&sink, "first", TO).await, Some(Ambiguous));
    assert_eq!(start.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn an_accepted_mail_says_its_message_id_and_the_servers_reply() {
    let server = server();
    let sink = sink(&server, &config());
    let accepted = send(&sink, "first", TO).await.unwrap();
    assert!(accepted.reply.starts_with("250 "), "{accepted:?}");
    let mail = &server.inbox().mails()[0];
    assert_eq!(mail.message_id(), Some(accepted.message_id.trim_matches(['<', '>'])));
    assert_eq!(
        (mail.sender.as_str(), mail.client.as_str()),
        ("service@example.com", "example.com")
    );
    assert_eq!(mail.recipients, [TO]);
}

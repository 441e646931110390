//! What befell other mails on a connection, or befalls other jobs, is the fault of no mail.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jobstream::sinks::smtp::MailSink;
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Act, Misfortune, Moment, Per, SmtpServer};
use tokio::time::{Instant, sleep};

use super::peer::{OTHER, config, kind_of, send, sink, with_connections};

use JobErrorKind::{Permanent, Transient, Unavailable};

const TO: &str = "to@example.net";
const HUNG_UP: &str = "hung-up@example.net";
/// Mails that the server takes on one connection.
const LIMIT: u64 = 10;

fn with_misfortune(misfortune: Misfortune) -> Arc<SmtpServer> {
    let builder = SmtpServer::builder().misfortune(misfortune);
    Arc::new(builder.in_memory().expect("a server in memory"))
}

fn struck(server: &SmtpServer) -> u64 {
    server.misfortunes().strikes()[0].1
}

/// What became of so many mails that were sent at once.
async fn burst(sink: &MailSink, mails: usize) -> Vec<Option<JobErrorKind>> {
    let ids: Vec<_> = (0..mails).map(|number| number.to_string()).collect();
    join_all(ids.iter().map(|id| kind_of(sink, id, TO))).await
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_a_session_fails_no_job_and_is_remembered_for_ten_minutes() {
    for (moment, act) in [
        (Moment::Data, Act::Reply { code: 452, text: "4.4.5 too many messages".into() }),
        (Moment::Mail, Act::Reply { code: 421, text: "too many messages".into() }),
        (Moment::Mail, Act::Reply { code: 550, text: "5.5.0 too many messages".into() }),
        (Moment::Dot, Act::Reply { code: 451, text: "too many messages".into() }),
    ] {
        let limit = Misfortune::at(moment).after(LIMIT).per(Per::Connection).then(act);
        let server = with_misfortune(limit);
        let sink = sink(&server, &config());
        for number in 0..210 {
            let kind = kind_of(&sink, &number.to_string(), TO).await;
            assert_eq!(kind, None, "{moment:?}, mail {number}");
        }
        assert_eq!(server.inbox().count(), 210);
        assert_eq!(struck(&server), 1, "{moment:?}: once is enough to know it");
        sleep(Duration::from_secs(601)).await;
        for number in 0..2 * LIMIT {
            assert_eq!(kind_of(&sink, &format!("later {number}"), TO).await, None);
        }
        assert_eq!(struck(&server), 2, "{moment:?}: it is looked for again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_a_session_fails_no_job_where_mails_follow_each_other() {
    let limit = Misfortune::at(Moment::Data).after(LIMIT).per(Per::Connection);
    let server = with_misfortune(limit.reply(452, "4.4.5 too many messages per session"));
    let sink = sink(&server, &with_connections(2));
    assert_eq!(burst(&sink, 210).await, vec![None; 210]);
    assert_eq!(server.inbox().count(), 210);
    // Once behind another mail, and once alone, on each of the two.
    assert!(struck(&server) <= 4, "found {} refusals", struck(&server));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_after_some_mails_fails_no_job() {
    for moment in [Moment::Mail, Moment::Rcpt, Moment::Data] {
        let limit = Misfortune::at(moment).after(LIMIT).per(Per::Connection);
        let server = with_misfortune(limit.then(Act::DisconnectBefore));
        let sink = sink(&server, &with_connections(2));
        assert_eq!(burst(&sink, 100).await, vec![None; 100], "{moment:?}");
        assert_eq!(sink.unavailable_reason(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_now_counts_if_it_comes_on_a_fresh_connection_too() {
    let server = with_misfortune(Misfortune::at(Moment::Rcpt).to(TO).reply(451, "greylisted"));
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    assert_eq!(kind_of(&sink, "1", TO).await, Some(Transient));
    assert_eq!(struck(&server), 2);
    assert_eq!(server.connections().total, 2);
    for number in 0..LIMIT {
        assert!(send(&sink, &number.to_string(), OTHER).await.is_ok());
    }
    assert_eq!(server.connections().total, 2, "it is no limit of the connection");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_mail_for_good_counts_if_it_comes_on_a_fresh_connection_too() {
    let server = with_misfortune(Misfortune::at(Moment::Mail).after(1).reply(553, "not from you"));
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    assert_eq!(kind_of(&sink, "1", TO).await, Some(Permanent));
    assert_eq!((struck(&server), server.connections().total), (2, 2), "once more, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_recipient_that_is_refused_for_good_is_not_asked_for_again() {
    for moment in [Moment::Rcpt, Moment::Data, Moment::Dot] {
        let server = with_misfortune(Misfortune::at(moment).to(TO).reply(550, "unknown"));
        let sink = sink(&server, &config());
        assert!(send(&sink, "before", OTHER).await.is_ok());
        assert_eq!(kind_of(&sink, "1", TO).await, Some(Permanent));
        assert_eq!((struck(&server), server.connections().total), (1, 1), "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_what_stands_behind_a_final_dot_fails_no_job() {
    for moment in [Moment::Mail, Moment::Rcpt, Moment::Data] {
        for act in [Act::Reply { code: 554, text: "5.5.0 too early".into() }, Act::Ignore] {
            let early = Misfortune::at(moment).behind_dot().then(act.clone());
            let server = with_misfortune(early);
            let sink = sink(&server, &with_connections(2));
            let start = Instant::now();
            assert_eq!(burst(&sink, 200).await, vec![None; 200], "{moment:?} {act:?}");
            assert_eq!(server.inbox().count(), 200);
            assert!((1..=4).contains(&struck(&server)), "none follows after that");
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_alone_too_does_not_keep_mails_from_following() {
    let server = with_misfortune(Misfortune::at(Moment::Rcpt).to(HUNG_UP).reply(550, "unknown"));
    let sink = sink(&server, &config());
    assert!(send(&sink, "before", OTHER).await.is_ok());
    let (first, refused, third) = tokio::join!(
        kind_of(&sink, "1", TO),
        kind_of(&sink, "2", HUNG_UP),
        kind_of(&sink, "3", TO)
    );
    assert_eq!((first, refused, third), (None, Some(Permanent), None));
    let early = Misfortune::at(Moment::Mail).behind_dot().then(Act::SplitReply);
    server.misfortunes().push(early);
    assert_eq!(burst(&sink, 6).await, [None; 6]);
    assert!(server.misfortunes().strikes()[1].1 > 0, "they still follow");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_turns_one_job_away_is_not_away() {
    let replies = [421, 530, 535].map(|code| Act::Reply { code, text: "go away".into() });
    for act in replies.into_iter().chain([Act::DisconnectBefore]) {
        for moment in [Moment::Rcpt, Moment::Data, Moment::Dot] {
            if (moment, &act) == (Moment::Dot, &Act::DisconnectBefore) {
                // That is an ambiguous end.
                continue;
            }
            let server = with_misfortune(Misfortune::at(moment).to(HUNG_UP).then(act.clone()));
            let sink = sink(&server, &config());
            assert!(send(&sink, "before", OTHER).await.is_ok());
            let mut kinds = Vec::new();
            for number in 0..4 {
                kinds.push(kind_of(&sink, "hung up", HUNG_UP).await);
                assert_eq!(sink.unavailable_reason(), None);
                assert!(send(&sink, &number.to_string(), OTHER).await.is_ok());
            }
            let own = Some(Transient);
            assert_eq!(kinds, [Some(Unavailable), own, own, own], "{moment:?} {act:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_turns_everybody_away_is_away_and_fails_no_job() {
    let replies = [421, 530, 535].map(|code| Act::Reply { code, text: "not now".into() });
    for act in replies.into_iter().chain([Act::DisconnectBefore]) {
        let server = with_misfortune(Misfortune::at(Moment::Rcpt).times(200).then(act));
        let sink = sink(&server, &with_connections(3));
        let ids: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        join_all(ids.iter().map(|id| async {
            while let Err(error) = send(&sink, id, TO).await {
                assert_eq!(error.kind(), Unavailable, "{error}");
                sleep(Duration::from_millis(100)).await;
                sink.ready().await;
            }
        }))
        .await;
        assert_eq!(server.inbox().count(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn recipients_that_want_a_login_hold_up_no_other_mail() {
    for code in [421, 530, 535] {
        let server = with_misfortune(Misfortune::at(Moment::Rcpt).to(HUNG_UP).reply(code, "no"));
        let sink = sink(&server, &with_connections(3));
        assert!(send(&sink, "before", OTHER).await.is_ok());
        let start = Instant::now();
        let good = async {
            for number in 0..200 {
                assert!(send(&sink, &number.to_string(), OTHER).await.is_ok(), "{code}");
                sleep(Duration::from_millis(50)).await;
            }
        };
        let ids: Vec<_> = (0..20).map(|number| format!("bad {number}")).collect();
        let bad = join_all(ids.iter().map(|id| async {
            for _ in 0..10 {
                assert!(send(&sink, id, HUNG_UP).await.is_err());
                sleep(Duration::from_secs(1)).await;
            }
        }));
        futures::future::join(good, bad).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10), "{code}");
        assert_eq!(server.inbox().count(), 201);
        assert_eq!(sink.unavailable_reason(), None);
    }
}

//! Two Postfixes, of which one is killed under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use jobstream::sinks::smtp::MailSink;
use jobstream::sinks::{JobErrorKind, JobSink as _};
use mail_parser::MessageParser;
use tokio::time::{sleep, timeout};

use super::peer::{send, with_connections};
use super::postfix::Postfix;

const MAILS: usize = 1_500;
const AT_ONCE: usize = 32;
/// When the first is killed, and when it is started again.
const KILLED_AT: usize = MAILS / 3;
const AGAIN_AT: usize = 2 * MAILS / 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(240);

/// Sends a mail until it is accepted; gives its Message-ID and the ends of which nobody knows.
async fn sent(sink: &MailSink, number: usize) -> (String, usize) {
    let mut doubts = 0;
    loop {
        sink.ready().await;
        match send(sink, &format!("job-{number}"), "to@example.net").await {
            Ok(accepted) => return (accepted.message_id.trim_matches(['<', '>']).into(), doubts),
            Err(error) => match error.kind() {
                JobErrorKind::Permanent => panic!("{error}"),
                JobErrorKind::Ambiguous => doubts += 1,
                _ => sleep(LOOK_AGAIN_AFTER).await,
            },
        }
    }
}

/// How often each Message-ID was accepted: by the queue ids that the Postfixes have given its mails. One
/// that is killed in the midst of a delivery makes it again, under the same id.
fn accepted(postfixes: &[Postfix; 2]) -> BTreeMap<String, BTreeSet<String>> {
    let mut queue_ids = BTreeMap::<_, BTreeSet<_>>::new();
    for folder in postfixes.iter().filter_map(|it| std::fs::read_dir(it.mails()).ok()) {
        for file in folder {
            let raw = std::fs::read(file.expect("a file").path()).expect("a mail");
            let mail = MessageParser::default().parse(&raw).expect("a mail");
            let id = mail.message_id().expect("every mail has one").to_owned();
            let received = mail.received().and_then(|it| it.id()).expect("Postfix names its id");
            queue_ids.entry(id).or_default().insert(received.to_owned());
        }
    }
    queue_ids
}

#[tokio::test]
#[ignore = "needs Postfix"]
async fn a_postfix_that_is_killed_under_load_loses_no_mail_and_has_mails_again_when_it_is_back() {
    let postfixes = [Postfix::start("example.net").await, Postfix::start("example.net").await];
    let mut config = with_connections(8).fallback("127.0.0.1");
    for (relay, postfix) in config.relays.iter_mut().zip(&postfixes) {
        relay.host = postfix.address().ip().to_string();
        relay.port = postfix.address().port();
    }
    let (first, second) = (config.relays[0].name(), config.relays[1].name());
    let sink = Arc::new(MailSink::new(&config).unwrap());
    let done = AtomicUsize::new(0);
    let all = stream::iter(0..MAILS).map(|number| {
        let (sink, done, postfixes) = (&sink, &done, &postfixes);
        async move {
            let ended = sent(sink, number).await;
            match done.fetch_add(1, Relaxed) + 1 {
                KILLED_AT => postfixes[0].abort(),
                AGAIN_AT => postfixes[0].start_again().await,
                _ => {}
            }
            ended
        }
    });
    let fates = timeout(LIMIT, all.buffer_unordered(AT_ONCE).collect::<Vec<_>>());
    let fates = fates.await.expect("every mail is accepted");
    assert_eq!(fates.len(), MAILS);

    let relay = async || send(&sink, "again", "to@example.net").await.unwrap().relay.unwrap();
    let is_back = async {
        while *relay().await != *first {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, is_back).await.expect("the first one is used again");
    let all_are_there = async {
        loop {
            let accepted = accepted(&postfixes);
            if fates.iter().all(|(id, _)| accepted.contains_key(id)) {
                break accepted;
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let accepted = timeout(LIMIT, all_are_there).await.expect("every mail arrives");
    for (id, doubts) in &fates {
        let mails = &accepted[id];
        assert!(mails.len() <= 1 + doubts, "{id}: found {mails:?}, {doubts} in doubt");
    }
    let of_second = std::fs::read_dir(postfixes[1].mails()).unwrap().count();
    assert!(of_second >= (AGAIN_AT - KILLED_AT) / 2, "{second} took {of_second}");
}

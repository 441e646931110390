//! The limits of an attempt: of its time, where a mail's own conversation counts and its wait for a
//! connection does not; and of the memory that it takes.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobstream::job::JobCodec;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::smtp::{Accepted, MailSink};
use jobstream::sinks::{Effect, JobErrorKind, JobSink as _};
use jobstream::topology::{Event, Executed, Fate, Retry, Topology};
use jobstream_testkit::broker::Broker;
use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
use tokio::time::sleep;

use super::peer::{OTHER, config, job, server, sink};

const LIMIT: Duration = Duration::from_secs(3);

/// The fates of so many jobs, and the attempts of each.
async fn fates(sink: MailSink, jobs: usize) -> Vec<(Fate, u32)> {
    let broker = Broker::new();
    for topic in ["jobs", "results", "dead-letters"] {
        broker.create_topic(topic, 1);
    }
    for number in 0..jobs {
        let value = job(&number.to_string(), OTHER).1.value.unwrap();
        broker.produce(ProducerRecord::to("jobs").value(value)).unwrap();
    }
    let fates = Arc::new(Mutex::new(Vec::new()));
    let seen = fates.clone();
    let topology = Topology::builder("dead-letters")
        .decode(JobCodec)
        .execute(Arc::new(sink))
        .retry(Retry::new().attempts(Some(1)).attempt_timeout(Some(LIMIT)))
        .encode(|_: &ConsumerRecord, _: Executed<_, Accepted>| Ok(Vec::new()))
        .with_observer(Arc::new(move |event: &Event<'_>| {
            if let Event::Finished { fate, attempts, .. } = event {
                seen.lock().unwrap().push((*fate, *attempts));
            }
        }));
    let source = broker.consumer("workers", ["jobs"]).build();
    let caught_up = broker.caught_up("workers", "jobs");
    topology.run(&source, &broker.producer(), caught_up).await.unwrap();
    let fates = fates.lock().unwrap();
    fates.clone()
}

fn all_accepted(fates: &[(Fate, u32)]) -> bool {
    fates.iter().all(|fate| *fate == (Fate::Succeeded, 1))
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_connection_that_others_use_does_not_count() {
    let server = server();
    let slow = Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_secs(2)));
    server.misfortunes().push(slow);
    let fates = fates(sink(&server, &config()), 5).await;
    assert!(fates.len() == 5 && all_accepted(&fates), "{fates:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_greets_nobody_uses_up_no_attempt() {
    let server = server();
    let hangs = Misfortune::at(Moment::Connect).then(Act::Stall);
    let hangs = server.misfortunes().push(hangs);
    let back = async {
        sleep(Duration::from_secs(1_000)).await;
        server.misfortunes().remove(hangs);
    };
    let (fates, ()) = tokio::join!(fates(sink(&server, &config()), 5), back);
    assert!(fates.len() == 5 && all_accepted(&fates), "{fates:?}");
}

/// A connection that had carried mails is closed, and no other one is to be had.
#[tokio::test(start_paused = true)]
async fn a_mail_that_is_asked_again_waits_for_its_connection_too() {
    let server = Arc::new(SmtpServer::builder().in_memory().unwrap());
    let misfortunes = server.misfortunes();
    misfortunes.push(Misfortune::at(Moment::Mail).nth(2).then(Act::DisconnectBefore));
    let hangs = misfortunes.push(Misfortune::at(Moment::Connect).after(1).then(Act::Stall));
    let back = async {
        sleep(Duration::from_secs(1_000)).await;
        server.misfortunes().remove(hangs);
    };
    let (fates, ()) = tokio::join!(fates(sink(&server, &config()), 3), back);
    assert!(fates.len() == 3 && all_accepted(&fates), "{fates:?}");
}

#[tokio::test(start_paused = true)]
async fn the_conversation_itself_counts() {
    let server = server();
    let slow = Misfortune::at(Moment::Rcpt).nth(2).then(Act::Delay(Duration::from_secs(4)));
    server.misfortunes().push(slow);
    let fates = fates(sink(&server, &config()), 3).await;
    let failed = |(fate, attempts): &(Fate, u32)| {
        *fate == Fate::Failed(JobErrorKind::Transient) && *attempts == 1
    };
    assert_eq!(fates.iter().filter(|fate| failed(fate)).count(), 1, "{fates:?}");
}

/// A thousand may be under way, and each is moved to where it is polled: what is seldom needed, such as
/// the room to open a connection in, is no part of it.
#[tokio::test]
async fn an_execution_takes_little_memory() {
    let (sink, effect) = (sink(&server(), &config()), Effect::new());
    let (job, record) = job("1", OTHER);
    let bytes = size_of_val(&*sink.execute_with_effect(&job, &record, &effect));
    assert!(bytes <= 2_048, "{bytes}");
}

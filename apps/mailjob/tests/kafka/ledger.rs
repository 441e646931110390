//! The ledger: mails are counted by their `Message-ID`, whatever is killed or paused.
//!
//! `LEDGER_KILLS` and `LEDGER_PAUSES` say how often; the defaults are few, for a quick run.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::time::Duration;

use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::arrivals::Arrivals;
use crate::kill::killed;
use crate::load::{jobs, under_load};
use crate::postfix::Postfix;
use crate::relay::Relay;
use crate::service::Service;
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER, Stage, mails, with_ledger};

/// A number of the environment, or its default.
fn times(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What has become of the jobs of a service with a ledger that is killed so often, on Postfix.
async fn killed_on_postfix(kills: usize, policy: &'static str) -> Account {
    let postfix = Postfix::start("example.com").await;
    let settings = [&with_ledger(policy)[..], &[("INSTANCE_ID", "one")]].concat();
    let (stage, jobs) = killed(&postfix, kills, &settings).await;
    Account::of(&stage, &postfix, jobs).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_resend_no_job_is_lost_in_kills_and_every_extra_mail_is_counted() {
    let kills = times("LEDGER_KILLS", 4);
    killed_on_postfix(kills, "resend").await.every_extra_mail_is_counted(kills);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_park_no_job_is_lost_in_kills_and_none_has_two_mails() {
    let kills = times("LEDGER_KILLS", 4);
    killed_on_postfix(kills, "park").await.no_job_has_two_mails(kills);
}

/// What has become of the jobs of two services with a ledger, one of which is paused past its
/// session so many times under load and wakes, on Postfix.
async fn paused_on_postfix(pauses: usize, policy: &'static str) -> Account {
    let postfix = Postfix::start("example.com").await;
    let mut stage = Stage::new(postfix.address()).await;
    with_ledger(policy).iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("MAIL_RATE", "50");
    stage.set("JOB_IN_FLIGHT", "100");
    let (mut zombie, mut other) = (stage.start("zombie"), stage.start("other"));
    let pausing = async {
        other.said("Job finished", 20).await;
        for _ in 0..pauses {
            pause(&mut zombie, &mut other).await;
        }
    };
    let ((), jobs) = under_load(&stage, &postfix, pausing).await;
    zombie.terminate().await.succeeded();
    other.terminate().await.succeeded();
    stage.unset("MAIL_RATE");
    let last = stage.start("last");
    stage.results_of(jobs).await;
    last.terminate().await.succeeded();
    Account::of(&stage, &postfix, jobs).await
}

/// Stops a member in the middle of its work, and wakes it when the other one has done some of it.
async fn pause(zombie: &mut Service, other: &mut Service) {
    let worked = zombie.lines("Job finished");
    zombie.said("Job finished", worked + 20).await;
    let assigned = zombie.lines("Partition assigned");
    zombie.signal("STOP");
    let owned = |other: &Service| {
        let gone = other.lines("Partition given up") + other.lines("Partition lost");
        other.lines("Partition assigned") - gone
    };
    let replaced = async {
        while owned(other) < 6 {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let replaced = timeout(LIMIT, replaced).await;
    assert!(replaced.is_ok(), "{} partitions\n{}", owned(other), other.log());
    let done = other.lines("Job finished");
    other.said("Job finished", done + 20).await;
    zombie.signal("CONT");
    zombie.said("Partition assigned", assigned + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_resend_a_member_that_wakes_after_its_session_sends_what_it_had_in_doubt_at_most() {
    let pauses = times("LEDGER_PAUSES", 2);
    paused_on_postfix(pauses, "resend").await.every_extra_mail_is_counted(pauses);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_park_a_member_that_wakes_after_its_session_sends_no_mail_that_its_successor_sends() {
    let pauses = times("LEDGER_PAUSES", 2);
    paused_on_postfix(pauses, "park").await.no_job_has_two_mails(pauses);
}

/// Where Postfix has accepted a mail of every connection when the process is killed, and nothing else
/// was begun, bound, extra mails and counted resends are the same number.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn killed_at_the_final_dots_extra_mails_are_the_resends_that_were_counted() {
    // Fewer than 8, so that one job follows another: with more, intake waits for room for several.
    const CONNECTIONS: usize = 4;
    let kills = times("LEDGER_KILLS", 4);
    let postfix = Postfix::start("example.com").await;
    let relay = Relay::before(postfix.address()).await;
    let mut stage = Stage::new(relay.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("INSTANCE_ID", "one");
    let places = ["JOB_IN_FLIGHT", "JOB_LEDGER_IN_DOUBT", "MAIL_CONNECTIONS"];
    places.iter().for_each(|name| stage.set(name, &CONNECTIONS.to_string()));
    let killing = async {
        for kill in 0..kills {
            let before = postfix.total();
            let service = stage.start(&format!("log-{kill}"));
            postfix.arrived(before + CONNECTIONS + 20).await;
            relay.keep_answers();
            relay.has_kept(CONNECTIONS).await;
            service.kill().await;
            relay.give_answers();
        }
    };
    let ((), jobs) = under_load(&stage, &postfix, killing).await;
    places.iter().for_each(|name| stage.unset(name));
    let last = stage.start("last");
    stage.results_of(jobs).await;
    last.terminate().await.succeeded();
    let account = Account::of(&stage, &postfix, jobs).await;
    account.every_extra_mail_is_counted(kills);
    assert_eq!((account.extra(), account.resends()), (kills * CONNECTIONS, kills * CONNECTIONS));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topic_that_is_deleted_under_work_is_created_again_and_what_was_in_doubt_is_counted() {
    const JOBS: usize = 300;
    for policy in ["resend", "park"] {
        let slow = Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_millis(400)));
        let server = SmtpServer::builder().misfortune(slow).listen().await.unwrap();
        let mut stage = Stage::new(server.address()).await;
        with_ledger(policy).iter().for_each(|(name, value)| stage.set(name, value));
        stage.submit(&jobs(JOBS)).await;
        let service = stage.start("log");
        mails(&server, 100).await;
        stage.delete("ledger").await;
        stage.results_of(JOBS).await;
        service.terminate().await.succeeded();
        let account = Account::of(&stage, &server, JOBS).await;
        match policy {
            "resend" => account.every_extra_mail_is_counted(1),
            _ => account.no_job_has_two_mails(1),
        }
    }
}

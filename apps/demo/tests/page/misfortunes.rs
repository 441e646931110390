//! Each switch is flipped, jobs are submitted, and nothing is lost.

use serde_json::Value;

use crate::demo::{Demo, member};

/// Enough that both members have some.
const JOBS: u64 = 24;

/// Breaks it, submits jobs, waits until the misfortune shows, ends it, and gives the account when
/// all has met its fate.
async fn survive(name: &str, shows: impl Fn(&Value) -> bool + Send + Sync) -> Value {
    let demo = Demo::empty().await;
    demo.submit("before", JOBS).await;
    demo.balanced(JOBS).await;
    demo.switch(name, true).await;
    demo.submit("meanwhile", JOBS).await;
    demo.until(name, shows).await;
    let switches = demo.snapshot().await["play"]["switches"].clone();
    let on = switches.as_array().unwrap().iter().filter(|switch| switch["on"] == true);
    assert_eq!(on.map(|switch| &switch["name"]).collect::<Vec<_>>(), [name]);
    demo.switch(name, false).await;
    demo.submit("after", JOBS).await;
    let account = demo.balanced(3 * JOBS).await;
    assert_eq!((&account["unexpected"], &account["without_mail"]), (&0.into(), &0.into()));
    account
}

fn count(shown: &Value, name: &str) -> u64 {
    shown["play"]["account"][name].as_u64().unwrap()
}

#[tokio::test]
async fn a_server_that_refuses_fails_no_job() {
    let account =
        survive("server-refuses", |shown| shown["away"].is_string() && count(shown, "open") > 0);
    assert_eq!(account.await["accepted"], 3 * JOBS);
}

#[tokio::test]
async fn a_server_that_answers_4xx_is_asked_again() {
    let account =
        survive("server-answers-4xx", |shown| shown["counts"]["retried"].as_u64().unwrap() >= JOBS);
    let account = account.await;
    let ended = |fate: &str| account[fate].as_u64().unwrap();
    // On a machine that is slow enough a job's attempts may be used up first: it fails, and is told.
    assert_eq!(ended("accepted") + ended("exhausted"), 3 * JOBS);
    assert_eq!(account["mails"], account["accepted"]);
}

#[tokio::test]
async fn a_server_that_dies_after_the_final_dot_gets_mails_again_and_each_is_counted() {
    let account = survive("server-dies-after-the-dot", |shown| count(shown, "copies") > 0).await;
    let count = |name: &str| account[name].as_u64().unwrap();
    assert_eq!(count("accepted") + count("ambiguous"), 3 * JOBS);
    assert!(count("copies") <= count("resent"), "{account:#}");
}

#[tokio::test]
async fn what_is_submitted_while_the_broker_is_away_waits_for_it() {
    let account = survive("broker-away", |shown| {
        count(shown, "records") == JOBS && shown["play"]["account"]["verdict"] == "under-way"
    });
    assert_eq!(account.await["accepted"], 3 * JOBS);
}

#[tokio::test]
async fn the_partitions_of_a_killed_member_go_to_the_other_one() {
    let account = survive("member-killed", |shown| {
        member(shown, 1)["state"] == "killed"
            && member(shown, 2)["partitions"].as_array().unwrap().len() == 6
    });
    assert_eq!(account.await["accepted"], 3 * JOBS);
}

#[tokio::test]
async fn a_zombie_that_wakes_breaks_nothing() {
    let account = survive("zombie", |shown| {
        member(shown, 2)["state"] == "zombie"
            && member(shown, 1)["partitions"].as_array().unwrap().len() == 6
    });
    assert_eq!(account.await["accepted"], 3 * JOBS);
}

#[tokio::test]
async fn all_misfortunes_at_once_lose_nothing() {
    let names = ["server-answers-4xx", "server-dies-after-the-dot", "member-killed", "zombie"];
    let names = [&["server-refuses", "broker-away"], &names[..]].concat();
    let demo = Demo::empty().await;
    demo.submit("before", JOBS).await;
    for name in &names {
        demo.switch(name, true).await;
    }
    demo.submit("meanwhile", JOBS).await;
    for name in &names {
        demo.switch(name, false).await;
    }
    let account = demo.balanced(2 * JOBS).await;
    assert_eq!((&account["unexpected"], &account["without_mail"]), (&0.into(), &0.into()));
    let (code, words) = demo.interrupt().await;
    assert_eq!((code, &*words), (Some(0), "48 records have met their fate, and it adds up.\n"));
}

#[tokio::test]
async fn who_ends_a_demo_in_a_misfortune_is_told_what_is_unfinished() {
    let demo = Demo::empty().await;
    demo.switch("broker-away", true).await;
    demo.submit("lost", 3).await;
    let (code, words) = demo.interrupt().await;
    assert_eq!((code, &*words), (Some(1), ""), "the words are on standard error");
}

//! Jobs and what becomes of them, from the form to the account.

use serde_json::json;
use tokio::time::timeout;

use crate::client;
use crate::demo::{Demo, LIMIT, command};
use crate::job::job;

#[tokio::test]
async fn the_jobs_of_a_demo_meet_every_fate_and_the_account_adds_up() {
    let demo = Demo::start(&[]).await;
    let account = demo.balanced(21).await;
    let fates = [("accepted", 8), ("rejected", 4), ("exhausted", 1), ("dead_letters", 4)];
    for (fate, count) in fates.into_iter().chain([("skipped", 4), ("duplicates", 0)]) {
        assert_eq!(account[fate], count, "{fate}: {account:#}");
    }
    let count = |name: &str| account[name].as_u64().unwrap();
    assert_eq!(count("mails"), count("accepted") + count("copies"), "{account:#}");
    assert!((1..=count("resent")).contains(&count("copies")), "{account:#}");
    let (code, words) = demo.interrupt().await;
    assert_eq!(code, Some(0));
    assert_eq!(words, "21 records have met their fate, and it adds up.\n");
}

#[tokio::test]
async fn what_is_submitted_is_found_in_its_topic_in_the_results_and_in_the_inbox() {
    let demo = Demo::empty().await;
    demo.submit("one", 1).await;
    demo.balanced(1).await;
    let mut values = Vec::new();
    for topic in ["topic-job-run", "topic-job-run-result"] {
        let mut found = Vec::new();
        for partition in 0..6 {
            let records = demo.get(&format!("/topics/{topic}/{partition}")).await.json();
            found.extend(records.as_array().unwrap().clone());
        }
        assert_eq!(found.len(), 1, "{topic}: {found:?}");
        assert_eq!(found[0]["key"], "one-0");
        values.push(found[0]["value"].as_str().unwrap().to_owned());
    }
    assert_eq!(values[0], job("one", 0));
    assert_eq!(values[1], values[0].replace("\"Status\":2", "\"Status\":4"));
    let mails = demo.get("/mails").await.json();
    assert_eq!(mails.as_array().unwrap().len(), 1);
    assert_eq!(mails[0]["recipients"], json!(["one-0@example.org"]));
    assert_eq!(mails[0]["subject"], "one 0");
    for path in ["/topics/topic-job-run/6", "/topics/none/0", "/mails/2", "/mails/2/text"] {
        assert_eq!(demo.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_same_job_twice_is_one_mail_and_two_results() {
    let demo = Demo::empty().await;
    demo.submit("twice", 1).await;
    demo.submit("twice", 1).await;
    let account = demo.balanced(2).await;
    assert_eq!((&account["accepted"], &account["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(account["mails"], 1);
}

#[tokio::test]
async fn what_is_no_job_is_a_dead_letter_and_what_is_no_request_is_refused() {
    let demo = Demo::empty().await;
    let answer = client::post(demo.address, "/jobs", &json!({ "values": ["no JSON", "{}"] })).await;
    assert_eq!(answer.status, 202);
    let account = demo.balanced(2).await;
    assert_eq!(account["dead_letters"], 2);
    for (path, body) in [
        ("/jobs", json!({})),
        ("/jobs", json!({ "values": [1] })),
        ("/misfortunes/zombie", json!({ "on": "yes" })),
    ] {
        assert_eq!(client::post(demo.address, path, &body).await.status, 400, "{path} {body}");
    }
    let none = client::post(demo.address, "/misfortunes/none", &json!({ "on": true })).await;
    assert_eq!(none.status, 404);
    // A form of another site can send text without asking; it is no JSON.
    let plain = [("content-type", "text/plain")];
    let body = json!({ "values": ["x"] }).to_string();
    let answer = client::ask(demo.address, "POST", "/jobs", &plain, &body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(demo.snapshot().await["play"]["account"]["records"], 2);
}

#[tokio::test]
async fn a_load_is_worked_off_and_adds_up() {
    let demo = Demo::start(&["--generate", "1500"]).await;
    let account = demo.balanced(1500).await;
    assert_eq!((&account["accepted"], &account["mails"]), (&json!(1500), &json!(1500)));
    let listed = demo.get("/mails").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 100, "the last ones");
    assert_eq!(listed[0]["number"], 1500);
}

#[tokio::test]
async fn a_page_that_can_t_be_shown_is_said_in_one_line() {
    let demo = Demo::empty().await;
    let taken = demo.address.to_string();
    for (arguments, code, text) in [
        (vec!["--page", &taken], 1, "mailjob-demo: the page can't be shown on"),
        (vec!["--page", "nowhere"], 2, "error: invalid value 'nowhere'"),
        (vec!["--page", "127.0.0.1:0", "--mails", "x"], 2, "error: the argument '--page"),
    ] {
        let ended = timeout(LIMIT, command(&arguments).output()).await.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.starts_with(text), "{arguments:?}: {said}");
    }
}

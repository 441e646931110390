//! Every setting is documented as it is.

use webhook::WebhookSettings;

use crate::support::read;

const DOCUMENT: &str = include_str!("../../../../docs/webhook.md");

/// The rows of the tables of settings: names, default, what is taken.
fn rows() -> Vec<[String; 3]> {
    let tables = <WebhookSettings as jobstream_service::Settings>::TABLES;
    let rows = tables.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        assert!(DOCUMENT.lines().any(|documented| documented == line), "docs/webhook.md: {line}");
        let mut cells = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned());
        std::array::from_fn(|_| cells.next().unwrap())
    };
    rows.map(row).collect()
}

#[test]
fn every_setting_is_in_the_document_and_no_other() {
    let documented = DOCUMENT.lines().filter(|line| line.starts_with("| `WEBHOOK_")).count();
    assert_eq!(documented, rows().len());
    let environment = [("KAFKA_BROKERS".to_owned(), "a:1".to_owned())].into();
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let names = webhook::service::settings().setting_names(&environment, &read).unwrap();
    let own: Vec<_> = names.into_iter().filter(|name| name.starts_with("WEBHOOK_")).collect();
    let mut named: Vec<String> = Vec::new();
    for [names, ..] in rows() {
        named.extend(names.split(", ").map(|name| name.trim_matches('`').to_owned()));
    }
    named.sort_unstable();
    assert_eq!(own, named);
}

/// Another service's group would give its jobs to this one, which passes over them.
#[test]
fn the_shipped_topics_file_leaves_the_group_and_the_ledger_its_own() {
    let environment = [("KAFKA_BROKERS".to_owned(), "a:1".to_owned())].into();
    let shipped = |path: &std::path::Path| match path.to_str() {
        Some("./.env.topics") => Ok(include_bytes!("../../../../.env.topics").to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let (settings, _) = webhook::service::settings().read_settings(&environment, &shipped).unwrap();
    assert_eq!(settings.topics.group, "topic-job-run-consumer-webhook");
    assert_eq!(&*settings.topics.ledger.name, "topic-job-run-ledger-webhook");
}

#[test]
fn every_default_is_that_of_the_code_and_what_is_none_ends_the_start() {
    let unset = format!("{:?}", read(&[]).unwrap());
    for [names, default, takes] in rows() {
        let name = names.split(", ").next().unwrap().trim_matches('`');
        if default != "none" {
            let set = read(&[(name, default.trim_matches('`'))]).unwrap();
            assert_eq!(format!("{set:?}"), unset, "{name}");
        }
        let error = read(&[(name, "hunter2 ")]).unwrap_err();
        assert!(error.starts_with(&format!("{name}: found")), "{error}");
        assert!(error.contains(&format!("expected {takes}")), "{error}");
    }
}

#[test]
fn the_group_of_mailjob_is_refused_which_would_pass_over_its_jobs() {
    let error =
        read(&[("TOPIC_JOB_RUN_CONSUMER_GROUP_ID", "topic-job-run-consumer-emailexecutor")]);
    assert_eq!(
        error.unwrap_err(),
        "TOPIC_JOB_RUN_CONSUMER_GROUP_ID: found \"topic-job-run-consumer-emailexecutor\", expected a \
         group of its own, such as topic-job-run-consumer-webhook: that one is mailjob's"
    );
    read(&[("TOPIC_JOB_RUN_CONSUMER_GROUP_ID", "of-its-own")]).unwrap();
}

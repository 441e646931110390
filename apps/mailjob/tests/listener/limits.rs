//! Records that are no jobs, records at the limits, and many partitions.

use crate::broker::Broker;
use crate::load::{SAMPLE_ID, job, jobs, none_lost, none_twice, one_mail_each};
use crate::stage::{DELIVERIES, LIMIT, Stage, inbox};
use crate::topics::{Found, KeyAndValue, produce};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_becomes_a_dead_letter_as_it_came_and_the_next_job_is_done() {
    let poison: [KeyAndValue<'_>; 5] = [
        (Some(b"key"), Some(b"not a job")),
        (None, None),
        (Some(b"\xff"), Some(b"{\"Id\":\"\xff\",\"Status\":2}")),
        (Some(b""), Some(b"")),
        (None, Some(b"{\"Id\":\"a\",\"Status\":2.0,\"JobData\":{}}")),
    ];
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::with(Broker::open().await, server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        produce(&stage.broker.bootstrap, &stage.topic("jobs"), &poison).await;
        stage.submit(&jobs(3)).await;
        let service = stage.start("log");
        none_lost(&stage.results_of(3).await, 3);
        service.terminate().await.succeeded();
        let letters = stage.records("dead-letters").await;
        assert_eq!(letters.len(), poison.len(), "{delivery}: {letters:?}");
        for (offset, (letter, (key, value))) in letters.iter().zip(poison).enumerate() {
            assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (key, value));
            let header = |name| letter.header(&format!("dead-letter-{name}"));
            assert_eq!(header("reason").as_deref(), Some("undecodable"));
            assert_eq!(header("topic"), Some(stage.topic("jobs")));
            assert_eq!(header("offset"), Some(offset.to_string()));
            assert!(header("cause").is_some_and(|cause| !cause.is_empty()), "{letter:?}");
        }
        one_mail_each(&server, 3);
    }
}

/// A job whose value has so many bytes.
fn job_of(bytes: usize, number: usize) -> String {
    let empty = job(number).replace(r#""Message":"message""#, r#""Message":"""#);
    let text = "a line of text.\\n".repeat((bytes - empty.len()) / 17 + 1);
    let filled = |length: usize| {
        // A backslash that is cut off from its letter would be no JSON.
        let mut text = text[..length].to_owned();
        if text.ends_with('\\') {
            text.replace_range(length - 1.., ".");
        }
        empty.replace(r#""Message":"""#, &format!(r#""Message":"{text}""#))
    };
    let job = filled(bytes - empty.len());
    assert_eq!(job.len(), bytes);
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_one_mebibyte_is_done_and_a_byte_more_is_a_dead_letter() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        let (fits, larger) = (job_of(MIB, 0), job_of(MIB + 1, 1));
        let records = [&fits, &larger].map(|job| (None, Some(job.as_bytes())));
        produce(&stage.broker.bootstrap, &stage.topic("jobs"), &records).await;
        stage.submit(&job(2)).await;
        let service = stage.start("log");
        let results = stage.results_of(2).await;
        service.terminate().await.succeeded();
        none_lost(&results, 2);
        let result = fits.replace(r#""Status":2"#, r#""Status":4"#);
        assert!(results.iter().any(|found| found.value.as_deref() == Some(result.as_bytes())));
        let letters = stage.records("dead-letters").await;
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].value.as_deref(), Some(larger.as_bytes()));
        assert_eq!(letters[0].header("dead-letter-reason").as_deref(), Some("undecodable"));
        one_mail_each(&server, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_around_the_brokers_limit_are_results_or_dead_letters_and_hold_nothing_up() {
    const LIMIT_BYTES: usize = 20_000;
    const JOBS: usize = 24;
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.create("results", 1, &[("max.message.bytes", &LIMIT_BYTES.to_string())]).await;
        let size = |number: usize| LIMIT_BYTES - 600 + 35 * number;
        let all: String = (0..JOBS).map(|number| job_of(size(number), number)).collect();
        stage.submit(&all).await;
        stage.submit(&job(JOBS)).await;
        let service = stage.start("log");
        let letters = settled(&stage, JOBS + 1).await;
        service.terminate().await.succeeded();

        let results = stage.records("results").await;
        none_twice(&results);
        none_lost(&results, JOBS + 1 - letters.len());
        assert!(!letters.is_empty() && results.len() > 1, "{} letters", letters.len());
        let fits = results.iter().filter_map(|found| found.value.as_ref().map(Vec::len)).max();
        for letter in letters {
            assert_eq!(letter.value, None);
            assert_eq!(letter.header("dead-letter-reason").as_deref(), Some("too-large"));
            let key = String::from_utf8(letter.key.unwrap_or_default()).unwrap_or_default();
            let number = usize::from_str_radix(&key, 16).unwrap_or_default();
            assert!(Some(size(number)) > fits, "{key}: smaller than one that is a result");
        }
        one_mail_each(&server, JOBS + 1);
    }
}

/// The dead letters, once so many jobs are results or dead letters.
async fn settled(stage: &Stage, jobs: usize) -> Vec<Found> {
    let settled = async {
        loop {
            let letters = stage.records("dead-letters").await;
            if stage.records("results").await.len() + letters.len() >= jobs {
                return letters;
            }
        }
    };
    tokio::time::timeout(LIMIT, settled).await.expect("a fate for every job")
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_partitions_are_worked_on_by_three_workers() {
    const JOBS: usize = 1_200;
    for delivery in DELIVERIES {
        let server = inbox().await;
        let broker = Broker::open().await;
        let mut stage = Stage::with(broker, server.address(), 12).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("TOPIC_JOB_RUN_CONSUMER_WORKER_COUNT", "3");
        stage.set("TOPIC_JOB_RUN_RESULT_CREATE_PARTITIONS", "12");
        stage.submit(&jobs(JOBS)).await;
        let mut service = stage.start("log");
        service.said("Partition assigned", 12).await;
        stage.results_of(JOBS).await;
        let ended = service.terminate().await;
        ended.succeeded();
        let results = stage.records("results").await;
        none_lost(&results, JOBS);
        none_twice(&results);
        one_mail_each(&server, JOBS);
        for partition in 0..12 {
            assert!(results.iter().any(|found| found.partition == partition), "{partition}");
            let line = format!("topic={} partition={partition} offset=", stage.topic("jobs"));
            assert!(ended.log.contains(&line), "no {line:?}");
        }
        assert!(
            results
                .iter()
                .all(|found| found.key.as_ref().is_some_and(|k| k.len() == SAMPLE_ID.len()))
        );
    }
}

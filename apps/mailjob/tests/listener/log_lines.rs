//! Log lines for programs.

use serde_json::Value;

use crate::load::{SAMPLE, SAMPLE_ID};
use crate::stage::{Stage, inbox};

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_json_log_is_an_object_and_none_holds_what_is_in_a_job() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("LOG_FORMAT", "json");
    stage.set("LOGLEVEL", "debug");
    stage.set("ENVIRONMENT", "staging");
    stage.submit(SAMPLE).await;
    let service = stage.start("log");
    stage.results_of(1).await;
    let ended = service.terminate().await;
    ended.succeeded();
    let lines: Vec<Value> =
        ended.log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        for name in ["time", "level", "thread", "message"] {
            assert!(line[name].is_string(), "no {name} in {line}");
        }
        assert!(line["pid"].is_number() && line["environment"] == "staging", "{line}");
    }
    let finished: Vec<_> = lines.iter().filter(|line| line["message"] == "Job finished").collect();
    let [line] = finished[..] else { panic!("{} lines of one job", finished.len()) };
    assert_eq!(line["id"], SAMPLE_ID);
    assert_eq!(line["fate"], "succeeded");
    assert_eq!(line["topic"], stage.topic("jobs").as_str());
    assert!(line["partition"].is_number() && line["offset"].is_number(), "{line}");
    for content in ["example@example.com", "\"message\":\"message", "subject "] {
        assert!(!ended.log.contains(content), "{content:?} in\n{}", ended.log);
    }
}

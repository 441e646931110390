//! What each answer, and each missing one, means for its job.

use std::time::Duration;

use jobstream::sinks::{Effect, JobErrorKind, JobSink as _};
use proptest::prelude::*;

use crate::receiver::{Act, InMemory, PUBLIC, Receiver};
use crate::support::{block_on, execute, executed, now, record, settings, sink, sink_with, to};

const URL: &str = "http://example.org/hook";

/// By the issue's words.
fn expected(status: u16) -> Option<JobErrorKind> {
    Some(match status {
        200..=299 => return None,
        425 | 429 | 503 => JobErrorKind::Transient,
        408 => JobErrorKind::Ambiguous,
        300..=499 => JobErrorKind::Permanent,
        _ => JobErrorKind::Ambiguous,
    })
}

/// What `Retry-After` says, and the wait that follows from it.
fn retry_after() -> impl Strategy<Value = (String, Option<Duration>)> {
    let none = Just((String::new(), None));
    let seconds = (0_u64..100_000).prop_map(|seconds| {
        (format!("Retry-After: {seconds}\r\n"), Some(Duration::from_secs(seconds)))
    });
    let date = (-100_000_i64..100_000).prop_map(|seconds| {
        let wait = Duration::from_secs(seconds.unsigned_abs());
        let date = if seconds < 0 { now() - wait } else { now() + wait };
        let wait = if seconds < 0 { Duration::ZERO } else { wait };
        (format!("Retry-After: {}\r\n", httpdate::fmt_http_date(date)), Some(wait))
    });
    let nonsense =
        "[a-z-][a-z0-9]{0,9}".prop_map(|text| (format!("Retry-After: {text}\r\n"), None));
    prop_oneof![none, seconds, date, nonsense]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_status_has_its_fate_and_a_retry_after_is_kept(
        status in 200_u16..=999,
        (header, wait) in retry_after(),
    ) {
        block_on(async {
            let receiver = Receiver::always(Act::with(status, &header));
            let outcome = executed(&receiver, &to(URL)).await;
            prop_assert_eq!(outcome.as_ref().err().map(|error| error.kind()), expected(status));
            prop_assert_eq!(receiver.posted().len(), 1);
            match outcome {
                Ok(answer) => prop_assert_eq!(answer.status, Some(status)),
                Err(error) => {
                    prop_assert!(error.reason().starts_with(&format!("HTTP {status}")), "{error}");
                    let is_final = error.kind() == JobErrorKind::Permanent;
                    prop_assert_eq!(error.earliest(), wait.filter(|_| !is_final));
                }
            }
            Ok(())
        })?;
    }

    /// Cut anywhere, and with whatever in it: no answer is read as another one.
    #[test]
    fn an_answer_that_is_cut_or_none_is_lost(cut in 0_usize..24, noise in "[ -~]{0,40}") {
        block_on(async {
            let whole = "HTTP/1.1 200 words\r\n\r\n";
            for bytes in [whole[..cut.min(whole.len() - 1)].to_owned(), format!("~{noise}\r\n\r\n")] {
                let act = Act::Answer { bytes, after: Duration::ZERO, acts: true };
                let error = executed(&Receiver::always(act), &to(URL)).await.unwrap_err();
                prop_assert_eq!(error.kind(), JobErrorKind::Ambiguous, "{}", error);
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_ambiguous_and_a_connection_that_is_not_there_transient() {
    for act in [Act::CloseBefore, Act::CloseAfter, Act::Stall] {
        let receiver = Receiver::always(Act::answer(200));
        receiver.once(act.clone());
        let error = executed(&receiver, &to(URL)).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Ambiguous, "{act:?}: {error}");
    }
    let network = InMemory::to(&Receiver::always(Act::answer(200)));
    network.is_away(PUBLIC);
    let effect = Effect::new();
    let outcome = sink(&network).execute_with_effect(&to(URL), &record(), &effect).await;
    assert_eq!(outcome.unwrap_err().kind(), JobErrorKind::Transient);
    assert!(!effect.has_begun());
}

#[tokio::test(start_paused = true)]
async fn a_protocol_that_nobody_has_asked_for_fails_the_job() {
    let receiver = Receiver::always(Act::with(101, "Upgrade: h2c\r\nConnection: upgrade\r\n"));
    let error = executed(&receiver, &to(URL)).await.unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::Permanent, "{error}");
    assert_eq!(error.reason(), "HTTP 101 Switching Protocols");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_at_its_limit_and_a_job_can_shorten_it() {
    for (timeout, expected_s) in [("null", 30), ("5", 5), ("0.5", 0), ("600", 30)] {
        let data = format!(r#"{{"Url":"{URL}","Timeout":{timeout}}}"#);
        let job = crate::support::job(&serde_json::from_str(&data).unwrap());
        let began = tokio::time::Instant::now();
        let error = executed(&Receiver::always(Act::Stall), &job).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Ambiguous);
        // The clock stands still but for waits, so that it is exact.
        assert_eq!(began.elapsed().as_secs(), expected_s, "{timeout}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_though_its_body_is_endless_late_or_cut() {
    let mut settings = settings();
    settings.answer_bytes = 1_000;
    let head = "HTTP/1.1 200 words\r\n";
    let endless = format!("{head}content-length: 99999999\r\n\r\n{}", "x".repeat(100_000));
    for bytes in [endless, format!("{head}content-length: 10\r\n\r\nx"), format!("{head}\r\n")] {
        let act = Act::Answer { bytes, after: Duration::from_secs(29), acts: true };
        let network = InMemory::to(&Receiver::always(act));
        let answer = execute(&sink_with(settings.clone(), &network), &to(URL)).await.unwrap();
        assert_eq!(answer.status, Some(200));
    }
}

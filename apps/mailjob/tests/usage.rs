//! The binary with wrong settings: one line, and exit code 2.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output};

fn mailjob(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailjob"));
    command.args(arguments).env_clear().current_dir(folder.path());
    command.envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn wrong_settings_end_run_and_check_and_submit_with_one_line() {
    let least =
        [("KAFKA_BROKERS", "a:1"), ("MAIL_SERVER_HOST", "b"), ("MAIL_FROM", "c@example.com")];
    let wrong = [
        ("KAFKA_BROKERS", "KAFKA_BROKERS", ""),
        ("MAIL_FROM", "MAIL_FROM", "nobody"),
        ("KAFKA_ACKS", "KAFKA_ACKS", "1"),
        ("KAFKA_COMPRESSION_TYPE", "KAFKA_COMPRESSION_TYPE", "fast"),
        ("KAFKA_SSL_CA_LOCATION", "KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("TOPICS_FILE", "TOPICS_FILE", "none"),
        ("JOB_LEDGER", "JOB_LEDGER", "kafka"),
    ];
    for command in ["run", "check"] {
        for (named, name, value) in wrong {
            let mut environment = least.to_vec();
            environment.push(("KAFKA_SSL_CA_LOCATION", "no/such/file"));
            environment.retain(|(known, _)| {
                named == "KAFKA_SSL_CA_LOCATION" || *known != "KAFKA_SSL_CA_LOCATION"
            });
            environment.push((name, value));
            let ended = mailjob(&[command], &environment);
            let errors = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert!(errors.starts_with(&format!("mailjob: {named}: ")), "{errors}");
        }
    }
    let ended = mailjob(&["submit", "-"], &[]);
    assert_eq!(ended.status.code(), Some(2));
}

#[test]
fn jobs_that_cannot_be_read_are_not_produced() {
    let environment = [("KAFKA_BROKERS", "127.0.0.1:1")];
    let ended = mailjob(&["submit", "no/such/file"], &environment);
    assert_eq!(ended.status.code(), Some(2));
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(errors.starts_with("mailjob: no/such/file: "), "{errors}");
}

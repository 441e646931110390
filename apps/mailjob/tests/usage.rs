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
        ("KAFKA_BROKERS", "KAFKA_BROKERS", "kafka:99999"),
        ("MAIL_SERVER_HOST", "MAIL_SERVER_HOST", "smtp://mail"),
        ("KAFKA_ACKS", "KAFKA_ACKS", "1"),
        ("KAFKA_AUTO_OFFSET_RESET", "KAFKA_AUTO_OFFSET_RESET", "none"),
        ("KAFKA_LOG_LEVEL", "KAFKA_LOG_LEVEL", "3"),
        ("KAFKA_TEST_MOCK_NUM_BROKERS", "KAFKA_TEST_MOCK_NUM_BROKERS", "1"),
        ("KAFKA_COMPRESSION_TYPE", "KAFKA_COMPRESSION_TYPE", "fast"),
        ("KAFKA_SSL_CA_LOCATION", "KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("TOPIC_JOB_RUN_DEAD_LETTER", "TOPIC_JOB_RUN_DEAD_LETTER", "topic-job-run-result"),
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

#[test]
fn jobs_in_another_encoding_or_in_an_array_are_not_produced_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let utf_16: Vec<u8> = "{\"Id\":\"a\"}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked_utf_16 = [&[0xfe, 0xff], &*utf_16].concat();
    for (jobs, expected) in [
        (b"\xef\xbb\xbf{\"Id\":\"a\"}".to_vec(), "found a byte order mark (U+FEFF)"),
        (utf_16, "found UTF-16"),
        (marked_utf_16, "found UTF-16 with a byte order mark"),
        (b"[{\"Id\":\"a\"}]".to_vec(), "value 1: found an array, expected an object"),
    ] {
        let file = folder.path().join("jobs");
        std::fs::write(&file, jobs).unwrap();
        let ended =
            mailjob(&["submit", file.to_str().unwrap()], &[("KAFKA_BROKERS", "127.0.0.1:1")]);
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
        assert!(errors.trim_end().ends_with("nothing was produced"), "{errors}");
    }
}

#[test]
fn wrong_arguments_of_dead_letters_and_parked_end_with_what_was_expected() {
    let environment = [("KAFKA_BROKERS", "127.0.0.1:1")];
    for (arguments, expected) in [
        (&["dead-letters", "show", "17"][..], "expected PARTITION:OFFSET"),
        (&["dead-letters", "list", "--from", "yesterday"], "expected a time such as"),
        (&["dead-letters", "redrive", "--run", "a b"], "expected up to 100 of"),
        (&["dead-letters", "redrive", "--limit", "0"], "'--limit <N>'"),
        (&["parked", "resend"], "required"),
        (&["parked", "resend", "a", "--all"], "cannot be used with"),
        (&["parked", "settle", "a"], "<--accepted|--rejected>"),
        (&["parked", "settle", "a", "--accepted", "--rejected"], "cannot be used with"),
    ] {
        let ended = mailjob(arguments, &environment);
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn dead_letters_and_parked_read_the_settings_of_the_service() {
    for arguments in
        [&["dead-letters", "list"][..], &["dead-letters", "redrive"], &["parked", "list"]]
    {
        let ended = mailjob(arguments, &[]);
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.starts_with("mailjob: KAFKA_BROKERS: "), "{errors}");
    }
}

#[test]
fn who_has_seen_enough_of_what_is_shown_ends_it_without_an_error() {
    for arguments in [&["settings"][..], &["settings", "--markdown"], &["completions", "bash"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailjob"));
        let (output, unread) = std::io::pipe().unwrap();
        drop(output);
        let ended = command.args(arguments).stdout(unread).output().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), &*errors), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn the_demo_says_in_one_line_that_it_is_another_program() {
    for arguments in [&["demo"][..], &["demo", "--help"], &["demo", "--generate", "9", "-x", "y"]] {
        let ended = mailjob(arguments, &[]);
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{errors}");
        let expected = "mailjob: the demo is a program of its own, mailjob-demo: cargo run \
                        --release -p mailjob-demo\n";
        assert_eq!(errors, expected, "{arguments:?}");
    }
    let help = mailjob(&["--help"], &[]).stdout;
    assert!(!String::from_utf8(help).unwrap().contains("demo"));
}

#[test]
fn the_version_names_the_source_and_the_toolchain() {
    let text = |argument| String::from_utf8(mailjob(&[argument], &[]).stdout).unwrap();
    assert_eq!(text("-V"), concat!("mailjob ", env!("CARGO_PKG_VERSION"), "\n"));
    let long = text("--version");
    let lines: Vec<_> = long.lines().collect();
    let [version, commit, rustc, librdkafka] = lines[..] else { panic!("{long}") };
    assert_eq!(version, concat!("mailjob ", env!("CARGO_PKG_VERSION")));
    assert!(commit.starts_with("commit ") && commit.len() > "commit ".len(), "{commit}");
    assert!(rustc.starts_with("rustc ") && rustc.contains(", profile "), "{rustc}");
    assert!(librdkafka.starts_with("librdkafka 2."), "{librdkafka}");
}

#[test]
fn there_are_completions_for_shells_and_a_man_page_for_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = mailjob(&["completions", shell], &[]);
        let script = String::from_utf8(ended.stdout).unwrap();
        assert!(script.contains("redrive") && script.contains("dry-run"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("made/man1");
    let ended = mailjob(&["man", pages.to_str().unwrap()], &[]);
    assert_eq!(ended.status.code(), Some(0));
    for name in ["mailjob", "mailjob-run", "mailjob-dead-letters-redrive", "mailjob-parked-settle"]
    {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH "), "{name}");
    }
    let ended = mailjob(&["man", "/dev/null/no"], &[]);
    assert_eq!(ended.status.code(), Some(2));
}

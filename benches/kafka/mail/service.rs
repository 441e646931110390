//! `mailjob run`, the binary, with its own defaults but for what is measured.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::jobs::FROM;
use crate::process::{Role, Running};

/// Builds the service as it ships, and says where it is.
pub(crate) fn build() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--release", "--package", "mailjob", "--bin", "mailjob"])
        .status()
        .expect("cargo is there");
    assert!(built.success(), "cargo build: {built}");
    // This program is in release/deps.
    let own = env::current_exe().expect("this program");
    let release = own.parent().and_then(|deps| deps.parent()).expect("a folder of cargo's");
    release.join("mailjob")
}

/// Where it runs, and what is built for the bench lies.
pub(crate) fn folder() -> PathBuf {
    env::temp_dir().join(format!("kafka-bench-{}", std::process::id()))
}

/// Removes what it has logged.
pub(crate) fn forget_logs() {
    std::fs::remove_dir_all(folder()).expect("its folder is there");
}

/// Starts it in a folder with no settings but these; it logs to a file there.
pub(crate) fn start(service: &Path, role: &Role, settings: &[(&str, String)]) -> Running {
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let log = File::create(folder.join("mailjob.log")).expect("a log");
    let errors = log.try_clone().expect("a log");
    Running::start(
        Command::new(service)
            .arg("run")
            .current_dir(folder)
            .env_clear()
            .env("KAFKA_BROKERS", &role.bootstrap)
            .env("TOPIC_JOB_RUN", &role.input)
            .env("TOPIC_JOB_RUN_CONSUMER_GROUP_ID", &role.output)
            .env("TOPIC_JOB_RUN_RESULT", &role.output)
            .env("MAIL_SERVER_HOST", "127.0.0.1")
            .env("MAIL_SERVER_PORT", role.mail_port.to_string())
            .env("MAIL_TLS", "none")
            .env("MAIL_FROM", FROM)
            .env("EMAIL_DOMAIN", "example.com")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdout(log)
            .stderr(errors),
    )
}

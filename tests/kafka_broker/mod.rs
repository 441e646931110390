//! Apache Kafka for tests, started by `scripts/kafka`.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

/// A broker that the tests of this binary share; the last one stops it.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    folder: Option<PathBuf>,
}

static RUNNING: Mutex<Weak<Broker>> = Mutex::new(Weak::new());

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"))
}

impl Broker {
    pub(crate) fn shared() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap();
        if let Some(broker) = running.upgrade() {
            return broker;
        }
        let broker = Arc::new(Self::start());
        *running = Arc::downgrade(&broker);
        broker
    }

    fn start() -> Self {
        if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
            return Self { bootstrap, folder: None };
        }
        Self::start_with(&[])
    }

    /// A broker of its own, with further arguments of `scripts/kafka start`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let name = format!("jobstream-kafka-{}{}", std::process::id(), arguments.concat());
        let folder = std::env::temp_dir().join(name);
        let started = script().arg("start").arg(&folder).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "scripts/kafka start: {errors}");
        let bootstrap = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        Self { bootstrap, folder: Some(folder) }
    }
}

#[allow(dead_code, reason = "not every test file wants them")]
impl Broker {
    /// A file that the script has made.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.as_ref().unwrap().join(name).to_string_lossy().into_owned()
    }

    /// Kills its only node, or starts it again.
    pub(crate) fn node(&self, verb: &str) {
        let done = script().arg(verb).arg(self.folder.as_ref().unwrap()).arg("0").status();
        assert!(done.unwrap().success(), "scripts/kafka {verb}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let stopped = script().arg("stop").arg(folder).status().unwrap();
            assert!(stopped.success(), "scripts/kafka stop: {stopped}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

//! Apache Kafka for tests, started by `scripts/kafka`.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

#[path = "../script/mod.rs"]
mod script;

pub(crate) use script::script;

/// A broker that the tests of this binary share; the last one stops it.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    folder: Option<PathBuf>,
}

static RUNNING: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
static STARTED: AtomicUsize = AtomicUsize::new(0);

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
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("jobstream-kafka-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let started = script("kafka").arg("start").arg(&folder).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "scripts/kafka start: {errors}");
        let bootstrap = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        Self { bootstrap, folder: Some(folder) }
    }
}

#[allow(dead_code, reason = "not every test file wants them")]
impl Broker {
    /// The broker of a test that does nothing to it; the testkit's in its place has the same.
    pub(crate) async fn open() -> Arc<Self> {
        Self::shared()
    }

    /// A file that the script has made.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.as_ref().unwrap().join(name).to_string_lossy().into_owned()
    }

    /// Sends its only node a signal: `STOP` lets it hang, with its connections up, and `CONT` go on.
    pub(crate) fn signal(&self, name: &str) {
        self.signal_node(name, 0);
    }

    /// Sends one of its nodes a signal.
    pub(crate) fn signal_node(&self, name: &str, node: i32) {
        let pid = std::fs::read_to_string(self.file(&format!("node-{node}.pid"))).unwrap();
        let sent = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status().unwrap();
        assert!(sent.success(), "kill -{name} {pid}");
    }

    /// Starts its only node again, with this value of a setting.
    pub(crate) fn restart_with(&self, setting: &str, value: &str) {
        self.node("kill");
        let path = self.file("server-0.properties");
        let settings = std::fs::read_to_string(&path).unwrap();
        let is_another = |line: &&str| line.split_once('=').is_none_or(|(name, _)| name != setting);
        let others = settings.lines().filter(is_another).map(|line| format!("{line}\n"));
        let settings = others.collect::<String>() + &format!("{setting}={value}\n");
        std::fs::write(&path, settings).unwrap();
        self.node("resume");
    }

    /// Kills its only node, or starts it again.
    pub(crate) fn node(&self, verb: &str) {
        self.one_node(verb, 0);
    }

    /// Kills one of its nodes, or starts it again.
    pub(crate) fn one_node(&self, verb: &str, node: i32) {
        let folder = self.folder.as_ref().expect("a Kafka that this test has started");
        let mut script = script("kafka");
        let done = script.arg(verb).arg(folder).arg(node.to_string()).status();
        assert!(done.unwrap().success(), "scripts/kafka {verb} {node}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let stopped = script("kafka").arg("stop").arg(folder).status().unwrap();
            assert!(stopped.success(), "scripts/kafka stop: {stopped}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

//! The shop in processes of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(180);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// What the web app says when browsers may come.
const OPEN: &str = "The shop is open: http://";

/// A web app, and what else of the shop was started.
pub(crate) struct Shop {
    /// Where browsers come.
    pub(crate) address: SocketAddr,
    broker: Arc<Broker>,
    folder: TempDir,
    settings: [(&'static str, String); 3],
    parts: BTreeMap<&'static str, Child>,
}

impl Shop {
    /// Completes when browsers may come. Every part is told these settings.
    pub(crate) async fn open(settings: [(&'static str, String); 3]) -> Self {
        let (broker, folder) = (Broker::open().await, tempfile::tempdir().unwrap());
        let address = ([127, 0, 0, 1], 0).into();
        let mut shop = Self { address, broker, folder, settings, parts: BTreeMap::new() };
        shop.start("webapp");
        shop.said("webapp", OPEN).await;
        let log = shop.log("webapp");
        let (_, rest) = log.split_once(OPEN).unwrap();
        shop.address = rest.split_whitespace().next().unwrap().parse().unwrap();
        shop
    }

    /// Starts a part, whose log goes to a file.
    pub(crate) fn start(&mut self, part: &'static str) {
        let log = File::create(self.folder.path().join(part)).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pizza"));
        command.args([part, "--speed", "10", "--listen", "127.0.0.1:0"]).env_clear();
        command.env("KAFKA_BROKERS", &self.broker.bootstrap).envs(self.settings.clone());
        command.current_dir(self.folder.path()).kill_on_drop(true);
        let child = command.stdout(log).stderr(Stdio::inherit()).spawn().unwrap();
        self.parts.insert(part, child);
    }

    pub(crate) fn log(&self, part: &str) -> String {
        fs::read_to_string(self.folder.path().join(part)).unwrap()
    }

    /// Completes when a line of a part's log holds this text.
    pub(crate) async fn said(&mut self, part: &str, text: &str) {
        let said = async {
            while !self.log(part).lines().any(|line| line.contains(text)) {
                let ended = self.parts.get_mut(part).unwrap().try_wait().unwrap();
                assert!(ended.is_none(), "{part} ended without {text:?}:\n{}", self.log(part));
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        let said = timeout(LIMIT, said).await;
        assert!(said.is_ok(), "{part}: no {text:?} in\n{}", self.log(part));
    }

    /// Ends every part, in order.
    pub(crate) async fn close(mut self) {
        for (part, mut child) in std::mem::take(&mut self.parts) {
            let pid = child.id().expect("it runs").to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            let ended = timeout(LIMIT, child.wait()).await.expect("an end").unwrap();
            assert!(ended.success(), "{part}: {ended}\n{}", self.log(part));
        }
    }
}

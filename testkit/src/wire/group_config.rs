//! The configuration of a group: how long the sessions of its members last.

use std::time::Duration;

use super::listener::Settings;
use crate::broker::config::{ConfigEntry, Kind, Said, entry};

const SESSION: &str = "consumer.session.timeout.ms";
const RESET: &str = "share.auto.offset.reset";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

/// Every entry that Kafka knows, by name; those of groups that are not served have no effect.
pub(super) const ENTRIES: &[ConfigEntry] = &[
    entry(HEARTBEAT, Kind::Int(1, i32::MAX), "5000", ""),
    entry(SESSION, Kind::Int(1, i32::MAX), "45000", ""),
    entry(RESET, Kind::Text(&[]), "latest", ""),
    entry("share.heartbeat.interval.ms", Kind::Int(1, i32::MAX), "5000", ""),
    entry(
        "share.isolation.level",
        Kind::Text(&["read_committed", "read_uncommitted"]),
        "read_uncommitted",
        "",
    ),
    entry("share.record.lock.duration.ms", Kind::Int(1_000, i32::MAX), "30000", ""),
    entry("share.session.timeout.ms", Kind::Int(1, i32::MAX), "45000", ""),
    entry("streams.heartbeat.interval.ms", Kind::Int(1, i32::MAX), "5000", ""),
    entry("streams.num.standby.replicas", Kind::Int(0, i32::MAX), "0", ""),
    entry("streams.session.timeout.ms", Kind::Int(1, i32::MAX), "45000", ""),
];

/// The least and the most of what a group may say: Kafka's defaults, and what the listener has for
/// groups that say nothing.
fn limits(settings: &Settings) -> [(&'static str, u128, u128); 8] {
    const SESSIONS: (u128, u128) = (45_000, 60_000);
    const HEARTBEATS: (u128, u128) = (5_000, 15_000);
    let around = |(least, most): (u128, u128), own: Duration| {
        (least.min(own.as_millis()), most.max(own.as_millis()))
    };
    let session = around(SESSIONS, settings.consumer_session_timeout);
    let heartbeat = around(HEARTBEATS, settings.consumer_heartbeat_interval);
    [
        (HEARTBEAT, heartbeat.0, heartbeat.1),
        (SESSION, session.0, session.1),
        ("share.heartbeat.interval.ms", HEARTBEATS.0, HEARTBEATS.1),
        ("share.record.lock.duration.ms", 15_000, 60_000),
        ("share.session.timeout.ms", SESSIONS.0, SESSIONS.1),
        ("streams.heartbeat.interval.ms", HEARTBEATS.0, HEARTBEATS.1),
        ("streams.num.standby.replicas", 0, 2),
        ("streams.session.timeout.ms", SESSIONS.0, SESSIONS.1),
    ]
}

fn find(name: &str) -> Option<ConfigEntry> {
    ENTRIES.iter().find(|entry| entry.name == name).copied()
}

#[derive(Clone, Debug)]
pub(super) struct GroupConfig(pub(super) Said);

impl Default for GroupConfig {
    fn default() -> Self {
        Self(Said::nothing("group", find))
    }
}

impl GroupConfig {
    fn millis(&self, name: &str) -> Option<Duration> {
        let said = self.0.get(name)?.trim().parse().ok();
        said.map(Duration::from_millis)
    }

    /// Says what is wrong: a number that is not between the least and the most of the broker's
    /// configuration, or a session that would end before its first heartbeat.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), String> {
        for (name, least, most) in limits(settings) {
            let said = self.0.get(name).and_then(|said| said.trim().parse::<u128>().ok());
            let of_broker = |limit| name.replacen('.', &format!(".{limit}."), 1);
            if said.is_some_and(|said| said < least) {
                let limit = of_broker("min");
                return Err(format!("{name} must be greater than or equal to group.{limit}"));
            }
            if said.is_some_and(|said| said > most) {
                let limit = of_broker("max").replace("num.standby", "standby");
                return Err(format!("{name} must be less than or equal to group.{limit}"));
            }
        }
        if let Some(reset) = self.0.get(RESET)
            && !["earliest", "latest"].contains(&reset)
            && !reset.starts_with("by_duration:P")
        {
            return Err(format!(
                "Invalid value {reset} for configuration {RESET}: the value must be either \
                 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            ));
        }
        if self.session_timeout(settings) <= self.heartbeat_interval(settings) {
            return Err(format!("{SESSION} must be greater than {HEARTBEAT}"));
        }
        Ok(())
    }

    pub(super) fn session_timeout(&self, settings: &Settings) -> Duration {
        self.millis(SESSION).unwrap_or(settings.consumer_session_timeout)
    }

    pub(super) fn heartbeat_interval(&self, settings: &Settings) -> Duration {
        self.millis(HEARTBEAT).unwrap_or(settings.consumer_heartbeat_interval)
    }

    /// What holds where nothing is said.
    pub(super) fn default_of(entry: &ConfigEntry, settings: &Settings) -> String {
        match entry.name {
            SESSION => settings.consumer_session_timeout.as_millis().to_string(),
            HEARTBEAT => settings.consumer_heartbeat_interval.as_millis().to_string(),
            _ => entry.default.to_owned(),
        }
    }
}

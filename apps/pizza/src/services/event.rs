//! The events between the services, as JSON.

use serde::de::Unexpected;
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// The longest baking time that is believed, in seconds.
const BAKING_TIME_LIMIT_SECONDS: u64 = 3_600;

/// The value of a record of [`ASSEMBLED`](crate::topics::ASSEMBLED).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AssembledEvent {
    /// In seconds.
    #[serde(deserialize_with = "baking_time")]
    pub(super) baking_time: u64,
}

impl AssembledEvent {
    pub(super) fn to_json(self) -> String {
        format!(r#"{{"baking_time":{}}}"#, self.baking_time)
    }
}

/// The value of a record of [`STATUS`](crate::topics::STATUS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatusEvent {
    /// Where there is none, nobody knows the order.
    pub(super) status: Option<Status>,
}

impl StatusEvent {
    pub(super) const fn of(status: Status) -> Self {
        Self { status: Some(status) }
    }

    pub(super) fn to_json(self) -> String {
        serde_json::json!(self).to_string()
    }
}

fn baking_time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    if seconds <= BAKING_TIME_LIMIT_SECONDS {
        return Ok(seconds);
    }
    let expected = format!("at most {BAKING_TIME_LIMIT_SECONDS} s");
    Err(serde::de::Error::invalid_value(Unexpected::Unsigned(seconds), &&*expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baking_time_is_written_as_it_is_read_and_has_a_limit() {
        let event = AssembledEvent { baking_time: 17 };
        assert_eq!(event.to_json(), r#"{"baking_time":17}"#);
        assert_eq!(serde_json::from_str::<AssembledEvent>(&event.to_json()).unwrap(), event);
        for wrong in [r#"{"baking_time":3601}"#, r#"{"baking_time":-1}"#, "{}", "null"] {
            assert!(serde_json::from_str::<AssembledEvent>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_status_may_be_missing_but_not_be_another_thing_than_a_number() {
        let event: StatusEvent = serde_json::from_str(r#"{"status":7,"by":"hand"}"#).unwrap();
        assert_eq!(event, StatusEvent::of(Status::from_code(7)));
        assert_eq!(StatusEvent::of(Status::LOST).to_json(), r#"{"status":-500}"#);
        assert_eq!(serde_json::from_str::<StatusEvent>("{}").unwrap().status, None);
        for wrong in [r#"{"status":"200"}"#, r#"{"status":2.5}"#, "[]", "200", "null"] {
            assert!(serde_json::from_str::<StatusEvent>(wrong).is_err(), "{wrong}");
        }
    }
}

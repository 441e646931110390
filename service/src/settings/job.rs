//! How jobs are worked on: workers, delivery, attempts, limits.

use std::time::Duration;

use super::{SettingsError, Variables};
use crate::Delivery;
use jobstream::sinks::ledger::LedgerLimits;
use jobstream::topology::{Ambiguous, Limits, Retry};

const WORKERS_MAX: usize = 256;
const IN_FLIGHT_MAX: usize = 1_000_000;
const ATTEMPTS_MAX: u32 = 1_000;
const DAY_SECONDS: f64 = 86_400.0;
const YEARS_10_SECONDS: f64 = 3_650.0 * DAY_SECONDS;
const LEDGER_ENTRIES_MAX: usize = 1_000_000_000;
const LEDGER_IN_DOUBT_MAX: usize = 1_000_000;

/// How jobs are worked on.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Consumers in this process.
    pub workers: usize,
    /// How outputs are delivered.
    pub delivery: Delivery,
    /// The limits of the ledger, if there is one.
    pub ledger: Option<LedgerLimits>,
    /// How often a job is tried.
    pub retry: Retry,
    /// The limits of each worker.
    pub limits: Limits,
}

impl JobSettings {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let deliveries =
            [("at-least-once", Delivery::AtLeastOnce), ("exactly-once", Delivery::ExactlyOnce)];
        let delivery = variables.choice("JOB_DELIVERY", &deliveries, Delivery::AtLeastOnce)?;
        Ok(Self {
            workers: variables.number("TOPIC_JOB_RUN_CONSUMER_WORKER_COUNT", 1..=WORKERS_MAX, 1)?,
            delivery,
            ledger: ledger(variables, delivery)?,
            retry: retry(variables)?,
            limits: limits(variables)?,
        })
    }
}

/// The limits of the ledger, if there is one.
fn ledger(
    variables: &Variables<'_>,
    delivery: Delivery,
) -> Result<Option<LedgerLimits>, SettingsError> {
    let defaults = LedgerLimits::default();
    let retention =
        variables.seconds("JOB_LEDGER_RETENTION", 0.0..=YEARS_10_SECONDS, defaults.retention)?;
    let entries_max =
        variables.number("JOB_LEDGER_ENTRIES", 1..=LEDGER_ENTRIES_MAX, defaults.entries_max)?;
    let in_doubt_max =
        variables.number("JOB_LEDGER_IN_DOUBT", 1..=LEDGER_IN_DOUBT_MAX, defaults.in_doubt_max)?;
    if !variables.choice("JOB_LEDGER", &[("none", false), ("kafka", true)], false)? {
        return Ok(None);
    }
    if delivery != Delivery::ExactlyOnce {
        let found = "\"kafka\" with JOB_DELIVERY=at-least-once, which fences nobody";
        return Err(SettingsError::wrong("JOB_LEDGER", found, "JOB_DELIVERY=exactly-once with it"));
    }
    Ok(Some(defaults.retention(retention).entries_max(entries_max).in_doubt_max(in_doubt_max)))
}

fn retry(variables: &Variables<'_>) -> Result<Retry, SettingsError> {
    let policies = [("resend", Ambiguous::Resend), ("park", Ambiguous::Park)];
    let seconds = |name, least, default| variables.seconds(name, least..=DAY_SECONDS, default);
    let defaults = Retry::default();
    let attempt_timeout = variables.seconds_if_any("JOB_ATTEMPT_TIMEOUT", 0.001..=DAY_SECONDS)?;
    let retry = Retry::new()
        .attempt_timeout(attempt_timeout)
        .attempts(variables.number_if_any("JOB_RETRY_ATTEMPTS", 1..=ATTEMPTS_MAX)?)
        .deadline(seconds("JOB_RETRY_DEADLINE", 0.0, defaults.deadline)?)
        .first_delay(seconds("JOB_RETRY_DELAY", 0.001, defaults.first_delay)?)
        .max_delay(seconds("JOB_RETRY_DELAY_MAX", 0.001, defaults.max_delay)?)
        .ambiguous(variables.choice("JOB_AMBIGUOUS", &policies, defaults.ambiguous)?);
    if retry.max_delay < retry.first_delay {
        let found = format!("{} s", retry.max_delay.as_secs_f64());
        let expected = format!("at least JOB_RETRY_DELAY ({} s)", retry.first_delay.as_secs_f64());
        return Err(SettingsError::wrong("JOB_RETRY_DELAY_MAX", found, expected));
    }
    Ok(retry)
}

fn limits(variables: &Variables<'_>) -> Result<Limits, SettingsError> {
    let defaults = Limits::default();
    let seconds = |name, default| variables.seconds(name, 0.0..=DAY_SECONDS, default);
    let in_flight = variables.number_if_any("JOB_IN_FLIGHT", 1..=IN_FLIGHT_MAX)?;
    let limits = defaults
        .in_flight_records(in_flight.unwrap_or(defaults.in_flight_records))
        .executing_records(in_flight.unwrap_or(defaults.executing_records))
        .drain_timeout(seconds("DRAIN_TIMEOUT", defaults.drain_timeout)?)
        .shutdown_timeout(seconds("SHUTDOWN_TIMEOUT", defaults.shutdown_timeout)?);
    let default_ms = 300_000;
    let poll_ms = variables.number("KAFKA_MAX_POLL_INTERVAL_MS", 1..=86_400_000, default_ms)?;
    if limits.drain_timeout >= Duration::from_millis(poll_ms) {
        let found = format!("{} s", limits.drain_timeout.as_secs_f64());
        let expected = format!("less than max.poll.interval.ms ({poll_ms} ms)");
        return Err(SettingsError::wrong("DRAIN_TIMEOUT", found, expected));
    }
    Ok(limits)
}

//! What must hold of the effects of jobs on the outside, mails or requests, in a search: how often each
//! job has had its effect, against what the history says of its executions and its result.
//!
//! The search that includes this has `crate::jobs::number`, the number of a record's job, and
//! `crate::outside::LEDGER_RETENTION`.

use std::collections::BTreeMap;

use jobstream::record::ConsumerRecord;
use jobstream::sinks::JobErrorKind;
use jobstream_service::Topics;
use jobstream_testkit::simulation::{Fault, History, Place, What};

use crate::jobs::number;
use crate::outside::LEDGER_RETENTION;

/// How often each job has had its effect, by the job's number.
pub(crate) type Effects = BTreeMap<u64, u64>;

/// What came of the executions of one job.
#[derive(Debug, Default)]
struct Executions {
    accepted: u64,
    /// Ambiguous, or dropped while they were under way.
    in_doubt: u64,
}

fn executions(history: &History) -> BTreeMap<u64, Executions> {
    let mut executions: BTreeMap<u64, Executions> = BTreeMap::new();
    let number = |place: &Place| history.input(place).and_then(number).unwrap();
    for entry in &history.entries {
        match &entry.what {
            What::Executed(place, error) => {
                let of_job = executions.entry(number(place)).or_default();
                of_job.accepted += u64::from(error.is_none());
                of_job.in_doubt += u64::from(*error == Some(JobErrorKind::Ambiguous));
            }
            What::Cancelled(place) => executions.entry(number(place)).or_default().in_doubt += 1,
            _ => {}
        }
    }
    executions
}

/// A job has one effect for each execution that ended well, and at most one more for each whose end
/// nobody knows; what was refused or not sent has had none.
pub(crate) fn are_accounted_for(history: &History, effects: &Effects) -> Result<(), String> {
    let executions = executions(history);
    if let Some(number) = effects.keys().find(|number| !executions.contains_key(number)) {
        return Err(format!("job {number} was never executed, and has had its effect"));
    }
    for (number, Executions { accepted, in_doubt }) in executions {
        let found = effects.get(&number).copied().unwrap_or_default();
        if !(accepted..=accepted + in_doubt).contains(&found) {
            let expected = format!("{accepted}, and {in_doubt} more at most");
            return Err(format!("job {number}: found {found} effects, expected {expected}"));
        }
    }
    Ok(())
}

/// With a ledger that resends: one effect, and one more at most for each resend that the job's result
/// says. The result of a job that has failed says none: one for each end that nobody knows, or nobody
/// recorded.
pub(crate) fn are_bounded(history: &History, effects: &Effects) -> Result<(), String> {
    if entries_may_have_expired(history) {
        return Ok(());
    }
    let mut resends = BTreeMap::new();
    for result in results(history) {
        if matches!(header(result, "job-outcome").as_str(), "accepted" | "duplicate") {
            let said: u64 = header(result, "job-resends").parse().unwrap_or(0);
            let of_job = resends.entry(number(result).unwrap()).or_insert(0);
            *of_job = said.max(*of_job);
        }
    }
    let executions = executions(history);
    for (number, found) in effects {
        let unknown = || executions.get(number).map_or(0, |of| of.in_doubt + of.accepted);
        let more = resends.get(number).copied().unwrap_or_else(unknown);
        if *found > 1 + more {
            let expected = format!("1, and {more} more at most");
            return Err(format!("job {number}: found {found} effects, expected {expected}"));
        }
    }
    Ok(())
}

/// With a ledger that parks.
pub(crate) fn none_is_second(history: &History, effects: &Effects) -> Result<(), String> {
    if entries_may_have_expired(history) {
        return Ok(());
    }
    match effects.iter().find(|(_, found)| **found > 1) {
        Some((number, found)) => {
            Err(format!("job {number}: found {found} effects, expected 1 at most"))
        }
        None => Ok(()),
    }
}

/// Whether an entry of the ledger may have been removed for its age, and its record delivered again
/// later, as only offsets that go back bring about. The job is a new one then.
fn entries_may_have_expired(history: &History) -> bool {
    let (mut jumped_ms, mut earliest_ms, mut is_old) = (0, 0, false);
    for entry in &history.entries {
        match &entry.what {
            What::Fault(Fault::ClockJump { milliseconds }) => jumped_ms += milliseconds,
            What::BeganAnew(_) | What::ForeignCommit(_) if is_old => return true,
            _ => {}
        }
        let now_ms = jumped_ms + i64::try_from(entry.at.as_millis()).unwrap_or(i64::MAX);
        earliest_ms = now_ms.min(earliest_ms);
        is_old |= u128::try_from(now_ms - earliest_ms).unwrap() > LEDGER_RETENTION.as_millis();
    }
    false
}

pub(crate) fn results(history: &History) -> impl Iterator<Item = &ConsumerRecord> {
    history.outputs.get(&Topics::default().results).into_iter().flatten()
}

pub(crate) fn header(record: &ConsumerRecord, name: &str) -> String {
    let value = record.headers.get(name).map(|value| value.to_vec()).unwrap_or_default();
    String::from_utf8(value).unwrap()
}

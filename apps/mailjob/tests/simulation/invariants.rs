//! What must hold of mails, beside what must hold of any job.

use std::collections::{BTreeMap, BTreeSet};

use jobstream::record::ConsumerRecord;
use jobstream::sinks::JobErrorKind;
use jobstream_testkit::simulation::{Fault, History, Place, What, Who};
use jobstream_testkit::smtp::SmtpServer;
use mailjob::topology::Topics;

use crate::jobs::number;
use crate::misfortunes::{AS_WANTED, HUNG_UP, are_hang_ups_alone};
use crate::outside::{LEDGER_RETENTION, SESSION_LIMIT, TOO_EARLY};

/// How often each job's mail has arrived.
fn mails(server: &SmtpServer) -> BTreeMap<u64, u64> {
    let mut mails = BTreeMap::new();
    for mail in server.inbox().mails() {
        let number = mail.subject().and_then(|subject| subject.parse().ok());
        *mails.entry(number.expect("the number of its job")).or_default() += 1;
    }
    mails
}

/// What came of the executions of one job.
#[derive(Debug, Default)]
struct Executions {
    accepted: u64,
    /// Ambiguous, or dropped while they were under way.
    in_doubt: u64,
}

fn executions(history: &History) -> BTreeMap<u64, Executions> {
    let mut executions: BTreeMap<u64, Executions> = BTreeMap::new();
    let number = |place: &Place| history.input(place).and_then(number);
    for entry in &history.entries {
        match &entry.what {
            What::Executed(place, error) => {
                let of_job = executions.entry(number(place).unwrap()).or_default();
                of_job.accepted += u64::from(error.is_none());
                of_job.in_doubt += u64::from(*error == Some(JobErrorKind::Ambiguous));
            }
            What::Cancelled(place) => {
                executions.entry(number(place).unwrap()).or_default().in_doubt += 1;
            }
            _ => {}
        }
    }
    executions
}

/// A mail goes to whom its own job names, and to nobody else.
pub(crate) fn mails_go_where_they_should(_: &History, server: &SmtpServer) -> Result<(), String> {
    let inbox = server.inbox().mails();
    let astray = inbox.iter().find(|mail| mail.recipients != Vec::from_iter(mail.header("To")));
    astray.map_or(Ok(()), |mail| {
        Err(format!(
            "mail {}: found recipients {:?}, expected {:?}",
            mail.number,
            mail.recipients,
            mail.header("To")
        ))
    })
}

/// A mail arrives once for each execution that ended with it accepted, and at most once more for
/// each whose end nobody knows; what was refused or not sent has brought none.
pub(crate) fn mails_are_accounted_for(
    history: &History,
    server: &SmtpServer,
) -> Result<(), String> {
    let (mails, executions) = (mails(server), executions(history));
    let unasked = mails.keys().find(|number| !executions.contains_key(number));
    if let Some(number) = unasked {
        return Err(format!("job {number} was never executed, and there is a mail of it"));
    }
    for (number, Executions { accepted, in_doubt }) in executions {
        let found = mails.get(&number).copied().unwrap_or_default();
        if !(accepted..=accepted + in_doubt).contains(&found) {
            return Err(format!(
                "job {number}: found {found} mails, expected {accepted}, and {in_doubt} more at \
                 most"
            ));
        }
    }
    Ok(())
}

/// With a ledger that resends: one mail, and one more at most for each resend that the job's result
/// tells. A job that has failed tells none: one for each end that nobody knows, or nobody recorded.
pub(crate) fn mails_are_bounded(history: &History, server: &SmtpServer) -> Result<(), String> {
    let mut resends = BTreeMap::new();
    for result in results(history) {
        if matches!(header(result, "job-outcome").as_str(), "accepted" | "duplicate") {
            let told: u64 = header(result, "job-resends").parse().unwrap_or(0);
            let of_job = resends.entry(number(result).unwrap()).or_insert(0);
            *of_job = told.max(*of_job);
        }
    }
    if entries_may_have_expired(history) {
        return Ok(());
    }
    let executions = executions(history);
    for (number, found) in mails(server) {
        let unknown = || executions.get(&number).map_or(0, |of| of.in_doubt + of.accepted);
        let more = resends.get(&number).copied().unwrap_or_else(unknown);
        if found > 1 + more {
            let expected = format!("1, and {more} more at most");
            return Err(format!("job {number}: found {found} mails, expected {expected}"));
        }
    }
    Ok(())
}

/// With a ledger that parks.
pub(crate) fn no_second_mail(history: &History, server: &SmtpServer) -> Result<(), String> {
    if entries_may_have_expired(history) {
        return Ok(());
    }
    match mails(server).into_iter().find(|(_, found)| *found > 1) {
        Some((number, found)) => {
            Err(format!("job {number}: found {found} mails, expected 1 at most"))
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

/// A result with `Status` 4 has its mail in the inbox, under the Message-ID that it names; what a
/// server never takes has no mail.
pub(crate) fn results_are_true(history: &History, server: &SmtpServer) -> Result<(), String> {
    let inbox = server.inbox().mails();
    let ids: BTreeSet<_> = inbox.iter().filter_map(|mail| mail.message_id()).collect();
    for result in results(history) {
        let id = result.headers.get("job-message-id").map(|id| String::from_utf8_lossy(id));
        let id = id.as_deref().map(|id| id.trim_matches(['<', '>']));
        let is_accepted = header(result, "job-outcome") == "accepted";
        if is_accepted && !id.is_some_and(|id| ids.contains(id)) {
            return Err(format!("found no mail {id:?} for result {:?}", number(result)));
        }
        let never = matches!(number(result).unwrap() % 16, 3 | 7 | 9 | 11);
        if is_accepted && never {
            return Err(format!(
                "result {:?} is accepted, and the server refuses it",
                number(result)
            ));
        }
    }
    Ok(())
}

/// A job whose recipient is good fails for what befell its own mail, and not for a limit of its
/// connection, nor for what another mail on it brought about.
pub(crate) fn no_job_fails_for_its_connection(
    history: &History,
    _: &SmtpServer,
) -> Result<(), String> {
    for result in results(history) {
        let job = number(result).unwrap();
        let (outcome, error) = (header(result, "job-outcome"), header(result, "job-error"));
        let is_good = !matches!(job % 16, 3 | 7 | 9 | 11);
        let is_own = match outcome.as_str() {
            // The schedule's refusals strike whoever comes.
            "rejected" => !is_good || error.contains(AS_WANTED),
            "exhausted" => !error.contains(SESSION_LIMIT) && !error.contains(TOO_EARLY),
            _ => true,
        };
        if !is_own {
            return Err(format!("job {job} is {outcome}: {error:?}"));
        }
    }
    Ok(())
}

/// Where the server hangs up on one job and on no other, the first time does not count, and each
/// further one does if a mail has gone out meanwhile. With a ledger an execution may succeed without
/// a mail, and nobody can tell.
pub(crate) fn hang_ups_count_as_they_should(
    history: &History,
    server: &SmtpServer,
) -> Result<(), String> {
    let has_paused = history.entries.iter().any(|entry| entry.what == What::Paused);
    if has_paused || !are_hang_ups_alone(server) {
        return Ok(());
    }
    // Whoever has the job: a life of a member has one sink, whatever it is assigned.
    let mut lives: BTreeMap<Who, HungUp<'_>> = BTreeMap::new();
    for entry in &history.entries {
        let Some(who) = entry.who else { continue };
        let life = lives.entry(who).or_default();
        match &entry.what {
            What::Executed(place, error) if is_hung_up(history, place) => {
                life.ends(*error).map_err(|found| {
                    format!("step {}: {who} hung up on, {place}: {found}", entry.step)
                })?;
            }
            What::Cancelled(place) | What::Withdrawn(place) if is_hung_up(history, place) => {
                life.was_cut_off();
            }
            What::Began(place) => {
                life.since.insert(place);
            }
            What::Executed(place, None) => life.another_was_sent |= life.since.contains(place),
            _ => {}
        }
    }
    Ok(())
}

fn is_hung_up(history: &History, place: &Place) -> bool {
    history.input(place).and_then(number) == Some(HUNG_UP)
}

/// The job on which the server hangs up, as one life of a member has tried it.
#[derive(Default)]
struct HungUp<'a> {
    /// Whether the server has hung up on it, as far as its job sink remembers.
    has_ended: bool,
    /// The jobs whose execution has begun since its last end.
    since: BTreeSet<&'a Place>,
    /// Whether one of these was sent.
    another_was_sent: bool,
}

impl HungUp<'_> {
    fn ends(&mut self, error: Option<JobErrorKind>) -> Result<(), &'static str> {
        match error {
            Some(JobErrorKind::Transient) if !self.has_ended => Err("the first time counts"),
            Some(JobErrorKind::Unavailable) if self.has_ended && self.another_was_sent => {
                Err("it does not count, though another mail was sent meanwhile")
            }
            _ => {
                let may_follow = error.is_some_and(|kind| kind != JobErrorKind::Permanent);
                *self = Self { has_ended: may_follow, ..Self::default() };
                Ok(())
            }
        }
    }

    /// It may have ended before the server hung up, and may not have.
    fn was_cut_off(&mut self) {
        *self = Self { has_ended: self.has_ended, ..Self::default() };
    }
}

/// Mails of one job are equal byte for byte, whoever sends them.
pub(crate) fn mails_are_repeatable(_: &History, server: &SmtpServer) -> Result<(), String> {
    let mut first = BTreeMap::new();
    for mail in server.inbox().mails() {
        let id = mail.message_id().map(str::to_owned).ok_or("a mail has no Message-ID")?;
        let raw = first.entry(id.clone()).or_insert_with(|| mail.raw.clone());
        if *raw != mail.raw {
            return Err(format!("two mails {id} differ"));
        }
    }
    Ok(())
}

pub(crate) fn results(history: &History) -> impl Iterator<Item = &ConsumerRecord> {
    history.outputs.get(&Topics::default().results).into_iter().flatten()
}

pub(crate) fn header(record: &ConsumerRecord, name: &str) -> String {
    let value = record.headers.get(name).map(|value| value.to_vec()).unwrap_or_default();
    String::from_utf8(value).unwrap()
}

#[test]
fn a_job_that_was_cut_off_or_has_succeeded_may_be_hung_up_on_for_the_first_time() {
    let unknown = Some(JobErrorKind::Unavailable);
    for begin in [HungUp::was_cut_off, |job: &mut HungUp<'_>| job.ends(None).unwrap()] {
        let mut job = HungUp::default();
        begin(&mut job);
        job.another_was_sent = true;
        assert_eq!(job.ends(unknown), Ok(()));
        job.another_was_sent = true;
        assert!(job.ends(unknown).is_err());
    }
}

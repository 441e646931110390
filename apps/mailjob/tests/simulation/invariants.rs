//! What must hold of mails, beside what must hold of any job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jobstream::sinks::JobErrorKind;
use jobstream_testkit::simulation::{History, Place, What, Who};
use jobstream_testkit::smtp::{Mail, SmtpServer};

use crate::effects::{Effects, are_accounted_for, are_bounded, header, none_is_second, results};
use crate::jobs::number;
use crate::misfortunes::{AS_WANTED, HUNG_UP, are_hang_ups_alone};
use crate::outside::{SESSION_LIMIT, TOO_EARLY};

/// What has taken the mails of a run: one server, or several.
pub(crate) trait Inboxes {
    /// All of them.
    fn mails(&self) -> Vec<Arc<Mail>>;
}

impl Inboxes for SmtpServer {
    fn mails(&self) -> Vec<Arc<Mail>> {
        self.inbox().mails()
    }
}

/// How often each job's mail has arrived.
fn mails(server: &impl Inboxes) -> Effects {
    let mut mails = Effects::new();
    for mail in server.mails() {
        let number = mail.subject().and_then(|subject| subject.parse().ok());
        *mails.entry(number.expect("the number of its job")).or_default() += 1;
    }
    mails
}

/// A mail goes to whom its own job names, and to nobody else.
pub(crate) fn mails_go_where_they_should(_: &History, server: &impl Inboxes) -> Result<(), String> {
    let inbox = server.mails();
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

pub(crate) fn mails_are_accounted_for(
    history: &History,
    server: &impl Inboxes,
) -> Result<(), String> {
    are_accounted_for(history, &mails(server))
}

pub(crate) fn mails_are_bounded(history: &History, server: &SmtpServer) -> Result<(), String> {
    are_bounded(history, &mails(server))
}

pub(crate) fn no_second_mail(history: &History, server: &SmtpServer) -> Result<(), String> {
    none_is_second(history, &mails(server))
}

/// A result with `Status` 4 has its mail in the inbox, under the Message-ID that it names; what a
/// server never takes has no mail.
pub(crate) fn results_are_true(history: &History, server: &impl Inboxes) -> Result<(), String> {
    let inbox = server.mails();
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
    _: &impl Inboxes,
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
pub(crate) fn mails_are_repeatable(_: &History, server: &impl Inboxes) -> Result<(), String> {
    let mut first = BTreeMap::new();
    for mail in server.mails() {
        let id = mail.message_id().map(str::to_owned).ok_or("a mail has no Message-ID")?;
        let raw = first.entry(id.clone()).or_insert_with(|| mail.raw.clone());
        if *raw != mail.raw {
            return Err(format!("two mails {id} differ"));
        }
    }
    Ok(())
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

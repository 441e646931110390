//! The books: whether what came in has come out, once.
//!
//! The books ask no member, since a member that was killed can't say what was lost. They read the
//! topics, the committed positions and the inbox.

use std::collections::{BTreeMap, BTreeSet};

use jobstream::codec::Codec as _;
use jobstream::job::JobCodec;
use jobstream::record::{ConsumerRecord, Topic, TopicPartition};
use jobstream_testkit::broker::{Broker, Isolation};
use serde::Serialize;

use super::mailbox::Mailbox;
use jobstream_service::jobs::job_id;
use mailjob::topology::Topics;

/// Partition and offset of a record of the input.
type Place = (i32, i64);

/// What came in, what came out, and what is open; read from the topics and the inbox alone, as a
/// `read_committed` consumer sees them.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Where to read on.
    next: BTreeMap<TopicPartition, i64>,
    open: BTreeMap<Place, Expected>,
    /// The open jobs of each `Id`, whose results come in order.
    jobs: BTreeMap<String, BTreeSet<Place>>,
    totals: Totals,
}

/// What is to come out for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// A result, or a dead letter.
    Result(String),
    /// A dead letter.
    DeadLetter,
    /// Nothing: it is finished when the group's position says so.
    Nothing,
}

/// What has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Totals {
    /// Records in the input.
    records: u64,
    /// Results of jobs whose mail was accepted.
    accepted: u64,
    /// Results of jobs that had been sent before.
    duplicates: u64,
    /// Results of jobs that can't be a mail, or whose mail was refused.
    rejected: u64,
    /// Results of jobs of which no attempt succeeded.
    exhausted: u64,
    /// Results of jobs of which nobody knows whether they were sent.
    ambiguous: u64,
    dead_letters: u64,
    skipped: u64,
    /// Outputs that belong to no open record: twice, or made up.
    unexpected: u64,
    /// Results that say a mail was accepted which has not arrived.
    without_mail: u64,
}

/// Whether it adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every record has met its one fate, and every mail is accounted for.
    #[default]
    Balanced,
    /// So far, and some records are under way.
    UnderWay,
    /// Something was lost, or came twice and was not counted.
    Broken,
}

/// What adds up, or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    #[serde(flatten)]
    totals: Totals,
    /// Records that were submitted and are not in the input yet.
    waiting: u64,
    /// Records in the input that have not met their fate.
    open: u64,
    /// Mails that have arrived.
    mails: u64,
    /// Those of them that came after another one of the same `Message-ID`.
    copies: u64,
    /// Attempts that followed one with an unknown end, as the ledgers report.
    resent: u64,
    verdict: Verdict,
}

impl Books {
    /// Reads what is new.
    pub(super) fn read(&mut self, broker: &Broker, topics: &Topics, mailbox: &Mailbox) {
        for record in self.news(broker, &topics.jobs) {
            self.begin(&record);
        }
        for record in self.news(broker, &topics.results) {
            self.result(&record, mailbox);
        }
        for record in self.news(broker, &topics.dead_letters) {
            self.dead_letter(&record);
        }
    }

    /// The records of a topic that were not read yet.
    fn news(&mut self, broker: &Broker, topic: &Topic) -> Vec<ConsumerRecord> {
        let mut has_news = false;
        let mut from = BTreeMap::new();
        for partition in broker.partitions(topic) {
            let end = broker.last_stable_offset(&partition).unwrap_or_default();
            let next = self.next.insert(partition.clone(), end).unwrap_or_default();
            has_news |= next < end;
            from.insert(partition.partition, next);
        }
        if !has_news {
            return Vec::new();
        }
        let mut records = broker.records(topic, Isolation::ReadCommitted);
        records.retain(|record| from[&record.partition.partition] <= record.offset);
        records
    }

    fn begin(&mut self, record: &ConsumerRecord) {
        self.totals.records += 1;
        let place = (record.partition.partition, record.offset);
        let expected = expected(record);
        if let Expected::Result(id) = &expected {
            self.jobs.entry(id.clone()).or_default().insert(place);
        }
        self.open.insert(place, expected);
    }

    fn result(&mut self, record: &ConsumerRecord, mailbox: &Mailbox) {
        let header = |name| {
            let value = record.headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
            value.unwrap_or_default()
        };
        match header("job-outcome") {
            "accepted" => self.totals.accepted += 1,
            "duplicate" => self.totals.duplicates += 1,
            "rejected" => self.totals.rejected += 1,
            "exhausted" => self.totals.exhausted += 1,
            "ambiguous" => self.totals.ambiguous += 1,
            _ => self.totals.unexpected += 1,
        }
        let message_id = header("job-message-id").trim_matches(['<', '>']);
        self.totals.without_mail += u64::from(!message_id.is_empty() && !mailbox.has(message_id));
        let id = job_id(record.value.as_deref()).unwrap_or_default();
        let place = self.jobs.get(&id).and_then(BTreeSet::first).copied();
        self.close(place);
    }

    fn dead_letter(&mut self, record: &ConsumerRecord) {
        self.totals.dead_letters += 1;
        let number =
            |name| std::str::from_utf8(record.headers.get(name)?).ok()?.parse::<i64>().ok();
        let place = || {
            let partition = number("dead-letter-partition")?;
            Some((i32::try_from(partition).ok()?, number("dead-letter-offset")?))
        };
        self.close(place());
    }

    /// The record of that place has met its fate.
    fn close(&mut self, place: Option<Place>) {
        let Some((place, expected)) = place.and_then(|place| self.open.remove_entry(&place)) else {
            self.totals.unexpected += 1;
            return;
        };
        if let Expected::Result(id) = expected
            && let Some(places) = self.jobs.get_mut(&id)
        {
            places.remove(&place);
            if places.is_empty() {
                self.jobs.remove(&id);
            }
        }
    }

    /// Closes what needs no output and is committed, and lets records go that were read: all but
    /// the last `kept` of each partition, and of the input none that is not finished.
    pub(super) fn let_go(&mut self, broker: &Broker, input: &Topic, group: &str, kept: i64) {
        let committed = broker.committed(group);
        for (partition, next) in &self.next {
            let finished = match committed.get(partition) {
                Some(committed) => committed.offset,
                None if partition.topic == *input => 0,
                None => *next,
            };
            broker.truncate(partition, finished.min(next - kept));
        }
        let is_finished = |(partition, offset): &Place| {
            let mut positions = committed.iter().filter(|(it, _)| it.partition == *partition);
            positions.any(|(_, committed)| {
                committed.position().is_ok_and(|position| position.is_finished(*offset))
            })
        };
        let before = self.open.len();
        self.open.retain(|place, expected| *expected != Expected::Nothing || !is_finished(place));
        self.totals.skipped += (before - self.open.len()) as u64;
    }

    /// What adds up; `caught_up` says that the group has finished every record of the input.
    pub(super) fn account(
        &self,
        mailbox: &Mailbox,
        waiting: u64,
        resent: u64,
        caught_up: bool,
    ) -> Account {
        let totals = self.totals;
        let (open, copies) = (self.open.len() as u64, mailbox.copies());
        let is_lost = caught_up && open > 0;
        let verdict = match open + waiting {
            _ if totals.unexpected + totals.without_mail > 0 => Verdict::Broken,
            _ if is_lost || copies > resent => Verdict::Broken,
            0 => Verdict::Balanced,
            _ => Verdict::UnderWay,
        };
        Account { totals, waiting, open, mails: mailbox.count(), copies, resent, verdict }
    }
}

impl Account {
    /// Whether it adds up.
    pub(crate) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Records that were submitted.
    pub(crate) const fn records(&self) -> u64 {
        self.totals.records + self.waiting
    }

    /// Records that have not met their fate, those that are not in the input yet included.
    pub(crate) const fn unfinished(&self) -> u64 {
        self.open + self.waiting
    }
}

/// What is to come out for a record, by the contract of the topics.
fn expected(record: &ConsumerRecord) -> Expected {
    match JobCodec.decode(record.value.as_ref()) {
        Err(_) => Expected::DeadLetter,
        Ok(job) if job.is_runnable() && job.is_email() => {
            Expected::Result(job_id(record.value.as_deref()).unwrap_or_default())
        }
        Ok(_) => Expected::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use jobstream::record::ProducerRecord;
    use jobstream_testkit::smtp::SmtpServer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const GROUP: &str = "group";

    /// Topics with one job in the first, and what writes as a service would.
    struct Scene {
        broker: Broker,
        topics: Topics,
        books: Books,
        mailbox: Mailbox,
    }

    impl Scene {
        fn new() -> Self {
            let (broker, topics) = (Broker::new(), Topics::default());
            for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
                broker.create_topic(topic.clone(), 1);
            }
            let scene =
                Self { broker, topics, books: Books::default(), mailbox: Mailbox::default() };
            scene.produce(&scene.topics.jobs, r#"{"Id":"a","Status":2}"#, &[]);
            scene
        }

        fn produce(
            &self,
            topic: &Topic,
            value: &'static str,
            headers: &[(&'static str, &'static str)],
        ) {
            let mut record = ProducerRecord::to(topic.clone()).value(value);
            headers.iter().for_each(|(name, value)| record.headers.set(*name, *value));
            self.broker.produce(record).unwrap();
        }

        fn result(&self, headers: &[(&'static str, &'static str)]) {
            self.produce(&self.topics.results, r#"{"Id":"a","Status":5}"#, headers);
        }

        fn commit(&self, offset: i64) {
            let partition = TopicPartition::new(self.topics.jobs.clone(), 0);
            self.broker.alter_committed(GROUP, &partition, offset, "");
        }

        fn account(&mut self, resent: u64) -> Account {
            self.books.read(&self.broker, &self.topics, &self.mailbox);
            self.books.let_go(&self.broker, &self.topics.jobs, GROUP, 1);
            let caught_up = self.broker.has_caught_up(GROUP, &self.topics.jobs);
            self.books.account(&self.mailbox, 0, resent, caught_up)
        }
    }

    #[test]
    fn a_job_is_under_way_until_its_result_and_then_it_adds_up() {
        let mut scene = Scene::new();
        assert_eq!(scene.account(0).verdict(), Verdict::UnderWay);
        scene.result(&[("job-outcome", "rejected")]);
        scene.commit(1);
        assert_eq!(scene.account(0).verdict(), Verdict::Balanced);
    }

    #[test]
    fn a_job_that_is_committed_without_a_result_is_lost() {
        let mut scene = Scene::new();
        scene.commit(1);
        assert_eq!(scene.account(0).verdict(), Verdict::Broken);
    }

    #[test]
    fn a_second_result_is_one_too_many() {
        let mut scene = Scene::new();
        scene.result(&[("job-outcome", "rejected")]);
        scene.result(&[("job-outcome", "rejected")]);
        scene.commit(1);
        assert_eq!(scene.account(0).verdict(), Verdict::Broken);
    }

    #[test]
    fn a_dead_letter_belongs_to_the_record_that_it_names() {
        let names = [("dead-letter-partition", "0"), ("dead-letter-offset", "0")];
        for (headers, verdict) in [(&names[..], Verdict::Balanced), (&names[..1], Verdict::Broken)]
        {
            let mut scene = Scene::new();
            scene.produce(&scene.topics.dead_letters, "x", headers);
            scene.commit(1);
            assert_eq!(scene.account(0).verdict(), verdict, "{headers:?}");
        }
    }

    #[test]
    fn a_job_that_is_not_to_be_run_is_finished_by_the_position() {
        let mut scene = Scene::new();
        scene.produce(&scene.topics.jobs, r#"{"Id":"b","Status":4}"#, &[]);
        scene.result(&[("job-outcome", "rejected")]);
        scene.commit(1);
        assert_eq!(scene.account(0).verdict(), Verdict::UnderWay);
        scene.commit(2);
        let account = scene.account(0);
        assert_eq!((account.verdict(), account.totals.skipped), (Verdict::Balanced, 1));
    }

    #[test]
    fn a_result_that_tells_of_a_mail_which_is_not_there_does_not_add_up() {
        let mut scene = Scene::new();
        scene.result(&[("job-outcome", "accepted"), ("job-message-id", "<1@example.com>")]);
        scene.commit(1);
        assert_eq!(scene.account(0).verdict(), Verdict::Broken);
    }

    #[tokio::test]
    async fn a_second_copy_of_a_mail_adds_up_only_if_a_resend_was_told() {
        let mut scene = Scene::new();
        let server = SmtpServer::builder().in_memory().unwrap();
        for _ in 0..2 {
            let mail = "EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n\
                        Message-ID: <1@example.com>\r\n\r\ntext\r\n.\r\nQUIT\r\n";
            let mut stream = server.connect().unwrap();
            stream.write_all(mail.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        scene.mailbox.collect(&server.inbox());
        scene.result(&[("job-outcome", "accepted"), ("job-message-id", "<1@example.com>")]);
        scene.commit(1);
        assert_eq!(scene.account(0).verdict(), Verdict::Broken);
        assert_eq!(scene.account(1).verdict(), Verdict::Balanced);
    }

    #[test]
    fn what_no_group_has_committed_is_not_let_go() {
        let mut scene = Scene::new();
        for _ in 0..10 {
            scene.produce(&scene.topics.jobs, r#"{"Id":"a","Status":2}"#, &[]);
        }
        scene.account(0);
        let partition = TopicPartition::new(scene.topics.jobs.clone(), 0);
        assert_eq!(scene.broker.log_start_offset(&partition), Some(0));
        scene.commit(5);
        scene.account(0);
        assert_eq!(scene.broker.log_start_offset(&partition), Some(5));
    }
}

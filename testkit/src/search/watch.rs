//! What is to be seen of a program from outside: outputs, commits, mails and requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};

use super::account::Account;
use super::jobs::Jobs;
use super::promise::Broken;
use super::receiver::Receiver;
use crate::broker::state::State;
use crate::broker::{Broker, Isolation};
use crate::smtp::{Mail, SmtpServer};

#[derive(Debug)]
pub(super) struct Watch {
    broker: Broker,
    jobs: Arc<Jobs>,
    account: Account,
    input: Topic,
    outputs: Vec<Topic>,
    /// Of each partition of outputs, the first offset that was not looked at.
    next: BTreeMap<TopicPartition, i64>,
    /// Outputs whose transaction was open, in the order in which they came.
    open: Vec<(TopicPartition, i64, Option<String>)>,
    committed: BTreeMap<(Arc<str>, i32), i64>,
    inbox: Option<SmtpServer>,
    receiver: Option<Receiver>,
}

/// What has happened since the last look: lines of the timeline, and what is broken by it.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) lines: Vec<String>,
    pub(super) broken: Option<Broken>,
}

impl News {
    fn judged(&mut self, line: String, judged: Result<(), Broken>) {
        self.lines.push(line);
        if let Err(broken) = judged {
            self.broken.get_or_insert(broken);
        }
    }
}

impl Watch {
    pub(super) fn new(
        broker: Broker,
        (jobs, account): (Arc<Jobs>, Account),
        (input, outputs): (&str, &[String]),
        inbox: Option<SmtpServer>,
        receiver: Option<Receiver>,
    ) -> Self {
        Self {
            broker,
            jobs,
            account,
            input: Topic::from(input),
            outputs: outputs.iter().map(|topic| Topic::from(topic.as_str())).collect(),
            next: BTreeMap::new(),
            open: Vec::new(),
            committed: BTreeMap::new(),
            inbox,
            receiver,
        }
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    pub(super) const fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Looks at all that has changed. What a job has caused is looked at before what was committed.
    pub(super) fn look(&mut self) -> News {
        let mut news = News::default();
        self.look_at_deliveries(&mut news);
        let broker = self.broker.clone();
        let state = broker.lock();
        self.look_at_outputs(&state, &mut news);
        self.look_at_transactions(&state, &mut news);
        self.look_at_commits(&state, &mut news);
        news
    }

    fn look_at_deliveries(&mut self, news: &mut News) {
        let mails = self.inbox.as_ref().map(|server| server.inbox().take()).unwrap_or_default();
        let requests = self.receiver.as_ref().map(Receiver::take).unwrap_or_default();
        let mails = mails.iter().map(|mail| ("mail", text_of(mail)));
        let requests = requests.iter().map(|taking| {
            let body = String::from_utf8_lossy(&taking.body);
            ("request", format!("{}\n{body}", taking.head))
        });
        for (what, text) in mails.chain(requests) {
            let id = self.jobs.id_in_text(&text);
            let line = match id {
                Some(id) => format!("{what} of job {id} accepted"),
                None => format!("{what} of no job accepted"),
            };
            news.judged(line, self.account.delivery(id));
        }
    }

    fn look_at_outputs(&mut self, state: &State, news: &mut News) {
        for topic in &self.outputs {
            let logs = state.topics.get(topic).map(|topic| topic.logs.as_slice());
            for (number, log) in (0..).zip(logs.unwrap_or_default()) {
                let partition = TopicPartition { topic: topic.clone(), partition: number };
                let next = self.next.entry(partition.clone()).or_default();
                let mut found = Vec::new();
                *next =
                    log.read(*next, Isolation::ReadUncommitted, usize::MAX, |offset, stored| {
                        let id =
                            self.jobs.id_of_record(stored.key.as_deref(), stored.value.as_deref());
                        found.push((offset, id.map(str::to_owned)));
                    });
                for (offset, id) in found {
                    let is_open = log.outlives(offset).is_none();
                    let line = line_of(&partition, offset, id.as_deref(), is_open);
                    match is_open {
                        true => {
                            news.lines.push(line);
                            self.open.push((partition.clone(), offset, id));
                        }
                        false => news.judged(line, self.account.output(id.as_deref())),
                    }
                }
            }
        }
    }

    fn look_at_transactions(&mut self, state: &State, news: &mut News) {
        let open = std::mem::take(&mut self.open);
        for (partition, offset, id) in open {
            let outlives = state.log(&partition).map_or(Some(false), |log| log.outlives(offset));
            match outlives {
                None => self.open.push((partition, offset, id)),
                Some(true) => {
                    if let Err(broken) = self.account.output(id.as_deref()) {
                        news.broken.get_or_insert(broken);
                    }
                }
                Some(false) => {
                    let id = id.as_deref().unwrap_or("none");
                    news.lines.push(format!("output of job {id} at {partition}@{offset} aborted"));
                }
            }
        }
    }

    fn look_at_commits(&mut self, state: &State, news: &mut News) {
        for (name, group) in &state.groups {
            let mut committed = group.committed.iter();
            let committed = committed.by_ref().filter(|(of, _)| of.topic == self.input);
            for (partition, offset) in committed {
                let (number, offset) = (partition.partition, offset.offset);
                let before = self.committed.insert((name.clone(), number), offset);
                if before != Some(offset) {
                    let line = format!("COMMITTED {partition} up to {offset} for group {name}");
                    news.judged(line, self.account.committed(name, number, offset));
                }
            }
        }
    }
}

fn line_of(partition: &TopicPartition, offset: i64, id: Option<&str>, is_open: bool) -> String {
    let open = if is_open { ", in a transaction" } else { "" };
    match id {
        Some(id) => format!("output of job {id} at {partition}@{offset}{open}"),
        None => format!("output of no job at {partition}@{offset}{open}"),
    }
}

/// All that a person sees of a mail, and its headers.
fn text_of(mail: &Mail) -> String {
    let text = mail.text().unwrap_or_default();
    let subject = mail.subject().unwrap_or_default();
    let raw = String::from_utf8_lossy(&mail.raw);
    format!("{} {subject}\n{text}\n{raw}", mail.recipients.join(" "))
}

#[cfg(test)]
mod tests {
    use jobstream::record::ProducerRecord;

    use super::super::promise::{COMMITTED_UNDONE, ONCE, Promise};
    use super::*;

    /// A job at `jobs[0]@0`, and who watches what becomes of it.
    fn watched() -> (Broker, Watch) {
        let broker = Broker::new();
        broker.create_topic("jobs", 1);
        broker.create_topic("results", 1);
        broker.produce(ProducerRecord::to("jobs").value("a job")).unwrap();
        let jobs = Arc::new(Jobs::parse("a job", None, None).unwrap());
        let mut account = Account::new(jobs.clone(), Promise::ExactlyOnce, "jobs", true);
        account.produced(0, (0, 0));
        let topics = ("jobs", &["results".to_owned()][..]);
        let watch = Watch::new(broker.clone(), (jobs, account), topics, None, None);
        (broker, watch)
    }

    fn output() -> Vec<ProducerRecord> {
        vec![ProducerRecord::to("results").key("1").value("done")]
    }

    fn commit(broker: &Broker) {
        broker.alter_committed("app", &TopicPartition::new("jobs", 0), 1, "");
    }

    fn part(news: &News) -> Option<&'static str> {
        news.broken.as_ref().map(|broken| broken.part)
    }

    #[tokio::test]
    async fn an_output_counts_once_its_transaction_is_committed() {
        let (broker, mut watch) = watched();
        let producer = broker.transactional_producer("app");
        producer.begin().await.unwrap();
        producer.send(&output()).await.unwrap();
        assert_eq!(watch.look().lines, ["output of job 1 at results[0]@0, in a transaction"]);
        assert!(!watch.account().is_complete());
        producer.commit().await.unwrap();
        commit(&broker);
        let news = watch.look();
        assert_eq!(news.lines, ["COMMITTED jobs[0] up to 1 for group app"]);
        assert_eq!(part(&news), None);
        assert!(watch.account().is_complete() && watch.account().is_committed());
    }

    #[tokio::test]
    async fn a_commit_outside_of_the_transaction_is_one_of_what_is_not_done() {
        let (broker, mut watch) = watched();
        let producer = broker.transactional_producer("app");
        producer.begin().await.unwrap();
        producer.send(&output()).await.unwrap();
        commit(&broker);
        assert_eq!(part(&watch.look()), Some(COMMITTED_UNDONE));
    }

    #[tokio::test]
    async fn an_output_of_an_aborted_transaction_is_none() {
        let (broker, mut watch) = watched();
        let producer = broker.transactional_producer("app");
        for _ in 0..2 {
            producer.begin().await.unwrap();
            producer.send(&output()).await.unwrap();
            watch.look();
            producer.abort().await.unwrap();
            let news = watch.look();
            assert!(news.lines[0].starts_with("output of job 1 at results[0]@"), "{news:?}");
            assert!(news.lines[0].ends_with(" aborted"), "{news:?}");
        }
        broker.produce(output().remove(0)).unwrap();
        assert_eq!(part(&watch.look()), None);
        broker.produce(output().remove(0)).unwrap();
        assert_eq!(part(&watch.look()), Some(ONCE));
    }

    /// An older transaction hides a record from `read_committed` readers only for a while.
    #[tokio::test]
    async fn an_output_behind_an_open_transaction_counts() {
        let (broker, mut watch) = watched();
        let left_open = broker.transactional_producer("former");
        left_open.begin().await.unwrap();
        left_open.send(&[ProducerRecord::to("results").key("x").value("x")]).await.unwrap();
        broker.produce(output().remove(0)).unwrap();
        commit(&broker);
        assert_eq!(part(&watch.look()), None);
        assert!(watch.account().is_complete());
    }
}

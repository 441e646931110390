//! The account of a play: what was asked for, what was done, what was committed; and the judgement.
//!
//! It does no I/O: it is told what happens, in order, and answers what is broken by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::jobs::Jobs;
use super::promise::{Broken, COMMITTED_UNDONE, DONE, ONCE, ORDER, Promise};

/// Where a job's record is: its partition and offset.
pub(super) type Place = (i32, i64);

#[derive(Debug)]
pub(super) struct Account {
    jobs: Arc<Jobs>,
    promise: Promise,
    /// The topic of the jobs.
    topic: String,
    /// Whether each job is to have an output, whatever else is promised.
    wants_outputs: bool,
    /// By number of the job.
    places: BTreeMap<usize, Place>,
    outputs: BTreeMap<String, u64>,
    deliveries: BTreeMap<String, u64>,
    /// Outputs and deliveries that belong to no job.
    strays: u64,
    /// By partition and record key, the highest offset of a job that has an output.
    last: BTreeMap<(i32, String), i64>,
    /// By group and partition.
    committed: BTreeMap<(Arc<str>, i32), i64>,
    progress: u64,
}

impl Account {
    pub(super) fn new(jobs: Arc<Jobs>, promise: Promise, topic: &str, wants_outputs: bool) -> Self {
        Self {
            jobs,
            promise,
            topic: topic.to_owned(),
            wants_outputs: wants_outputs || promise.is_about_outputs(),
            places: BTreeMap::new(),
            outputs: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            strays: 0,
            last: BTreeMap::new(),
            committed: BTreeMap::new(),
            progress: 0,
        }
    }

    /// A job was produced; each once, in order.
    pub(super) fn produced(&mut self, job: usize, place: Place) {
        self.places.insert(job, place);
    }

    /// How many jobs were produced.
    pub(super) fn jobs_produced(&self) -> usize {
        self.places.len()
    }

    /// A `read_committed` reader sees an output, or will once older transactions have ended.
    pub(super) fn output(&mut self, id: Option<&str>) -> Result<(), Broken> {
        let Some(id) = id else {
            self.strays += 1;
            return Ok(());
        };
        let count = self.outputs.entry(id.to_owned()).or_default();
        *count += 1;
        self.progress += u64::from(*count == 1);
        let (count, jobs) = (*count, self.jobs.with_id(id));
        if count > jobs.len() as u64 {
            return match self.promise {
                Promise::ExactlyOnce => Err(self.twice(id, count, "output")),
                _ => Ok(()),
            };
        }
        self.keeps_order(jobs[count as usize - 1])
    }

    /// A mail or a request was accepted.
    pub(super) fn delivery(&mut self, id: Option<&str>) -> Result<(), Broken> {
        let Some(id) = id else {
            self.strays += 1;
            return Ok(());
        };
        let count = self.deliveries.entry(id.to_owned()).or_default();
        *count += 1;
        self.progress += u64::from(*count == 1);
        let count = *count;
        let is_judged = self.promise.is_once() && !self.promise.is_about_outputs();
        if is_judged && count > self.jobs.with_id(id).len() as u64 {
            return Err(self.twice(id, count, self.promise.effect()));
        }
        Ok(())
    }

    fn twice(&self, id: &str, count: u64, effect: &str) -> Broken {
        let expected = self.jobs.with_id(id).len();
        let places = self.jobs.with_id(id).iter().map(|job| self.place(*job));
        let places = places.collect::<Vec<_>>().join(", ");
        let reason = format!("job {id} ({places}) has {count} {effect}s, expected {expected}");
        Broken { part: ONCE, reason }
    }

    /// Whether the first output of a job comes after those of the jobs before it.
    fn keeps_order(&mut self, job: usize) -> Result<(), Broken> {
        let Some((partition, offset)) = self.places.get(&job).copied() else { return Ok(()) };
        let key = &self.jobs.list()[job].key;
        let last = self.last.entry((partition, key.clone())).or_insert(-1);
        if offset > *last {
            *last = offset;
            return Ok(());
        }
        let (later, topic) = (*last, &self.topic);
        let reason = format!(
            "key {key}: {topic}[{partition}]@{later} had its output before \
             {topic}[{partition}]@{offset}"
        );
        Err(Broken { part: ORDER, reason })
    }

    /// A group has committed an offset.
    pub(super) fn committed(
        &mut self,
        group: &Arc<str>,
        partition: i32,
        offset: i64,
    ) -> Result<(), Broken> {
        let before = self.committed.insert((group.clone(), partition), offset);
        self.progress += u64::from(before.is_none_or(|before| before < offset));
        let mut below: BTreeMap<&str, u64> = BTreeMap::new();
        for (job, (partition, at)) in &self.places {
            let committed = self.committed.get(&(group.clone(), *partition));
            if committed.is_some_and(|committed| at < committed) {
                let id = self.jobs.list()[*job].id.as_str();
                let count = below.entry(id).or_default();
                *count += 1;
                if self.done(id) < *count {
                    let (topic, effect) = (&self.topic, self.missing_effect(id));
                    let reason = format!(
                        "group {group} has committed {topic}[{partition}] up to {}, and job {id} \
                         ({}) has no {effect}: a crash at this moment loses it",
                        committed.copied().unwrap_or_default(),
                        self.place(*job)
                    );
                    return Err(Broken { part: COMMITTED_UNDONE, reason });
                }
            }
        }
        Ok(())
    }

    /// How many jobs of an id are done.
    fn done(&self, id: &str) -> u64 {
        let of = |counts: &BTreeMap<String, u64>| counts.get(id).copied().unwrap_or_default();
        let outputs = if self.wants_outputs { of(&self.outputs) } else { u64::MAX };
        match self.promise.is_about_outputs() {
            true => outputs,
            false => outputs.min(of(&self.deliveries)),
        }
    }

    /// What a job of this id is without.
    fn missing_effect(&self, id: &str) -> &'static str {
        let outputs = self.outputs.get(id).copied().unwrap_or_default();
        if self.wants_outputs && outputs < self.jobs.with_id(id).len() as u64 {
            "output"
        } else {
            self.promise.effect()
        }
    }

    /// The jobs that are not done, among those that were produced.
    pub(super) fn undone(&self) -> Vec<usize> {
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        let jobs = self.places.keys().copied();
        let undone = jobs.filter(|job| {
            let id = self.jobs.list()[*job].id.as_str();
            let count = seen.entry(id).or_default();
            *count += 1;
            self.done(id) < *count
        });
        undone.collect()
    }

    /// Whether all jobs were produced and are done.
    pub(super) fn is_complete(&self) -> bool {
        self.places.len() == self.jobs.list().len() && self.undone().is_empty()
    }

    /// Whether a group has committed the last job of each partition.
    pub(super) fn is_committed(&self) -> bool {
        let groups: Vec<_> = self.committed.keys().map(|(group, _)| group.clone()).collect();
        groups.into_iter().any(|group| {
            self.places.values().all(|(partition, at)| {
                let committed = self.committed.get(&(group.clone(), *partition));
                committed.is_some_and(|committed| committed > at)
            })
        })
    }

    /// Grows with each effect that a job had not had, and with each commit that goes on.
    pub(super) const fn progress(&self) -> u64 {
        self.progress
    }

    /// How many effects belong to no job.
    pub(super) const fn strays(&self) -> u64 {
        self.strays
    }

    /// The effects of any kind.
    pub(super) fn effects(&self) -> u64 {
        self.strays + self.outputs.values().sum::<u64>() + self.deliveries.values().sum::<u64>()
    }

    /// Judges a play at whose end nothing happens any more: jobs are lost that no group will read
    /// again.
    pub(super) fn ended(&self) -> Result<(), Broken> {
        let lost = self.undone().into_iter().find(|job| {
            let (partition, at) = self.places[job];
            let passed =
                |((_, of), offset): (&(Arc<str>, i32), &i64)| *of == partition && *offset > at;
            self.committed.iter().any(passed)
        });
        let Some(job) = lost else { return Ok(()) };
        let (id, effect) =
            (&self.jobs.list()[job].id, self.missing_effect(&self.jobs.list()[job].id));
        let reason = format!("job {id} ({}) has no {effect}", self.place(job));
        Err(Broken { part: DONE, reason })
    }

    /// As people read it.
    pub(super) fn place(&self, job: usize) -> String {
        let topic = &self.topic;
        match self.places.get(&job) {
            Some((partition, offset)) => format!("{topic}[{partition}]@{offset}"),
            None => format!("{topic}, not produced yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Reported {
        Output(usize),
        Commit(i64),
    }

    const JOBS: usize = 6;

    fn account(promise: Promise) -> Account {
        let lines: String = (0..JOBS).map(|id| format!("{{\"id\":\"j{id}\"}}\n")).collect();
        let jobs = Jobs::parse(&lines, Some("id".parse().unwrap()), None).unwrap();
        let mut account = Account::new(Arc::new(jobs), promise, "jobs", false);
        (0..JOBS).for_each(|job| account.produced(job, (0, job as i64)));
        account
    }

    fn steps() -> impl Strategy<Value = Vec<Reported>> {
        let step = (any::<bool>(), 0..=JOBS).prop_map(|(commits, number)| match commits {
            true => Reported::Commit(number as i64),
            false => Reported::Output(number % JOBS),
        });
        proptest::collection::vec(step, 0..25)
    }

    /// What is broken first, found by looking at everything that has happened, at each step.
    fn model(steps: &[Reported], once: bool) -> Option<(usize, &'static str)> {
        for (at, step) in steps.iter().enumerate() {
            let outputs = |job: usize| {
                let is_output =
                    |step: &&Reported| matches!(step, Reported::Output(of) if *of == job);
                steps[..=at].iter().filter(is_output).count()
            };
            match step {
                Reported::Output(job) if once && outputs(*job) > 1 => return Some((at, ONCE)),
                Reported::Commit(offset) if (0..*offset).any(|job| outputs(job as usize) == 0) => {
                    return Some((at, COMMITTED_UNDONE));
                }
                _ => {}
            }
        }
        None
    }

    fn judge(promise: Promise, steps: &[Reported]) -> Option<(usize, &'static str)> {
        let mut account = account(promise);
        let group = Arc::from("app");
        steps.iter().enumerate().find_map(|(at, step)| {
            let judged = match step {
                Reported::Output(job) => account.output(Some(&format!("j{job}"))),
                Reported::Commit(offset) => account.committed(&group, 0, *offset),
            };
            judged.err().map(|broken| (at, broken.part))
        })
    }

    proptest! {
        #[test]
        fn a_promise_is_broken_where_the_model_says_so(steps in steps()) {
            prop_assert_eq!(judge(Promise::AtLeastOnce, &steps), model(&steps, false));
            prop_assert_eq!(judge(Promise::ExactlyOnce, &steps), model(&steps, true));
        }

        #[test]
        fn all_is_done_once_each_job_has_an_output(outputs in proptest::collection::vec(0..JOBS, 0..20)) {
            let mut account = account(Promise::AtLeastOnce);
            for job in &outputs {
                account.output(Some(&format!("j{job}"))).unwrap();
            }
            let undone: Vec<_> = (0..JOBS).filter(|job| !outputs.contains(job)).collect();
            prop_assert_eq!(account.is_complete(), undone.is_empty());
            prop_assert_eq!(account.undone(), undone);
        }
    }

    #[test]
    fn outputs_of_one_key_are_in_the_order_of_its_jobs() {
        let text =
            "{\"id\":\"a\",\"of\":\"k\"} {\"id\":\"b\",\"of\":\"k\"} {\"id\":\"c\",\"of\":\"l\"}";
        let key: super::super::jobs::KeyPath = "of".parse().unwrap();
        let jobs = Jobs::parse(text, Some("id".parse().unwrap()), Some(&key)).unwrap();
        let mut account = Account::new(Arc::new(jobs), Promise::AtLeastOnce, "jobs", false);
        (0..3).for_each(|job| account.produced(job, (0, job as i64)));
        account.output(Some("c")).unwrap();
        account.output(Some("b")).unwrap();
        account.output(Some("b")).unwrap();
        let broken = account.output(Some("a")).unwrap_err();
        assert_eq!(broken.reason, "key k: jobs[0]@1 had its output before jobs[0]@0");
    }

    #[test]
    fn a_mail_counts_for_the_promise_of_one_mail_alone() {
        let mut account = account(Promise::AtLeastOnce);
        account.delivery(Some("j0")).unwrap();
        account.delivery(Some("j0")).unwrap();
        let mut account = self::account(Promise::OneMail);
        account.delivery(Some("j0")).unwrap();
        let group = Arc::from("app");
        account.committed(&group, 0, 1).unwrap();
        assert_eq!(account.committed(&group, 0, 2).unwrap_err().part, COMMITTED_UNDONE);
        assert_eq!(account.delivery(Some("j0")).unwrap_err().part, ONCE);
    }
}

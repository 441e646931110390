//! The misfortunes in force, and the judgement which of them strike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::misfortune::{Act, Misfortune, Moment, Occasion, Per};
use super::reply::Reply;

/// Names a misfortune that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MisfortuneId(u64);

/// The misfortunes that are in force. Clones are handles to the same list. Changes hold from the
/// next moment on of every conversation.
#[derive(Clone, Debug)]
pub struct Misfortunes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    /// The number of rules, to pass by the lock where there are none.
    len: AtomicUsize,
    list: Mutex<List>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct List {
    pushed: u64,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: MisfortuneId,
    misfortune: Misfortune,
    occurrences: u64,
    struck: u64,
}

/// What a moment looks like to the misfortunes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) moment: Moment,
    pub(super) connection: u64,
    pub(super) message: Option<u64>,
    pub(super) sender: Option<&'a str>,
    pub(super) recipients: &'a [String],
    /// Whether it was sent behind the final dot of another mail, before its answer.
    pub(super) behind_dot: bool,
}

/// The occurrences that a conversation counts itself: per connection and per mail.
#[derive(Debug, Default)]
pub(super) struct Tally {
    connection: BTreeMap<MisfortuneId, u64>,
    mail: BTreeMap<MisfortuneId, u64>,
}

impl Tally {
    pub(super) fn begin_mail(&mut self) {
        self.mail.clear();
    }
}

/// How the conversation ends, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    DisconnectBefore,
    DisconnectAfter,
    AcceptThenDisconnect,
    Stall,
    AcceptThenStall,
    Ignore,
}

/// All that strikes at one moment.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) reply: Option<Reply>,
    pub(super) delay: Duration,
    pub(super) split: bool,
    pub(super) ending: Option<Ending>,
}

impl Misfortunes {
    pub(super) fn new(seed: u64, misfortunes: Vec<Misfortune>) -> Self {
        let (len, list, changed) = Default::default();
        let this = Self { shared: Arc::new(Shared { seed, len, list, changed }) };
        for misfortune in misfortunes {
            this.push(misfortune);
        }
        this
    }

    /// Adds a misfortune after those that are there.
    pub fn push(&self, misfortune: Misfortune) -> MisfortuneId {
        let mut list = self.list();
        list.pushed += 1;
        let id = MisfortuneId(list.pushed);
        list.rules.push(Rule { id, misfortune, occurrences: 0, struck: 0 });
        self.publish(&list);
        id
    }

    /// Takes a misfortune out again and says how often it had struck; `None` where it is not there.
    pub fn remove(&self, id: MisfortuneId) -> Option<u64> {
        let mut list = self.list();
        let at = list.rules.iter().position(|rule| rule.id == id)?;
        let rule = list.rules.remove(at);
        self.publish(&list);
        Some(rule.struck)
    }

    /// Takes all of them out. A conversation that stalls goes on stalling.
    pub fn clear(&self) {
        let mut list = self.list();
        list.rules.clear();
        self.publish(&list);
    }

    /// The misfortunes in force, in the order in which they were pushed.
    #[must_use]
    pub fn in_force(&self) -> Vec<Misfortune> {
        self.list().rules.iter().map(|rule| rule.misfortune.clone()).collect()
    }

    /// How often this one has struck; 0 where it is not there.
    #[must_use]
    pub fn struck(&self, id: MisfortuneId) -> u64 {
        self.list().rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.struck)
    }

    /// The misfortunes in force, and how often each has struck.
    #[must_use]
    pub fn strikes(&self) -> Vec<(Misfortune, u64)> {
        self.list().rules.iter().map(|rule| (rule.misfortune.clone(), rule.struck)).collect()
    }

    /// Judges a moment, and counts it.
    pub(super) fn judge(&self, scene: &Scene<'_>, tally: &mut Tally) -> Verdict {
        let mut verdict = Verdict::default();
        if self.is_empty() {
            return verdict;
        }
        for rule in &mut self.list().rules {
            let moment = rule.misfortune.occasion.moment;
            if moment.covers(scene.moment) && rule.strikes(scene, tally, self.shared.seed) {
                verdict.add(&rule.misfortune.act);
            }
        }
        verdict
    }

    /// Judges the text that is about to come: the first misfortune in it, and after how many
    /// octets.
    pub(super) fn judge_body(
        &self,
        scene: &Scene<'_>,
        tally: &mut Tally,
    ) -> Option<(u64, Verdict)> {
        if self.is_empty() {
            return None;
        }
        let mut first: Option<(u64, Verdict)> = None;
        for rule in &mut self.list().rules {
            let Moment::Body { octets } = rule.misfortune.occasion.moment else { continue };
            if !rule.strikes(scene, tally, self.shared.seed) {
                continue;
            }
            let (at, verdict) = first.get_or_insert_with(|| (octets, Verdict::default()));
            if octets < *at {
                (*at, *verdict) = (octets, Verdict::default());
            }
            if octets == *at {
                verdict.add(&rule.misfortune.act);
            }
        }
        first
    }

    /// After how long without a command the next misfortune of idleness is due, leaving out those
    /// up to `judged`.
    pub(super) fn idle_limit(&self, judged: Option<Duration>) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let list = self.list();
        let limits = list.rules.iter().filter_map(|rule| match rule.misfortune.occasion.moment {
            Moment::Idle { after } if judged.is_none_or(|judged| after > judged) => Some(after),
            _ => None,
        });
        limits.min()
    }

    /// Notifies of changes of the list.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.len.load(Ordering::Acquire) == 0
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.shared.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, list: &List) {
        self.shared.len.store(list.rules.len(), Ordering::Release);
        self.shared.changed.send_modify(|version| *version += 1);
    }
}

impl Rule {
    fn strikes(&mut self, scene: &Scene<'_>, tally: &mut Tally, seed: u64) -> bool {
        let occasion = &self.misfortune.occasion;
        if !occasion.fits(scene) {
            return false;
        }
        self.occurrences += 1;
        let count = match occasion.per {
            Per::Server => self.occurrences,
            Per::Connection => bump(&mut tally.connection, self.id),
            Per::Mail => bump(&mut tally.mail, self.id),
        };
        let strikes = occasion.nth.is_none_or(|nth| nth == count)
            && occasion.every.is_none_or(|every| count % every == 0)
            && occasion.after.is_none_or(|after| count > after)
            && occasion.probability.is_none_or(|p| draw(seed, self.id.0, self.occurrences) < p)
            && occasion.times.is_none_or(|times| self.struck < times);
        self.struck += u64::from(strikes);
        strikes
    }
}

impl Occasion {
    fn fits(&self, scene: &Scene<'_>) -> bool {
        let to =
            |pattern: &String| scene.recipients.iter().any(|address| matches(pattern, address));
        let from = |pattern: &String| scene.sender.is_some_and(|address| matches(pattern, address));
        self.recipient.as_ref().is_none_or(to)
            && self.sender.as_ref().is_none_or(from)
            && (scene.behind_dot || !self.behind_dot)
            && self.connection.is_none_or(|number| number == scene.connection)
            && self.message.is_none_or(|number| Some(number) == scene.message)
    }
}

impl Verdict {
    /// Whether anything strikes at all.
    pub(super) fn is_struck(&self) -> bool {
        self.reply.is_some() || self.ending.is_some() || self.split || self.delay > Duration::ZERO
    }

    /// The scripted reply instead of the true one, where both say yes.
    pub(super) fn replace(&self, reply: Reply) -> Reply {
        let scripted = self.reply.clone().filter(Reply::is_positive);
        scripted.filter(|_| reply.is_positive()).unwrap_or(reply)
    }

    fn add(&mut self, act: &Act) {
        let ending = match act {
            Act::Reply { code, text } => {
                self.reply.get_or_insert_with(|| Reply::plain(*code, text.clone()));
                return;
            }
            Act::Delay(delay) => {
                self.delay = self.delay.saturating_add(*delay);
                return;
            }
            Act::SplitReply => {
                self.split = true;
                return;
            }
            Act::DisconnectBefore => Ending::DisconnectBefore,
            Act::DisconnectAfter => Ending::DisconnectAfter,
            Act::AcceptThenDisconnect => Ending::AcceptThenDisconnect,
            Act::Stall => Ending::Stall,
            Act::AcceptThenStall => Ending::AcceptThenStall,
            Act::Ignore => Ending::Ignore,
        };
        self.ending.get_or_insert(ending);
    }
}

fn matches(pattern: &str, address: &str) -> bool {
    let tail = match pattern.starts_with('@') {
        true => address.len().checked_sub(pattern.len()).and_then(|at| address.get(at..)),
        false => Some(address),
    };
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(pattern))
}

fn bump(counts: &mut BTreeMap<MisfortuneId, u64>, id: MisfortuneId) -> u64 {
    let count = counts.entry(id).or_default();
    *count += 1;
    *count
}

/// A number in 0.0..1.0 that depends on its arguments only.
fn draw(seed: u64, rule: u64, occurrence: u64) -> f64 {
    let bits = mix(mix(mix(seed) ^ rule) ^ occurrence) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

/// The finalizer of SplitMix64.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(moment: Moment) -> Scene<'static> {
        Scene {
            moment,
            connection: 1,
            message: Some(1),
            sender: Some("me@a.example"),
            recipients: &[],
            behind_dot: false,
        }
    }

    fn strikes(misfortunes: &Misfortunes, scene: &Scene<'_>) -> bool {
        misfortunes.judge(scene, &mut Tally::default()).ending.is_some()
    }

    #[test]
    fn chance_is_a_function_of_the_seed_and_near_its_probability() {
        let run = |seed| {
            let rule = Misfortune::at(Moment::Dot).probability(0.25).then(Act::Stall);
            let misfortunes = Misfortunes::new(seed, vec![rule]);
            (0..4_000).map(|_| strikes(&misfortunes, &scene(Moment::Dot))).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let struck = run(7).into_iter().filter(|struck| *struck).count();
        assert!((900..1_100).contains(&struck), "{struck} of 4,000 instead of about 1,000");
    }

    #[test]
    fn an_address_is_matched_whole_or_by_its_domain() {
        assert!(matches("A@b.example", "a@B.example"));
        assert!(matches("@b.example", "a@B.EXAMPLE"));
        assert!(!matches("@b.example", "a@xb.example"));
        assert!(!matches("b.example", "a@b.example"));
        assert!(matches("", ""));
        assert!(!matches("", "a@b.example"));
        assert!(!matches("@bücher", "ü"));
    }

    #[test]
    fn counts_begin_anew_with_each_mail_where_asked() {
        let rule = Misfortune::at(Moment::Rcpt).every(2).per(Per::Mail).then(Act::Stall);
        let misfortunes = Misfortunes::new(0, vec![rule]);
        let mut tally = Tally::default();
        let judge =
            |tally: &mut Tally| misfortunes.judge(&scene(Moment::Rcpt), tally).ending.is_some();
        let first: Vec<_> = (0..3).map(|_| judge(&mut tally)).collect();
        tally.begin_mail();
        let second: Vec<_> = (0..3).map(|_| judge(&mut tally)).collect();
        assert_eq!((first, second), (vec![false, true, false], vec![false, true, false]));
    }

    #[test]
    fn a_limit_of_a_connection_strikes_after_it() {
        let rule = Misfortune::at(Moment::Data).after(2).per(Per::Connection).then(Act::Stall);
        let misfortunes = Misfortunes::new(0, vec![rule]);
        for _ in 0..2 {
            let mut tally = Tally::default();
            let judge = |_| misfortunes.judge(&scene(Moment::Data), &mut tally).ending.is_some();
            let struck: Vec<_> = (0..4).map(judge).collect();
            assert_eq!(struck, [false, false, true, true]);
        }
        assert_eq!(misfortunes.strikes()[0].1, 4);
    }

    #[test]
    fn it_strikes_no_more_often_than_it_may() {
        let misfortunes = Misfortunes::new(0, vec![]);
        let id = misfortunes.push(Misfortune::at(Moment::Any).times(2).then(Act::Stall));
        let struck: Vec<_> = (0..4).map(|_| strikes(&misfortunes, &scene(Moment::Noop))).collect();
        assert_eq!(struck, [true, true, false, false]);
        assert_eq!(misfortunes.struck(id), 2);
        assert_eq!(misfortunes.remove(id), Some(2));
        assert_eq!(misfortunes.in_force(), []);
    }
}

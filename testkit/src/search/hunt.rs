//! The search: one schedule after another, until one breaks the promise.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::draw::Scene;
use super::play::{Played, play};
use super::program::Program;
use super::promise::{Unusable, Verdict};
use super::schedule::Schedule;
use super::shrink::{Plays, Shrinking, Shrunk, Theatre};
use super::timeline::Timeline;

/// A search ends after so many schedules that have broken the promise less often than asked for, or
/// under which the program could not be judged as often as that; the first of them is reported.
const DOUBTS_MAX: u32 = 5;

/// A search for a schedule that breaks what a program promises.
#[derive(Clone, Debug)]
pub struct Search {
    /// The program.
    pub program: Program,
    /// How many schedules are tried.
    pub schedules: u64,
    /// The seed of the first one; the next ones have the next numbers.
    pub seed: u64,
    /// How often a smaller schedule must break the promise to be kept.
    pub plays: Plays,
    /// How many plays run at once.
    pub parallel: usize,
}

/// What a search has found.
#[derive(Debug)]
pub enum Outcome {
    /// No schedule broke the promise.
    NotBroken(Report),
    /// One did, or the program can't be judged.
    Found(Box<Finding>),
}

/// The figures of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Plays, those without faults too.
    pub plays: u64,
    /// Plays without faults.
    pub calm: u64,
    /// By the clock.
    pub took: Duration,
    /// The sum of all plays.
    pub played: Duration,
    /// Plays in which the program could not be judged, and could be when they were played again: it
    /// may have hung for the machine's reasons.
    pub unjudged: u64,
    /// Outputs, mails and requests that belong to no job.
    pub strays: u64,
}

/// A schedule that breaks the promise, made as small as possible.
#[derive(Debug)]
pub struct Finding {
    /// What is broken, or why the program can't be judged.
    pub verdict: Verdict,
    /// How many schedules were played until it was found.
    pub after: u64,
    /// The smallest schedule.
    pub schedule: Schedule,
    /// In how many plays the smallest schedule has shown it.
    pub broken: usize,
    /// Of how many.
    pub of: usize,
    /// What happened in one of them.
    pub timeline: Timeline,
    play: Played,
}

impl Finding {
    fn of(after: u64, Shrunk { schedule, broken, of, play }: Shrunk<Played>) -> Box<Self> {
        let (verdict, timeline) = (play.verdict.clone(), play.timeline.clone());
        Box::new(Self { verdict, after, schedule, broken, of, timeline, play })
    }

    /// Writes the schedule, the timeline and the program's logs into a folder, as `schedule`,
    /// `timeline` and `member-N.log`. The folder is made if it is not there.
    ///
    /// # Errors
    /// If the folder can't be made, or a file not written.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("schedule"), self.schedule.to_string())?;
        std::fs::write(folder.join("timeline"), self.to_string())?;
        for entry in std::fs::read_dir(self.play.folder.path())? {
            let entry = entry?;
            std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Whether the program could not even be started.
    pub const fn is_mistaken(&self) -> bool {
        matches!(self.verdict, Verdict::Unusable(Unusable::Start(_)))
    }
}

#[async_trait]
impl Theatre for Program {
    type Play = Played;

    async fn play(&self, schedule: &Schedule) -> io::Result<Played> {
        play(self, schedule).await
    }

    fn verdict(play: &Played) -> &Verdict {
        &play.verdict
    }
}

impl Search {
    /// Plays the program without faults, and then under the schedules of the seeds. `shown` is called
    /// after each play, with the number of plays and with what the last one has shown. Dropping the
    /// future ends every process that was started.
    ///
    /// # Errors
    /// If no socket, file or process can be had.
    pub async fn run(&self, shown: impl Fn(u64, &Verdict) + Send + Sync) -> io::Result<Outcome> {
        let began = Instant::now();
        let mut report = Report::default();
        let calm = Schedule { seed: self.seed, ..Schedule::default() };
        let played = play(&self.program, &calm).await?;
        report.add(&played, &calm);
        shown(report.plays, &played.verdict);
        if played.verdict != Verdict::Kept {
            let candidate = Candidate { after: report.plays, schedule: calm, play: played };
            return self.found(candidate).await;
        }
        let scene = Scene::of(&played.counts, played.is_committed);
        let mut seeds = self.seed..self.seed.saturating_add(self.schedules);
        let (mut doubtful, mut doubts) = (None::<Candidate>, 0);
        while let Some((schedule, play)) =
            self.next(&scene, seeds.clone(), &mut report, &shown).await?
        {
            seeds.start = schedule.seed.saturating_add(1);
            let candidate = Candidate { after: report.plays, schedule, play };
            match (candidate.is_broken(), self.shrinking().is_shown_again(&candidate).await?) {
                (true, true) => return self.found(candidate).await,
                (false, false) => {
                    report.unjudged += 1;
                    continue;
                }
                (true, false) | (false, true) => doubts += 1,
            }
            if doubtful.as_ref().is_none_or(|first| candidate.is_broken() && !first.is_broken()) {
                doubtful = Some(candidate);
            }
            if doubts == DOUBTS_MAX {
                break;
            }
        }
        if let Some(candidate) = doubtful {
            return self.found(candidate).await;
        }
        report.took = began.elapsed();
        Ok(Outcome::NotBroken(report))
    }

    /// Plays the schedules of these seeds, until one does not keep the promise.
    async fn next(
        &self,
        scene: &Scene,
        seeds: Range<u64>,
        report: &mut Report,
        shown: &(impl Fn(u64, &Verdict) + Send + Sync),
    ) -> io::Result<Option<(Schedule, Played)>> {
        let plays = seeds.map(|seed| {
            let schedule = scene.draw(seed);
            async move { (play(&self.program, &schedule).await, schedule) }
        });
        let mut plays = stream::iter(plays).buffered(self.parallel.max(1));
        while let Some((played, schedule)) = plays.next().await {
            let played = played?;
            report.add(&played, &schedule);
            shown(report.plays, &played.verdict);
            if played.verdict != Verdict::Kept {
                return Ok(Some((schedule, played)));
            }
        }
        Ok(None)
    }

    fn shrinking(&self) -> Shrinking<'_, Program> {
        Shrinking::new(&self.program, self.plays, self.parallel.max(1))
    }

    /// Plays one schedule as often as asked for, or until it has broken the promise.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn replay(
        &self,
        schedule: &Schedule,
        shown: impl Fn(u64, &Verdict) + Send + Sync,
    ) -> io::Result<Outcome> {
        let began = Instant::now();
        let mut report = Report::default();
        let mut found = None;
        let plays = (0..self.plays.of.max(1)).map(|_| play(&self.program, schedule));
        let mut plays = stream::iter(plays).buffered(self.parallel.max(1));
        let mut broken = 0;
        while let Some(played) = plays.next().await {
            let played = played?;
            report.add(&played, schedule);
            shown(report.plays, &played.verdict);
            if played.verdict != Verdict::Kept {
                broken += 1;
                found.get_or_insert(played);
            }
        }
        report.took = began.elapsed();
        let Some(play) = found else { return Ok(Outcome::NotBroken(report)) };
        let of = self.plays.of.max(1);
        let shrunk = Shrunk { schedule: schedule.clone(), broken, of, play };
        Ok(Outcome::Found(Finding::of(1, shrunk)))
    }

    async fn found(&self, candidate: Candidate) -> io::Result<Outcome> {
        let Candidate { after, schedule, play } = candidate;
        let shrunk = match play.verdict {
            // There is nothing to leave out, and its reasons do not change.
            Verdict::Unusable(_) if schedule.faults.is_empty() => {
                Shrunk { schedule, broken: 1, of: 1, play }
            }
            Verdict::Unusable(Unusable::Start(_)) => Shrunk { schedule, broken: 1, of: 1, play },
            _ => self.shrinking().shrink(schedule, play).await?,
        };
        Ok(Outcome::Found(Finding::of(after, shrunk)))
    }
}

/// A schedule that has not kept the promise once.
struct Candidate {
    after: u64,
    schedule: Schedule,
    play: Played,
}

impl Candidate {
    const fn is_broken(&self) -> bool {
        matches!(self.play.verdict, Verdict::Broken(_))
    }
}

impl Shrinking<'_, Program> {
    async fn is_shown_again(&mut self, candidate: &Candidate) -> io::Result<bool> {
        let name = candidate.play.verdict.name().unwrap_or_default();
        self.shows(&candidate.schedule, name).await
    }
}

impl Report {
    fn add(&mut self, played: &Played, schedule: &Schedule) {
        self.plays += 1;
        self.calm += u64::from(schedule.faults.is_empty());
        self.played += played.took;
        self.strays += played.strays;
    }
}

/// The figures, in a line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plays, calm, took, played, unjudged, strays } = self;
        let each = played.as_secs_f64() / (*plays).max(1) as f64;
        let took = took.as_secs_f64();
        write!(f, "not broken in {plays} plays, {calm} of them without faults; ")?;
        write!(f, "{took:.1} s, a play takes {each:.2} s")?;
        if *unjudged > 0 {
            write!(f, "; {unjudged} could not be judged, and could when they were played again")?;
        }
        match strays {
            0 => Ok(()),
            strays => write!(f, "; {strays} outputs belong to no job"),
        }
    }
}

/// For people: what is broken, by which schedule, and the timeline.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, after, schedule, broken, of, timeline, .. } = self;
        writeln!(f, "{verdict}\n\n{timeline}\n{verdict}\n")?;
        let what = match verdict {
            Verdict::Unusable(unusable) => format!("the program {}", unusable.what()),
            Verdict::Broken(_) | Verdict::Kept => "broken".to_owned(),
        };
        let how = match schedule.faults.is_empty() {
            true => format!("{what} without any fault"),
            false => "the smallest schedule shows it".to_owned(),
        };
        write!(f, "found in play {after}; {how} in {broken} of {of} plays:\n{schedule}")
    }
}

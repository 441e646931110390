//! `broker search`: breaks a Kafka consumer, in any language.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use jobstream_testkit::search::{
    Finding, Jobs, KeyPath, Outcome, Plays, Program, Promise, Schedule, Search, Verdict,
};
use tokio::io::{AsyncWriteExt as _, stderr, stdout};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, topic_name, whole};

const WRONG_USAGE: u8 = 2;
/// More jobs than this are warned of.
const JOBS_USUAL_MAX: usize = 1_000;

/// Search for a schedule of faults under which a Kafka consumer breaks its promise.
///
/// COMMAND is started with KAFKA_BROKERS, reads jobs from the topic of --in, and writes to that of
/// --out. Ends with 0 if the promise was not broken, with 1 if it was, or if the program hangs, floods
/// or ends by itself, and with 2 on wrong usage.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The jobs: JSON values one after another, or one line of text each.
    #[arg(long, value_name = "FILE")]
    jobs: PathBuf,
    /// The topic of the jobs.
    #[arg(long = "in", value_name = "TOPIC", value_parser = topic_name)]
    input: String,
    /// A topic of outputs; may be repeated.
    #[arg(long = "out", value_name = "TOPIC", value_parser = topic_name, required_if_eq_any([
        ("promise", "at-least-once"),
        ("promise", "exactly-once"),
    ]))]
    output: Vec<String>,
    /// What the program promises.
    #[arg(long)]
    promise: Promised,
    /// What identifies a job, in JSON of input and output: a JSON pointer, or the name of a field. It
    /// is the key of the job's record. Without it a job is identified by that key, a number, or by its
    /// whole value.
    #[arg(long, value_name = "PATH")]
    key: Option<KeyPath>,
    /// What the jobs' records have as key instead, and in whose order outputs are to be.
    #[arg(long, value_name = "PATH", requires = "key")]
    record_key: Option<KeyPath>,
    /// How many schedules of faults are tried, after one play without faults.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    schedules: u64,
    /// The seed of the first schedule; the next ones have the next numbers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Play the schedule of a file, as often as --plays says, instead of searching for one.
    #[arg(long, value_name = "FILE")]
    play: Option<PathBuf>,
    /// Keep a smaller schedule if it breaks the promise in K plays of N; N alone means all of them.
    #[arg(long, value_name = "[K/]N", default_value = "2/3", value_parser = plays)]
    plays: Plays,
    /// How many plays run at once; as many as there are cores by default.
    #[arg(long, value_name = "N", value_parser = whole(1, 1_000))]
    parallel: Option<usize>,
    /// How many processes of the program run at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1, 100))]
    members: usize,
    /// Pretend so many nodes of the broker, so that leaders and coordinators can move.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = whole(1, 100))]
    nodes: usize,
    /// Partitions of the topics of --in and --out.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    partitions: i32,
    /// Another topic that the program needs; may be repeated. Further ones have one partition.
    #[arg(long, value_name = "NAME:PARTITIONS", value_parser = topic)]
    topic: Vec<(String, i32)>,
    /// After what time a program that is killed or paused is out of its group at most, whatever
    /// session timeout it asks for.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    session_timeout_max: Duration,
    /// How long nothing may be done before the program is said to hang.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    peace: Duration,
    /// Run a mail server beside it: SMTP_SERVER is its host:port, MAIL_SERVER_HOST and
    /// MAIL_SERVER_PORT are the parts. The promise one-mail has it anyway.
    #[arg(long)]
    inbox: bool,
    /// Run an HTTP receiver beside it, which answers 200: HTTP_RECEIVER is its URL. The promise
    /// one-request has it anyway.
    #[arg(long)]
    receiver: bool,
    /// Where to put the schedule, its timeline and the program's logs if the promise is broken.
    #[arg(long, value_name = "DIR", default_value = "broker-search")]
    report: PathBuf,
    /// The program, and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A promise, as an option has it.
#[derive(Clone, Copy, Debug)]
struct Promised(Promise);

impl ValueEnum for Promised {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Promised; 4] = [
            Promised(Promise::AtLeastOnce),
            Promised(Promise::ExactlyOnce),
            Promised(Promise::OneMail),
            Promised(Promise::OneRequest),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self.0 {
            Promise::AtLeastOnce => {
                ("at-least-once", "each job has an output; nothing is committed that has none")
            }
            Promise::ExactlyOnce => {
                ("exactly-once", "the same, and no job has two for a read_committed reader")
            }
            Promise::OneMail => {
                ("one-mail", "each job has one mail; nothing is committed that has none")
            }
            Promise::OneRequest => {
                ("one-request", "each job has one HTTP request; nothing is committed that has none")
            }
        };
        Some(PossibleValue::new(name).help(help))
    }
}

fn plays(text: &str) -> Result<Plays, String> {
    const PLAYS_MAX: usize = 1_000;
    let number = |text: &str| text.parse().ok().filter(|number| (1..=PLAYS_MAX).contains(number));
    let plays = match text.split_once('/') {
        Some((broken, of)) => number(broken).zip(number(of)),
        None => number(text).map(|of| (of, of)),
    };
    let plays = plays.filter(|(broken, of)| broken <= of);
    let (broken, of) =
        plays.ok_or("expected N or K/N, whole numbers from 1 to 1000, K at most N")?;
    Ok(Plays { broken, of })
}

fn topic(text: &str) -> Result<(String, i32), String> {
    let topic = super::NewTopic::parse(text)?;
    Ok((topic.name, topic.partitions))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let product = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_ms));
    let millis = product.filter(|millis| *millis > 0);
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a duration such as 500ms or 2s".into())
}

impl Options {
    /// What is searched, or played; looked at as a whole before the first play.
    fn meant(&self) -> Result<(Search, Option<Schedule>), String> {
        let meant = (self.search()?, self.schedule()?);
        self.check_report()?;
        Ok(meant)
    }

    /// # Errors
    /// With what is wrong with a file that is named, or with options that do not go together.
    fn search(&self) -> Result<Search, String> {
        let named =
            |error: &dyn std::fmt::Display| format!("--jobs {}: {error}", self.jobs.display());
        let text = std::fs::read_to_string(&self.jobs).map_err(|error| named(&error))?;
        let jobs = Jobs::parse(&text, self.key.clone(), self.record_key.as_ref());
        let jobs = jobs.map_err(|error| named(&error))?;
        let Promised(promise) = self.promise;
        if matches!(promise, Promise::OneMail | Promise::OneRequest) && self.key.is_none() {
            return Err(format!(
                "--promise {promise}: found no --key, expected where the id of a job is that its \
                 mail or request contains"
            ));
        }
        if self.output.contains(&self.input) {
            return Err(format!("--out {}: expected another topic than that of --in", self.input));
        }
        let mut others = self.topic.iter().map(|(name, _)| name);
        if let Some(name) = others.find(|name| **name == self.input || self.output.contains(name)) {
            return Err(format!(
                "--topic {name}: expected another topic than those of --in and --out, whose \
                 partitions --partitions says"
            ));
        }
        let input = self.input.as_str();
        let mut program = Program::new(&self.command, jobs, input, &self.output, promise);
        program.partitions = self.partitions;
        program.topics.clone_from(&self.topic);
        program.members = self.members;
        program.nodes = self.nodes;
        program.session_timeout_max = self.session_timeout_max;
        program.peace = self.peace;
        program.inbox |= self.inbox;
        program.receiver |= self.receiver;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let parallel = self.parallel.unwrap_or_else(cores);
        let (schedules, seed, plays) = (self.schedules, self.seed, self.plays);
        Ok(Search { program, schedules, seed, plays, parallel })
    }

    /// # Errors
    /// With what keeps the report from being written.
    fn check_report(&self) -> Result<(), String> {
        let folder = &self.report;
        let named = |error: std::io::Error| format!("--report {}: {error}", folder.display());
        let is_new = !folder.exists();
        std::fs::create_dir_all(folder).map_err(named)?;
        tempfile::tempfile_in(folder).map_err(named)?;
        // It is not left behind where nothing is found.
        if is_new { std::fs::remove_dir(folder).map_err(named) } else { Ok(()) }
    }

    fn schedule(&self) -> Result<Option<Schedule>, String> {
        let Some(file) = &self.play else { return Ok(None) };
        let named = |error: &dyn std::fmt::Display| format!("--play {}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
        let schedule: Schedule = text.parse().map_err(|error| named(&error))?;
        let members = schedule.faults.iter().map(|planned| planned.member);
        match members.max().filter(|member| *member >= self.members) {
            None => Ok(Some(schedule)),
            Some(member) => Err(named(&format!(
                "found a fault at member {member}, expected --members {} or more",
                member.saturating_add(1)
            ))),
        }
    }
}

/// Searches, or plays a schedule. A signal ends it, and with it the processes that were started.
pub(super) async fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (search, schedule) = match options.meant() {
        Ok(meant) => meant,
        Err(mistake) => {
            stderr().write_all(format!("broker search: {mistake}\n").as_bytes()).await?;
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    warn_of_many(search.program.jobs.list().len()).await?;
    let mut signals = Signals::caught()?;
    let searched = async {
        match &schedule {
            Some(schedule) => search.replay(schedule, show).await,
            None => search.run(show).await,
        }
    };
    let outcome = tokio::select! {
        biased;
        code = signals.recv() => return Ok(code),
        outcome = searched => outcome?,
    };
    match outcome {
        Outcome::NotBroken(report) => {
            say(&format!("{}: {report}\n", search.program.promise)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Found(finding) if finding.is_mistaken() => {
            stderr().write_all(format!("broker search: {}\n", finding.verdict).as_bytes()).await?;
            Ok(ExitCode::from(WRONG_USAGE))
        }
        Outcome::Found(finding) => report(options, &finding).await,
    }
}

async fn report(options: &Options, finding: &Finding) -> Result<ExitCode, Failure> {
    let folder = options.report.display();
    finding.save(&options.report).map_err(|error| format!("--report {folder}: {error}"))?;
    say(&format!(
        "{finding}\nschedule, timeline and logs are in {folder}; play it again by\n  broker search \
         --play {folder}/schedule and the other options as before\n"
    ))
    .await?;
    Ok(ExitCode::FAILURE)
}

async fn warn_of_many(jobs: usize) -> std::io::Result<()> {
    if jobs <= JOBS_USUAL_MAX {
        return Ok(());
    }
    let warning = format!(
        "broker search: warning: found {jobs} jobs, and each play does all of them: it may take \
         minutes, and the search has hundreds of plays; 10 to 20 jobs are enough\n"
    );
    stderr().write_all(warning.as_bytes()).await
}

/// The signals that ask a program to end.
struct Signals {
    hung_up: Signal,
    interrupted: Signal,
    terminated: Signal,
}

impl Signals {
    fn caught() -> std::io::Result<Self> {
        Ok(Self {
            hung_up: signal(SignalKind::hangup())?,
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }

    /// The code of a program that a signal has ended, as shells have it, once one has come.
    async fn recv(&mut self) -> ExitCode {
        tokio::select! {
            biased;
            _ = self.hung_up.recv() => ExitCode::from(129),
            _ = self.interrupted.recv() => ExitCode::from(130),
            _ = self.terminated.recv() => ExitCode::from(143),
        }
    }
}

async fn say(text: &str) -> std::io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes()).await?;
    out.flush().await
}

/// A line now and then, so that a person sees that it goes on.
fn show(played: u64, verdict: &Verdict) {
    const EVERY: u64 = 25;
    let line = match verdict.name() {
        Some(name) => format!("play {played}: {name}\n"),
        None if played.is_multiple_of(EVERY) => format!("{played} plays, not broken\n"),
        None => return,
    };
    // Where nobody reads it any more, the search goes on.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

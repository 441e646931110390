//! Counts what becomes of every record, and shows it as a table.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::HumanCount;
use jobstream::sinks::JobErrorKind;
use jobstream::topology::{Event, Fate, Observer};
use mailjob::topology::{SKIPPED_STATUS, SKIPPED_TYPE};
use tokio::sync::watch;

/// The fates so far.
#[derive(Debug)]
pub(crate) struct Fates {
    counts: Mutex<Counts>,
    finished: watch::Sender<u64>,
}

/// How many records met which fate, and what happened on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    rows: BTreeMap<Row, u64>,
    pub(crate) retries: u64,
    pub(crate) suspended: u64,
}

/// A row of the table, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Sent,
    Rejected,
    Exhausted,
    Ambiguous,
    SkippedStatus,
    SkippedType,
    Skipped(&'static str),
    DeadLetter(&'static str),
    Other,
}

impl Row {
    fn of(fate: Fate) -> Self {
        match fate {
            Fate::Succeeded => Self::Sent,
            Fate::Failed(JobErrorKind::Permanent) => Self::Rejected,
            Fate::Failed(JobErrorKind::Ambiguous) => Self::Ambiguous,
            Fate::Failed(_) => Self::Exhausted,
            Fate::Skipped(SKIPPED_STATUS) => Self::SkippedStatus,
            Fate::Skipped(SKIPPED_TYPE) => Self::SkippedType,
            Fate::Skipped(stage) => Self::Skipped(stage),
            Fate::DeadLettered(reason) => Self::DeadLetter(reason),
            _ => Self::Other,
        }
    }

    fn label(self) -> String {
        match self {
            Self::Sent => "sent".into(),
            Self::Rejected => "failed: refused, or cannot be a mail".into(),
            Self::Exhausted => "failed: no attempt succeeded".into(),
            Self::Ambiguous => "failed: nobody knows whether it was sent".into(),
            Self::SkippedStatus => "skipped: unknown, or already ended".into(),
            Self::SkippedType => "skipped: not an e-mail".into(),
            Self::Skipped(stage) => format!("skipped: {stage}"),
            Self::DeadLetter(reason) => format!("dead letter: {reason}"),
            Self::Other => "other".into(),
        }
    }

    fn output(self) -> &'static str {
        match self {
            Self::Sent => "result, Status 4",
            Self::Rejected | Self::Exhausted | Self::Ambiguous => "result, Status 5",
            Self::SkippedStatus | Self::SkippedType | Self::Skipped(_) | Self::Other => "none",
            Self::DeadLetter(_) => "dead letter",
        }
    }

    fn style(self) -> Style {
        let color = match self {
            Self::Sent => AnsiColor::Green,
            Self::Rejected | Self::Exhausted | Self::Ambiguous => AnsiColor::Red,
            Self::SkippedStatus | Self::SkippedType | Self::Skipped(_) => AnsiColor::BrightBlack,
            Self::DeadLetter(_) | Self::Other => AnsiColor::Yellow,
        };
        color.on_default()
    }
}

impl Fates {
    pub(crate) fn new() -> Self {
        Self { counts: Mutex::default(), finished: watch::Sender::new(0) }
    }

    /// How many records have met their fate; changes can be awaited.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Fates {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Finished { fate, .. } => {
                *self.lock().rows.entry(Row::of(*fate)).or_default() += 1;
                self.finished.send_modify(|finished| *finished += 1);
            }
            Event::Retried { .. } => self.lock().retries += 1,
            Event::Suspended { .. } => self.lock().suspended += 1,
            _ => {}
        }
    }
}

impl Counts {
    /// How many records have met their fate.
    pub(crate) fn total(&self) -> u64 {
        self.rows.values().sum()
    }

    /// The table, in colours that a terminal shows and anything else strips.
    pub(crate) fn table(&self) -> String {
        let bold = Style::new().bold();
        let mut table = format!("{bold}{:<44}{:>9}  {}{bold:#}\n", "fate", "records", "output");
        for (row, count) in &self.rows {
            let style = row.style();
            let (label, count, output) = (row.label(), human(*count), row.output());
            table.push_str(&format!("{style}{label:<44}{count:>9}  {output}{style:#}\n"));
        }
        table.push_str(&format!("{bold}{:<44}{:>9}{bold:#}\n", "all", human(self.total())));
        table
    }
}

/// With its thousands set apart.
fn human(count: u64) -> String {
    HumanCount(count).to_string()
}

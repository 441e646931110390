//! What happened in a play, in order.

use std::fmt;
use std::time::Duration;

/// Lines that are kept; a program that floods the broker is known by then.
const LINES_MAX: usize = 20_000;

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A member, in one of its lives, which are counted from 1.
    Member { number: usize, life: u32 },
    /// The broker, or what is around.
    World,
}

#[derive(Clone, Debug)]
struct Line {
    at: Duration,
    request: u64,
    who: Who,
    what: String,
}

/// What happened in a play; a line for each thing, as people read it.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    lines: Vec<Line>,
    left_out: u64,
}

impl Timeline {
    /// Notes a thing, with the time since the play began and the number of requests until then.
    pub(super) fn note(&mut self, at: Duration, request: u64, who: Who, what: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(Line { at, request, who, what });
        } else {
            self.left_out += 1;
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member { number, life } => f.pad(&format!("member {number}.{life}")),
            Self::World => f.pad("world"),
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { at, request, who, what } in &self.lines {
            let at = at.as_secs_f64();
            writeln!(f, "{at:>9.3} s  request {request:>5}  {who:<12} {what}")?;
        }
        match self.left_out {
            0 => Ok(()),
            lines => writeln!(f, "... and {lines} more lines"),
        }
    }
}

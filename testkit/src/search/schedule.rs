//! A schedule, and the file that it is kept in.
//!
//! ```text
//! # Empty lines, and lines that begin with a hash sign, are passed over.
//! seed 4711
//! killed-members-leave at-once
//! member=0 produce nth=3 apply-then-kill 100ms
//! member=1 commit nth=2 pause 1500ms
//! member=0 record nth=9 disconnect-before
//! ```

use std::fmt;
use std::str::FromStr;

use super::fault::Planned;
use crate::wire::faults::FaultScriptError;
use crate::wire::faults::script::{self, Mistake};

/// What goes wrong in a play.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// What records without a key are placed by; a search draws the rest from it, too.
    pub seed: u64,
    /// Whether a killed member is out of its group at once, as when its client's connection had said
    /// so, and not only when its session ends.
    pub leaves_at_once: bool,
    /// The faults, in any order.
    pub faults: Vec<Planned>,
}

const AT_ONCE: [(&str, bool); 2] = [("at-once", true), ("when-the-session-ends", false)];

impl Schedule {
    fn read(&mut self, line: &str) -> Result<(), Mistake> {
        let (word, rest) = script::split(line);
        match word {
            "seed" => {
                let expected = "a whole number";
                self.seed = rest.parse().map_err(|_| (rest.to_owned(), expected))?;
            }
            "killed-members-leave" => {
                let known = AT_ONCE.iter().find(|(word, _)| *word == rest);
                let expected = "at-once or when-the-session-ends";
                self.leaves_at_once = known.ok_or_else(|| (rest.to_owned(), expected))?.1;
            }
            word if word.starts_with("member=") => self.faults.push(Planned::parse(line)?),
            word => {
                let expected = "seed, killed-members-leave or member=N";
                return Err((word.to_owned(), expected));
            }
        }
        Ok(())
    }
}

/// Reads a file in the format of [the module](self).
impl FromStr for Schedule {
    type Err = FaultScriptError;

    fn from_str(text: &str) -> Result<Self, FaultScriptError> {
        let mut schedule = Self::default();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                let read = schedule.read(line);
                read.map_err(|mistake| script::located(index + 1, mistake))?;
            }
        }
        Ok(schedule)
    }
}

/// The file, which reads back as the same schedule.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        let leave = if self.leaves_at_once { AT_ONCE[0].0 } else { AT_ONCE[1].0 };
        writeln!(f, "killed-members-leave {leave}")?;
        self.faults.iter().try_for_each(|planned| writeln!(f, "{planned}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::super::fault::{Act, Point};
    use super::*;
    use crate::wire::faults::FaultAct;

    fn acts() -> impl Strategy<Value = Act> {
        let times = || (0..5_000_u64).prop_map(Duration::from_millis);
        let broker = prop_oneof![
            Just(FaultAct::ExpelMember),
            Just(FaultAct::TimeOutTransaction),
            Just(FaultAct::DisconnectWithin),
            (1..100_i16).prop_map(FaultAct::Error),
            times().prop_map(FaultAct::Delay),
        ];
        prop_oneof![
            broker.prop_map(Act::Broker),
            (any::<bool>(), times()).prop_map(|(applied, time)| Act::Silence { applied, time }),
            (any::<bool>(), times())
                .prop_map(|(applied, restart_after)| Act::Kill { applied, restart_after }),
            times().prop_map(|restart_after| Act::Stop { restart_after }),
            (any::<bool>(), times()).prop_map(|(applied, time)| Act::Pause { applied, time }),
            times().prop_map(|stay| Act::Rebalance { stay }),
            times().prop_map(|time| Act::Away { time }),
        ]
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let points = prop_oneof![
            Just(Point::Record),
            Just(Point::Commit),
            proptest::sample::select(vec![0, 1, 8, 11, 26, 68]).prop_map(Point::Request),
        ];
        let planned = (0..9_usize, points, 1..u64::MAX, acts())
            .prop_map(|(member, at, nth, act)| Planned { member, at, nth, act });
        let faults = proptest::collection::vec(planned, 0..6);
        (any::<u64>(), any::<bool>(), faults).prop_map(|(seed, leaves_at_once, faults)| Schedule {
            seed,
            leaves_at_once,
            faults,
        })
    }

    proptest! {
        #[test]
        fn a_schedule_reads_back_as_itself(schedule in schedules()) {
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(seed |member=0 |produce |nth=1 |kill |\\PC|\n){0,20}") {
            let _ = text.parse::<Schedule>();
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, message) in [
            ("# fine\n\nseed x", "line 3: found `x`, expected a whole number"),
            ("sead 1", "line 1: found `sead`, expected seed, killed-members-leave or member=N"),
            ("killed-members-leave never", "line 1: found `never`, expected at-once or"),
            ("member=a commit nth=1 kill 0ms", "line 1: found `member=a`, expected member=N"),
            ("member=0 comit nth=1 kill 0ms", "line 1: found `comit`, expected record, commit, or"),
            ("member=0 commit kill 0ms", "line 1: found `kill`, expected nth=N"),
            ("member=0 commit nth=0 kill 0ms", "line 1: found `0`, expected a whole number from 1"),
            ("member=0 commit nth=1 kill", "line 1: found ``, expected a duration such as 250ms"),
            ("member=0 commit nth=1 kill 1s x", "line 1: found `x`, expected the end of the line"),
            ("member=0 commit nth=1 kil 1s", "line 1: found `kil`, expected a condition"),
        ] {
            let mistake = text.parse::<Schedule>().expect_err(text).to_string();
            assert!(mistake.starts_with(message), "{mistake}");
        }
    }
}

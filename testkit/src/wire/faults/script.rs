//! Faults as text: one a line, for a file that a person writes.
//!
//! ```text
//! # API [CONDITION...] ACT
//! produce nth=3 apply-then-disconnect
//! fetch client=worker-* every=5 delay 200ms
//! offset-commit group=bakers nth=1 error REBALANCE_IN_PROGRESS
//! heartbeat group=bakers nth=4 expel-member
//! any node=2 nth=10 node-away 3s
//! metadata nth=20 move-leaders
//! end-txn probability=0.1 fence-producer
//! fetch topic=jobs nth=7 retain 10
//! connect probability=0.05 disconnect-before
//! ```
//!
//! - Where: `connect`, `any`, or an API by its name in Kafka's protocol, in small letters with
//!   hyphens: `produce`, `fetch`, `list-offsets`, `offset-commit`, `init-producer-id`, `end-txn`,
//!   `consumer-group-heartbeat` and so on.
//! - Conditions, as in [`FaultOccasion`]: `node=N`, `client=ID`, `topic=NAME`, `group=ID`,
//!   `transaction=ID`, `connection=N`, `nth=N`, `every=N`, `after=N`,
//!   `per=broker|client|connection`, `probability=P`, `times=N`. A `*` at the end of a name stands
//!   for any end. A fetch of a session names only the topics that have changed in it.
//! - Acts, as in [`FaultAct`]: `error CODE`, `apply-then-error CODE`, `delay DURATION`,
//!   `apply-then-delay DURATION`, `stall`, `apply-then-stall`, `disconnect-before`,
//!   `disconnect-within`, `apply-then-disconnect`, `node-away DURATION`, `move-leaders`,
//!   `move-coordinators`, `expel-member`, `expel-group`, `fence-producer`, `time-out-transaction`,
//!   `retain OFFSETS`. A code is a number or Kafka's name of it.
//! - Durations are a whole number and a unit: `ns`, `us`, `ms`, `s`, `m`.
//!
//! Empty lines and lines that begin with `#` are passed over.

use std::fmt;
use std::str::FromStr;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

pub use crate::script::ScriptError as FaultScriptError;
use crate::script::{self, END, name_of, named, probability};
pub(crate) use crate::script::{Exact, Mistake, count, duration, located, split};

use super::fault::{FaultAct, FaultMoment, FaultOccasion, FaultPer, WireFault};
use super::names;

const ACTS: [(&str, FaultAct); 11] = [
    ("stall", FaultAct::Stall),
    ("apply-then-stall", FaultAct::ApplyThenStall),
    ("disconnect-before", FaultAct::DisconnectBefore),
    ("disconnect-within", FaultAct::DisconnectWithin),
    ("apply-then-disconnect", FaultAct::ApplyThenDisconnect),
    ("move-leaders", FaultAct::MoveLeaders),
    ("move-coordinators", FaultAct::MoveCoordinators),
    ("expel-member", FaultAct::ExpelMember),
    ("expel-group", FaultAct::ExpelGroup),
    ("fence-producer", FaultAct::FenceProducer),
    ("time-out-transaction", FaultAct::TimeOutTransaction),
];
const PERS: [(&str, FaultPer); 3] = [
    ("broker", FaultPer::Broker),
    ("client", FaultPer::Client),
    ("connection", FaultPer::Connection),
];
const A_MOMENT: &str =
    "connect, any, or the name of an API such as produce, fetch or offset-commit";
const AN_ACT: &str = "a condition: node=, client=, topic=, group=, transaction=, connection=, nth=, \
                      every=, after=, per=, probability=, times=; or an act: error CODE, \
                      apply-then-error CODE, delay DURATION, apply-then-delay DURATION, stall, \
                      apply-then-stall, disconnect-before, disconnect-within, \
                      apply-then-disconnect, node-away DURATION, move-leaders, move-coordinators, \
                      expel-member, expel-group, fence-producer or retain OFFSETS";
const A_CODE: &str = "an error of Kafka such as NOT_COORDINATOR, or its number";

impl WireFault {
    /// Reads a text of faults, one a line, in the format of [the module](super::script).
    ///
    /// # Errors
    /// With the line, the word that could not be read, and what could stand there.
    pub fn parse_script(text: &str) -> Result<Vec<Self>, FaultScriptError> {
        script::lines(text, parse)
    }
}

/// Reads one line of a [script](super::script).
impl FromStr for WireFault {
    type Err = FaultScriptError;

    fn from_str(line: &str) -> Result<Self, FaultScriptError> {
        parse(line.trim()).map_err(|mistake| located(1, mistake))
    }
}

fn parse(line: &str) -> Result<WireFault, Mistake> {
    let begin = |word: &str| moment(word).map(WireFault::at);
    let (occasion, word, rest) = script::line(line, begin, condition)?;
    let fault = occasion.then(act(word, rest)?);
    names::mistake(&fault).map_or(Ok(fault), Err)
}

pub(crate) fn moment(word: &str) -> Result<FaultMoment, Mistake> {
    match word {
        "connect" => Ok(FaultMoment::Connect),
        "any" => Ok(FaultMoment::Any),
        _ => {
            let key = ApiKey::iter().find(|key| hyphened(&format!("{key:?}")) == word);
            let key = key.ok_or_else(|| (word.to_owned(), A_MOMENT))?;
            Ok(FaultMoment::Api(key as i16))
        }
    }
}

fn condition(occasion: FaultOccasion, key: &str, value: &str) -> Result<FaultOccasion, Mistake> {
    let mistake = |expected| (value.to_owned(), expected);
    Ok(match key {
        "node" => {
            let node = count(value)?.try_into().map_err(|_| mistake("the number of a node"))?;
            occasion.node(node)
        }
        "client" => occasion.client(value),
        "topic" => occasion.topic(value),
        "group" => occasion.group(value),
        "transaction" => occasion.transaction(value),
        "connection" => occasion.connection(count(value)?),
        "nth" => occasion.nth(count(value)?),
        "every" => occasion.every(count(value)?),
        "after" => occasion.after(count(value)?),
        "times" => occasion.times(count(value)?),
        "per" => {
            let per = named(&PERS, value);
            occasion.per(per.ok_or_else(|| mistake("broker, client or connection"))?)
        }
        "probability" => occasion.probability(probability(value)?),
        _ => return Err((format!("{key}={value}"), AN_ACT)),
    })
}

pub(crate) fn act(word: &str, rest: &str) -> Result<FaultAct, Mistake> {
    let (value, after) = split(rest);
    let act = match word {
        "error" => FaultAct::Error(code(value)?),
        "apply-then-error" => FaultAct::ApplyThenError(code(value)?),
        "delay" => FaultAct::Delay(duration(value)?),
        "apply-then-delay" => FaultAct::ApplyThenDelay(duration(value)?),
        "node-away" => FaultAct::NodeAway(duration(value)?),
        "retain" => {
            let offsets = value.parse();
            FaultAct::Retain(offsets.map_err(|_| (value.to_owned(), "a number of offsets"))?)
        }
        _ => {
            let act = named(&ACTS, word).ok_or_else(|| (word.to_owned(), AN_ACT))?;
            return if rest.is_empty() { Ok(act) } else { Err((rest.to_owned(), END)) };
        }
    };
    if after.is_empty() { Ok(act) } else { Err((after.to_owned(), END)) }
}

/// An error by its name in Kafka, or by its number.
fn code(value: &str) -> Result<i16, Mistake> {
    let mistake = || (value.to_owned(), A_CODE);
    if let Ok(code) = value.parse::<i16>() {
        return if code == 0 { Err(mistake()) } else { Ok(code) };
    }
    known_errors().find(|(_, name)| name == value).map(|(code, _)| code).ok_or_else(mistake)
}

/// The errors that have a name.
fn known_errors() -> impl Iterator<Item = (i16, String)> {
    /// Above every code that Kafka has.
    const CODES_END: i16 = 256;
    let named = |code| match ResponseError::try_from_code(code)? {
        ResponseError::Unknown(_) => None,
        error => Some((code, hyphened(&format!("{error:?}")).to_uppercase().replace('-', "_"))),
    };
    (-1..CODES_END).filter_map(named)
}

/// `OffsetCommit` as `offset-commit`.
fn hyphened(name: &str) -> String {
    let mut words = String::new();
    for char in name.chars() {
        if char.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.extend(char.to_lowercase());
    }
    words
}

/// As a line of a script, which reads back as the same fault.
impl fmt::Display for WireFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.occasion, self.act)
    }
}

/// As the first word of a line.
impl fmt::Display for FaultMoment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => formatter.write_str("connect"),
            Self::Any => formatter.write_str("any"),
            Self::Api(key) => match ApiKey::try_from(*key) {
                Ok(key) => formatter.write_str(&hyphened(&format!("{key:?}"))),
                Err(()) => write!(formatter, "{key}"),
            },
        }
    }
}

impl fmt::Display for FaultOccasion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.moment)?;
        script::write_set(formatter, &[("node", &self.node)])?;
        let names = [
            ("client", &self.client),
            ("topic", &self.topic),
            ("group", &self.group),
            ("transaction", &self.transaction),
        ];
        script::write_set(formatter, &names)?;
        let counts = [
            ("connection", &self.connection),
            ("nth", &self.nth),
            ("every", &self.every),
            ("after", &self.after),
            ("times", &self.times),
        ];
        script::write_set(formatter, &counts)?;
        if self.per != FaultPer::Broker {
            write!(formatter, " per={}", name_of(&PERS, &self.per))?;
        }
        script::write_set(formatter, &[("probability", &self.probability)])
    }
}

impl fmt::Display for FaultAct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = |code: i16| {
            let name = known_errors().find(|(known, _)| *known == code);
            name.map_or_else(|| code.to_string(), |(_, name)| name)
        };
        match self {
            Self::Error(error) => write!(formatter, "error {}", code(*error)),
            Self::ApplyThenError(error) => write!(formatter, "apply-then-error {}", code(*error)),
            Self::Delay(delay) => write!(formatter, "delay {}", Exact(*delay)),
            Self::ApplyThenDelay(delay) => write!(formatter, "apply-then-delay {}", Exact(*delay)),
            Self::NodeAway(time) => write!(formatter, "node-away {}", Exact(*time)),
            Self::Retain(offsets) => write!(formatter, "retain {offsets}"),
            act => formatter.write_str(name_of(&ACTS, act)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn faults() -> impl Strategy<Value = WireFault> {
        let durations = || {
            prop_oneof![
                (0..10_000u64).prop_map(Duration::from_millis),
                (0..10_000u64).prop_map(Duration::from_nanos),
            ]
        };
        let keys: Vec<i16> = ApiKey::iter().map(|key| key as i16).collect();
        let moments = prop_oneof![
            Just(FaultMoment::Connect),
            Just(FaultMoment::Any),
            proptest::sample::select(keys).prop_map(FaultMoment::Api),
        ];
        let codes =
            || (1..i16::MAX, any::<bool>()).prop_map(|(c, low)| if low { c % 130 + 1 } else { c });
        let acts = prop_oneof![
            proptest::sample::select(ACTS.map(|(_, act)| act).to_vec()),
            codes().prop_map(FaultAct::Error),
            codes().prop_map(FaultAct::ApplyThenError),
            durations().prop_map(FaultAct::Delay),
            durations().prop_map(FaultAct::ApplyThenDelay),
            durations().prop_map(FaultAct::NodeAway),
            any::<u64>().prop_map(FaultAct::Retain),
        ];
        let counts = proptest::collection::vec(proptest::option::of(1..u64::MAX), 5);
        let names = proptest::collection::vec(proptest::option::of("[a-z=.-]{1,4}[*]?"), 4);
        let pers = proptest::sample::select(PERS.map(|(_, per)| per).to_vec());
        let rest = (proptest::option::of(0.0..=1.0), proptest::option::of(1..i32::MAX));
        (moments, acts, counts, names, pers, rest).prop_map(
            |(moment, act, counts, names, per, (probability, node))| {
                let mut occasion = WireFault::at(moment).per(per);
                (occasion.client, occasion.topic) = (names[0].clone(), names[1].clone());
                (occasion.group, occasion.transaction) = (names[2].clone(), names[3].clone());
                (occasion.connection, occasion.nth) = (counts[0], counts[1]);
                (occasion.every, occasion.after, occasion.times) =
                    (counts[2], counts[3], counts[4]);
                (occasion.probability, occasion.node) = (probability, node);
                occasion.then(act)
            },
        )
    }

    proptest! {
        #[test]
        fn a_fault_reads_back_as_itself(fault in faults()) {
            match names::mistake(&fault) {
                None => prop_assert_eq!(fault.to_string().parse(), Ok(fault)),
                Some((found, _)) => {
                    let refused: Result<WireFault, _> = fault.to_string().parse();
                    prop_assert_eq!(refused.map_err(|error| error.found), Err(found));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = WireFault::parse_script(&text);
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, message) in [
            ("# fine\n\nproduze stall", "line 3: found `produze`, expected connect, any, or"),
            ("fetch stall\nfetch", "line 2: found ``, expected a condition: "),
            ("fetch nth=0 stall", "line 1: found `0`, expected a whole number from 1"),
            ("fetch error NO_SUCH_THING", "line 1: found `NO_SUCH_THING`, expected an error of"),
            ("fetch error 0", "line 1: found `0`, expected an error of Kafka"),
            ("fetch delay 5", "line 1: found `5`, expected a duration such as 250ms"),
            ("fetch nth=2 after=2 stall", "line 1: found `after=2`, expected less than nth"),
            ("fetch nth=5 every=2 stall", "line 1: found `every=2`, expected a divisor of nth"),
            ("fetch probability=0 stall", "line 1: found `probability=0`, expected more than 0"),
            ("fetch nth=4 every=2 after=3 stalled", "line 1: found `stalled`, expected a cond"),
            ("fetch probability=2 stall", "line 1: found `2`, expected a number from 0 to 1"),
            ("fetch stall now", "line 1: found `now`, expected the end of the line"),
            ("fetch delay 5s now", "line 1: found `now`, expected the end of the line"),
            ("fetch per=day stall", "line 1: found `day`, expected broker, client or connection"),
            ("fetch retain all", "line 1: found `all`, expected a number of offsets"),
            ("fetch nth=1 nth=2 stall", "line 1: found `nth=2`, expected each condition once"),
            (
                "produce group=x stall",
                "line 1: found `group=x`, expected something else: faults see",
            ),
            ("connect client=x stall", "line 1: found `client=x`, expected another condition: a"),
            ("connect error 6", "line 1: found `error NOT_LEADER_OR_FOLLOWER`, expected another"),
            ("heartbeat retain 5", "line 1: found `retain 5`, expected something else: faults see"),
            ("fetch expel-member", "line 1: found `expel-member`, expected something else: faults"),
        ] {
            let mistake = WireFault::parse_script(text).expect_err(text).to_string();
            assert!(mistake.starts_with(message), "{mistake}");
        }
    }

    #[test]
    fn errors_have_the_names_that_kafka_gives_them() {
        for (name, expected) in [
            ("NOT_LEADER_OR_FOLLOWER", 6),
            ("REBALANCE_IN_PROGRESS", 27),
            ("UNKNOWN_TOPIC_OR_PARTITION", 3),
            ("INVALID_PRODUCER_EPOCH", 47),
            ("-1", -1),
        ] {
            assert_eq!(code(name), Ok(expected), "{name}");
        }
    }
}

//! Misfortunes as text: one a line, for a file that a person writes.
//!
//! ```text
//! # MOMENT [CONDITION...] ACT
//! rcpt to=full@example.com reply 452 4.2.2 mailbox full
//! rcpt every=2 per=mail reply 550 5.1.1 half of the recipients are unknown
//! dot nth=3 accept-then-disconnect
//! dot probability=0.01 delay 30s
//! body=1000 message=7 disconnect-before
//! idle=5m reply 421 4.4.2 idle for too long
//! any connection=2 split-reply
//! data after=10 per=connection reply 452 4.4.5 too many messages in this session
//! mail behind=dot reply 554 5.5.0 improper pipelining
//! ```
//!
//! - Moments: `connect`, `ehlo` (HELO too), `starttls`, `auth`, `mail`, `rcpt`, `data`,
//!   `body=OCTETS`, `dot`, `rset`, `noop`, `vrfy`, `quit`, `idle=DURATION`, `any`.
//! - Conditions, as in [`Occasion`]: `to=ADDRESS`, `from=ADDRESS`, `connection=N`, `message=N`,
//!   `nth=N`, `every=N`, `after=N`, `behind=dot`, `per=server|connection|mail`, `probability=P`,
//!   `times=N`. An address is `user@host`, or `@host` for all of that host; `from=` is the null
//!   sender.
//! - Acts, as in [`Act`]: `reply CODE TEXT`, `disconnect-before`, `disconnect-after`,
//!   `accept-then-disconnect`, `delay DURATION`, `stall`, `accept-then-stall`, `split-reply`,
//!   `ignore`. In the text of a reply `\n` begins another line and `\\` is a backslash.
//! - Durations are a whole number and a unit: `ns`, `us`, `ms`, `s`, `m`.
//!
//! Empty lines and lines that begin with `#` are passed over.

use std::fmt;
use std::str::FromStr;

pub use crate::script::ScriptError;
use crate::script::{
    self, END, Exact, Mistake, count, duration, name_of, named, probability, split,
};

use super::misfortune::{Act, Misfortune, Moment, Occasion, Per};

const MOMENTS: [(&str, Moment); 13] = [
    ("connect", Moment::Connect),
    ("ehlo", Moment::Ehlo),
    ("starttls", Moment::StartTls),
    ("auth", Moment::Auth),
    ("mail", Moment::Mail),
    ("rcpt", Moment::Rcpt),
    ("data", Moment::Data),
    ("dot", Moment::Dot),
    ("rset", Moment::Rset),
    ("noop", Moment::Noop),
    ("vrfy", Moment::Vrfy),
    ("quit", Moment::Quit),
    ("any", Moment::Any),
];
const ACTS: [(&str, Act); 7] = [
    ("disconnect-before", Act::DisconnectBefore),
    ("disconnect-after", Act::DisconnectAfter),
    ("accept-then-disconnect", Act::AcceptThenDisconnect),
    ("stall", Act::Stall),
    ("accept-then-stall", Act::AcceptThenStall),
    ("split-reply", Act::SplitReply),
    ("ignore", Act::Ignore),
];
const PERS: [(&str, Per); 3] =
    [("server", Per::Server), ("connection", Per::Connection), ("mail", Per::Mail)];
const A_MOMENT: &str = "a moment: connect, ehlo, starttls, auth, mail, rcpt, data, body=OCTETS, dot, \
                        rset, noop, vrfy, quit, idle=DURATION or any";
const AN_ACT: &str = "a condition: to=, from=, connection=, message=, nth=, every=, after=, \
                      behind=dot, per=, probability=, times=; or an act: reply CODE TEXT, disconnect-before, \
                      disconnect-after, accept-then-disconnect, delay DURATION, stall, \
                      accept-then-stall, split-reply or ignore";

impl Misfortune {
    /// Reads a text of misfortunes, one a line, in the format of [the module](super::script).
    ///
    /// # Errors
    /// With the line, the word that could not be read, and what could stand there.
    pub fn parse_script(text: &str) -> Result<Vec<Self>, ScriptError> {
        script::lines(text, parse)
    }
}

/// Reads one line of a [script](super::script).
impl FromStr for Misfortune {
    type Err = ScriptError;

    fn from_str(line: &str) -> Result<Self, ScriptError> {
        parse(line.trim()).map_err(|mistake| script::located(1, mistake))
    }
}

fn parse(line: &str) -> Result<Misfortune, Mistake> {
    let begin = |word: &str| moment(word).map(Misfortune::at);
    let (occasion, word, rest) = script::line(line, begin, condition)?;
    Ok(occasion.then(act(word, rest)?))
}

fn moment(word: &str) -> Result<Moment, Mistake> {
    match word.split_once('=') {
        Some(("body", octets)) => match octets.parse() {
            Ok(octets) => Ok(Moment::Body { octets }),
            Err(_) => Err((octets.to_owned(), "a number of octets")),
        },
        Some(("idle", after)) => Ok(Moment::Idle { after: duration(after)? }),
        _ => named(&MOMENTS, word).ok_or_else(|| (word.to_owned(), A_MOMENT)),
    }
}

fn condition(occasion: Occasion, key: &str, value: &str) -> Result<Occasion, Mistake> {
    Ok(match key {
        "to" => occasion.to(value),
        "from" => occasion.from(value),
        "connection" => occasion.connection(count(value)?),
        "message" => occasion.message(count(value)?),
        "nth" => occasion.nth(count(value)?),
        "every" => occasion.every(count(value)?),
        "after" => occasion.after(count(value)?),
        "behind" if value == "dot" => occasion.behind_dot(),
        "behind" => return Err((value.to_owned(), "dot")),
        "times" => occasion.times(count(value)?),
        "per" => {
            let per = named(&PERS, value);
            occasion.per(per.ok_or_else(|| (value.to_owned(), "server, connection or mail"))?)
        }
        "probability" => occasion.probability(probability(value)?),
        _ => return Err((format!("{key}={value}"), AN_ACT)),
    })
}

fn act(word: &str, rest: &str) -> Result<Act, Mistake> {
    let (act, rest) = match word {
        "reply" => return reply(rest),
        "delay" => {
            let (delay, rest) = split(rest);
            (Act::Delay(duration(delay)?), rest)
        }
        _ => (named(&ACTS, word).ok_or_else(|| (word.to_owned(), AN_ACT))?, rest),
    };
    if rest.is_empty() { Ok(act) } else { Err((rest.to_owned(), END)) }
}

fn reply(rest: &str) -> Result<Act, Mistake> {
    let (code, text) = split(rest);
    match code.parse() {
        Ok(code @ 200..=599) => Ok(Act::Reply { code, text: unescaped(text) }),
        _ => Err((code.to_owned(), "a code from 200 to 599")),
    }
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(char) = chars.next() {
        match (char, chars.as_str().chars().next()) {
            ('\\', Some(escaped @ ('n' | '\\'))) => {
                plain.push(if escaped == 'n' { '\n' } else { '\\' });
                chars.next();
            }
            _ => plain.push(char),
        }
    }
    plain
}

/// As a line of a script, which reads back as the same misfortune.
impl fmt::Display for Misfortune {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.occasion, self.act)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.moment)?;
        script::write_set(formatter, &[("to", &self.recipient), ("from", &self.sender)])?;
        let counts = [
            ("connection", &self.connection),
            ("message", &self.message),
            ("nth", &self.nth),
            ("every", &self.every),
            ("after", &self.after),
            ("times", &self.times),
        ];
        script::write_set(formatter, &counts)?;
        if self.behind_dot {
            formatter.write_str(" behind=dot")?;
        }
        if self.per != Per::Server {
            write!(formatter, " per={}", name_of(&PERS, &self.per))?;
        }
        script::write_set(formatter, &[("probability", &self.probability)])
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body { octets } => write!(formatter, "body={octets}"),
            Self::Idle { after } => write!(formatter, "idle={}", Exact(*after)),
            moment => formatter.write_str(name_of(&MOMENTS, moment)),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { code, text } => {
                let text = text.replace('\\', "\\\\").replace('\n', "\\n");
                write!(formatter, "reply {code} {text}")
            }
            Self::Delay(delay) => write!(formatter, "delay {}", Exact(*delay)),
            act => formatter.write_str(name_of(&ACTS, act)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            (0..10_000u64).prop_map(Duration::from_millis),
            (0..10_000u64).prop_map(Duration::from_secs),
            (0..10_000u64).prop_map(Duration::from_nanos),
        ]
    }

    fn misfortunes() -> impl Strategy<Value = Misfortune> {
        let moments = prop_oneof![
            proptest::sample::select(MOMENTS.map(|(_, moment)| moment).to_vec()),
            any::<u64>().prop_map(|octets| Moment::Body { octets }),
            durations().prop_map(|after| Moment::Idle { after }),
        ];
        let acts = prop_oneof![
            proptest::sample::select(ACTS.map(|(_, act)| act).to_vec()),
            durations().prop_map(Act::Delay),
            (200..600u16, "[!-~][ -~]{0,9}\\\\?\n?[!-~]")
                .prop_map(|(code, text)| Act::Reply { code, text }),
        ];
        let counts = proptest::collection::vec(proptest::option::of(1..u64::MAX), 6);
        let addresses =
            proptest::collection::vec(proptest::option::of("[a-z=]{0,3}@[a-z]{1,3}"), 2);
        let pers = prop_oneof![Just(Per::Server), Just(Per::Connection), Just(Per::Mail)];
        let chances = (proptest::option::of(0.0..=1.0), any::<bool>());
        (moments, acts, counts, addresses, pers, chances).prop_map(
            |(moment, act, counts, addresses, per, (probability, behind_dot))| {
                let mut occasion = Misfortune::at(moment).per(per);
                [occasion.recipient, occasion.sender] =
                    [addresses[0].clone(), addresses[1].clone()];
                (occasion.connection, occasion.message) = (counts[0], counts[1]);
                (occasion.nth, occasion.every, occasion.times) = (counts[2], counts[3], counts[4]);
                (occasion.after, occasion.behind_dot) = (counts[5], behind_dot);
                occasion.probability = probability;
                occasion.then(act)
            },
        )
    }

    proptest! {
        #[test]
        fn a_misfortune_reads_back_as_itself(misfortune in misfortunes()) {
            prop_assert_eq!(misfortune.to_string().parse(), Ok(misfortune));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = Misfortune::parse_script(&text);
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, message) in [
            ("# fine\n\nrctp stall", "line 3: found `rctp`, expected a moment: "),
            ("dot stall\ndot", "line 2: found ``, expected a condition: "),
            ("dot nth=0 stall", "line 1: found `0`, expected a whole number from 1"),
            ("dot reply 42 no", "line 1: found `42`, expected a code from 200 to 599"),
            ("dot reply 999 no", "line 1: found `999`, expected a code from 200 to 599"),
            ("dot delay 5", "line 1: found `5`, expected a duration such as 250ms"),
            ("dot delay 99999999999999999999s", "line 1: found `99999999999999999999s`, expected"),
            ("dot probability=2 stall", "line 1: found `2`, expected a number from 0 to 1"),
            ("dot stall now", "line 1: found `now`, expected the end of the line"),
            ("body=x stall", "line 1: found `x`, expected a number of octets"),
            ("mail behind=mail stall", "line 1: found `mail`, expected dot"),
            ("dot per=day stall", "line 1: found `day`, expected server, connection or mail"),
            ("dot who=me stall", "line 1: found `who=me`, expected a condition: "),
        ] {
            let error = Misfortune::parse_script(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn the_example_of_the_docs_is_read() {
        let docs = include_str!("script.rs").lines().filter_map(|line| line.strip_prefix("//! "));
        let text: Vec<_> = docs.skip_while(|line| !line.starts_with("# MOMENT")).collect();
        let end = text.iter().position(|line| line.starts_with("```")).unwrap();
        assert_eq!(Misfortune::parse_script(&text[..end].join("\n")).unwrap().len(), 9);
    }
}

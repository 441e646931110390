//! What the texts of faults have in common: one a line, a moment, conditions, and an act.

use std::fmt;
use std::time::Duration;

pub(crate) const END: &str = "the end of the line";
const A_DURATION: &str = "a duration such as 250ms, 5s or 2m";
const A_COUNT: &str = "a whole number from 1";
const UNITS: [(&str, Duration); 5] = [
    ("ns", Duration::from_nanos(1)),
    ("us", Duration::from_micros(1)),
    ("ms", Duration::from_millis(1)),
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
];

/// What could not be read in a line of faults, or of misfortunes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: found `{found}`, expected {expected}")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    /// The word in question; empty at the end of the line.
    pub found: String,
    /// What could stand there.
    pub expected: &'static str,
}

/// The word in question and what could stand there.
pub(crate) type Mistake = (String, &'static str);

pub(crate) fn located(line: usize, (found, expected): Mistake) -> ScriptError {
    ScriptError { line, found, expected }
}

/// Reads each line that is not empty and does not begin with `#`.
pub(crate) fn lines<F>(
    text: &str,
    read: impl Fn(&str) -> Result<F, Mistake>,
) -> Result<Vec<F>, ScriptError> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(index, line)| read(line).map_err(|mistake| located(index + 1, mistake));
    lines.map(read).collect()
}

/// Reads a line: what it begins with, then each condition, and gives the act with what follows it.
pub(crate) fn line<O>(
    line: &str,
    begin: impl Fn(&str) -> Result<O, Mistake>,
    condition: impl Fn(O, &str, &str) -> Result<O, Mistake>,
) -> Result<(O, &str, &str), Mistake> {
    let (word, mut rest) = split(line);
    let (mut occasion, mut keys) = (begin(word)?, Vec::new());
    loop {
        let (word, after) = split(rest);
        rest = after;
        let Some((key, value)) = word.split_once('=') else { return Ok((occasion, word, rest)) };
        occasion = condition(occasion, key, value)?;
        if keys.contains(&key) {
            return Err((word.to_owned(), "each condition once"));
        }
        keys.push(key);
    }
}

/// The first word, and what follows it.
pub(crate) fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}

pub(crate) fn count(value: &str) -> Result<u64, Mistake> {
    value.parse().ok().filter(|count| *count > 0).ok_or_else(|| (value.to_owned(), A_COUNT))
}

pub(crate) fn probability(value: &str) -> Result<f64, Mistake> {
    let found = value.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    found.ok_or_else(|| (value.to_owned(), "a number from 0 to 1"))
}

pub(crate) fn duration(value: &str) -> Result<Duration, Mistake> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let product = || named(&UNITS, unit)?.checked_mul(number.parse().ok()?);
    product().ok_or_else(|| (value.to_owned(), A_DURATION))
}

pub(crate) fn named<T: Clone>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == word).map(|(_, value)| value.clone())
}

pub(crate) fn name_of<'a, T: PartialEq>(table: &[(&'a str, T)], value: &T) -> &'a str {
    table.iter().find(|(_, it)| it == value).map_or("", |(name, _)| name)
}

/// Writes conditions that are set, each after a space.
pub(crate) fn write_set<T: fmt::Display>(
    formatter: &mut fmt::Formatter<'_>,
    conditions: &[(&str, &Option<T>)],
) -> fmt::Result {
    for (key, value) in conditions {
        if let Some(value) = value {
            write!(formatter, " {key}={value}")?;
        }
    }
    Ok(())
}

/// A duration in the largest unit that makes it a whole number.
pub(crate) struct Exact(pub(crate) Duration);

impl fmt::Display for Exact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return formatter.write_str("0ms");
        }
        let nanos = self.0.as_nanos();
        let whole = |(_, unit): &&(&str, Duration)| nanos.is_multiple_of(unit.as_nanos());
        let (name, unit) = UNITS.iter().rev().find(whole).unwrap_or(&UNITS[0]);
        write!(formatter, "{}{name}", nanos / unit.as_nanos())
    }
}

//! Times as a person writes them, and reads them.

use std::str::FromStr;
use std::time::SystemTime;

use jobstream::record::Timestamp;

const DAY_SECONDS: i64 = 86_400;
const EXPECTED: &str = "a time such as 2026-11-22T03:00:00Z, 2026-11-22, or 90s, 15m, 2h, 3d ago";

/// A time that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeArg {
    /// Milliseconds since 1970.
    At(Timestamp),
    /// So many seconds ago.
    Ago(i64),
}

impl TimeArg {
    /// The time, in milliseconds since 1970.
    pub(crate) const fn timestamp(self, now_ms: Timestamp) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::Ago(seconds) => now_ms - seconds * 1_000,
        }
    }
}

impl FromStr for TimeArg {
    type Err = String;

    /// Reads a date-time of RFC 3339 section 5.6, a date (its begin in UTC), or how long ago.
    fn from_str(text: &str) -> Result<Self, String> {
        let time = ago(text).or_else(|| date_time(text));
        time.ok_or_else(|| format!("expected {EXPECTED}"))
    }
}

fn ago(text: &str) -> Option<TimeArg> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => DAY_SECONDS,
        _ => return None,
    };
    Some(TimeArg::Ago(i64::from(digits(number)?) * seconds))
}

fn date_time(text: &str) -> Option<TimeArg> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = days(date)?;
    if rest.is_empty() {
        return Some(TimeArg::At(days * DAY_SECONDS * 1_000));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(time, ':')?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone_at = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(zone_at);
    let milliseconds = match fraction.strip_prefix('.') {
        Some(digits) if !digits.is_empty() && !digits.contains('.') => {
            format!("{digits:0<3}")[..3].parse().ok()?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    let seconds = hour * 3_600 + minute * 60 + second - zone_seconds(zone)?;
    Some(TimeArg::At((days * DAY_SECONDS + seconds) * 1_000 + milliseconds))
}

fn zone_seconds(zone: &str) -> Option<i64> {
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", zone) => (1, zone),
        ("-", zone) => (-1, zone),
        _ => return None,
    };
    let [hour, minute] = numbers(zone, ':')?;
    (hour < 24 && minute < 60).then_some(sign * (hour * 3_600 + minute * 60))
}

/// The days from 1970-01-01, in the proleptic Gregorian calendar, counted in years from March.
fn days(date: &str) -> Option<i64> {
    let [year, month, day] = numbers(date, '-')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = years / 4 - years / 100 + years / 400;
    let days = years * 365 + leap_days + (months * 153 + 2) / 5 + day - 1 - 719_468;
    // A day that the month does not have is one of the next month.
    (civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a day since 1970-01-01.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let months = (5 * of_year + 2) / 153;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = year + era * 400 + (month <= 2) as i64;
    (year, month, of_year - (153 * months + 2) / 5 + 1)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for number in &mut found {
        *number = i64::from(digits(parts.next()?)?);
    }
    parts.next().is_none().then_some(found)
}

/// A number of digits alone.
fn digits(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// A time as RFC 3339 has it, to the second, in UTC.
pub(crate) fn rfc3339(timestamp: Timestamp) -> String {
    let seconds = timestamp.div_euclid(1_000);
    let (year, month, day) = civil(seconds.div_euclid(DAY_SECONDS));
    let of_day = seconds.rem_euclid(DAY_SECONDS);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The time by the machine's clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> Timestamp {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_a_date_time_or_a_date_or_some_time_ago() {
        let at = |text: &str| text.parse::<TimeArg>().unwrap().timestamp(10_000_000);
        assert_eq!(at("1970-01-02T00:00:01.5Z"), 86_401_500);
        assert_eq!(at("1970-01-02T02:00:00+02:00"), 86_400_000);
        assert_eq!(at("1970-01-02"), 86_400_000);
        assert_eq!(at("15m"), 10_000_000 - 900_000);
        assert_eq!(at("2024-02-29T23:59:59Z"), 1_709_251_199_000);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "h",
            "-1h",
            "yesterday",
            "2023-02-29",
            "2023-13-01",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1",
        ] {
            let refused = text.parse::<TimeArg>().unwrap_err();
            assert!(refused.contains("2026-11-22T03:00:00Z"), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0_i64..253_402_300_800) {
            let read: TimeArg = rfc3339(seconds * 1_000).parse().unwrap();
            prop_assert_eq!(read, TimeArg::At(seconds * 1_000));
        }
    }
}

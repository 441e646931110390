//! The date of a mail, from the date-times that a job holds.

use std::time::{Duration, SystemTime};

use crate::record::Timestamp;

/// Seconds from 1970 to the end of the year 9999: what a mail's date can say.
const SECONDS_END: i64 = 253_402_300_800;

/// A moment in the years 1970 to 9999, to the second, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    seconds: u64,
}

impl Date {
    /// The first of `texts` that is an RFC 3339 date-time in 1970 to 9999 (in UTC), else the
    /// timestamp, else 1970-01-01T00:00:00Z.
    pub(super) fn first(texts: &[Option<&str>], timestamp: Option<Timestamp>) -> Self {
        texts
            .iter()
            .find_map(|text| Self::parse((*text)?))
            .or_else(|| Self::from_seconds(timestamp?.div_euclid(1000)))
            .unwrap_or(Self { seconds: 0 })
    }

    /// Reads a `date-time` of RFC 3339 section 5.6; a leap second is the second behind it.
    fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't'])?;
        let (time, rest) = rest.split_at_checked(8)?;
        let offset_seconds = offset_seconds(without_fraction(rest)?)?;
        Self::from_seconds(days(date)? * 86_400 + seconds_of_day(time)? - offset_seconds)
    }

    fn from_seconds(seconds: i64) -> Option<Self> {
        let seconds = (0..SECONDS_END).contains(&seconds).then_some(seconds)?;
        Some(Self { seconds: seconds.unsigned_abs() })
    }
}

impl From<Date> for SystemTime {
    fn from(date: Date) -> Self {
        Self::UNIX_EPOCH + Duration::from_secs(date.seconds)
    }
}

/// The days from 1970-01-01 to `YYYY-MM-DD`.
fn days(date: &str) -> Option<i64> {
    let [year, month, day] = fields(date, b'-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1..=length).contains(&day) {
        return None;
    }
    // The proleptic Gregorian calendar, counted in years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

/// The seconds from midnight to `HH:MM:SS`.
fn seconds_of_day(time: &str) -> Option<i64> {
    let [hour, minute, second] = fields(time, b':', [2, 2, 2])?;
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn without_fraction(text: &str) -> Option<&str> {
    let Some(fraction) = text.strip_prefix('.') else { return Some(text) };
    let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < fraction.len()).then_some(rest)
}

fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'Z' | b'z' if text.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hour, minute] = fields(text.get(1..)?, b':', [2, 2])?;
    (hour < 24 && minute < 60).then_some(sign * (hour * 3600 + minute * 60))
}

/// Numbers of the given widths, all digits, with `separator` between them.
fn fields<const N: usize>(text: &str, separator: u8, widths: [usize; N]) -> Option<[i64; N]> {
    let mut rest = text.as_bytes();
    let mut numbers = [0; N];
    for (i, (number, width)) in numbers.iter_mut().zip(widths).enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(&[separator])?;
        }
        let (digits, behind) = rest.split_at_checked(width)?;
        for digit in digits {
            *number = *number * 10 + i64::from(char::from(*digit).to_digit(10)?);
        }
        rest = behind;
    }
    rest.is_empty().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::Date;

    fn seconds(text: &str) -> Option<u64> {
        Date::parse(text).map(|date| date.seconds)
    }

    #[test]
    fn rfc_3339_date_times_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-01-01T00:00:00Z", 1_704_067_200),
            ("2024-02-29t23:59:59z", 1_709_251_199),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2023-06-30T16:50:46.3042083Z", 1_688_143_846),
            ("2023-06-30T16:50:46.123456789012345Z", 1_688_143_846),
            ("2023-06-30T18:50:46+02:00", 1_688_143_846),
            ("2023-06-30T11:20:46-05:30", 1_688_143_846),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            ("1969-12-31T23:00:00-01:00", 0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_passed_over() {
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00Z",
            "2024-1-1T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-32T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00Zx",
            "+024-01-01T00:00:00Z",
            "12024-01-01T00:00:00Z",
            "2024-01-01T00:00:00\u{e9}",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_that_can_be_used_wins() {
        let zero = "0001-01-01T00:00:00Z";
        let of = |texts: [&str; 2], timestamp| Date::first(&texts.map(Some), timestamp).seconds;
        assert_eq!(of(["1970-01-01T00:00:07Z", "1970-01-01T00:00:08Z"], Some(9_000)), 7);
        assert_eq!(of([zero, "1970-01-01T00:00:08Z"], Some(9_000)), 8);
        assert_eq!(of([zero, "never"], Some(9_999)), 9);
        assert_eq!(Date::first(&[None, Some("1970-01-01T00:00:05Z")], None).seconds, 5);
        assert_eq!(Date::first(&[None], Some(-1)).seconds, 0);
        assert_eq!(Date::first(&[], Some(i64::MAX)).seconds, 0);
        assert_eq!(Date::first(&[], None).seconds, 0);
    }
}

//! Date and time, as a page shows them.

use std::fmt;

use jobstream::record::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Date and time in UTC; displayed as `12 Feb 2023, 21:00 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DateTime {
    year: i64,
    month: i64,
    day: i64,
    second: i64,
}

impl DateTime {
    /// Date and time of a timestamp, to the second below it.
    pub(super) const fn of(timestamp: Timestamp) -> Self {
        let seconds = timestamp.div_euclid(1000);
        // Days are counted in eras of 400 years that begin on the first of March of the year 0.
        let days = seconds.div_euclid(86_400) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        Self { year, month, day, second: seconds.rem_euclid(86_400) }
    }

    /// As RFC 3339 has it.
    pub(super) fn rfc_3339(&self) -> String {
        let Self { year, month, day, second } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, second } = self;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let month = MONTHS[(*month - 1) as usize];
        write!(f, "{day} {month} {year}, {hour:02}:{minute:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_a_date_and_time_in_utc() {
        for (timestamp, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_676_235_639_159, "2023-02-12T21:00:39Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(DateTime::of(timestamp).rfc_3339(), expected);
        }
        assert_eq!(DateTime::of(1_676_235_639_159).to_string(), "12 Feb 2023, 21:00 UTC");
    }
}

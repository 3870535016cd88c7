//! A day, without a clock. Pure.

use std::fmt;
use std::str::FromStr;

/// A day of the proleptic Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Whether a moment, in seconds since 1970, lies after the end of this day.
    pub fn is_over(self, unix: u64) -> bool {
        let day = i64::try_from(unix / 86_400).unwrap_or(i64::MAX);
        day > self.days()
    }

    /// Days since 1970-01-01 (H. Hinnant, chrono-compatible low-level date algorithms: days_from_civil).
    pub fn days(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    fn is_real(self) -> bool {
        let of = |years| self.year.is_multiple_of(years);
        let leap = of(4) && (!of(100) || of(400));
        let days = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        (1..=days).contains(&self.day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A text that is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDate;

impl FromStr for Date {
    type Err = NoDate;

    fn from_str(text: &str) -> Result<Date, NoDate> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            part.and_then(|part| part.parse::<u16>().ok()).ok_or(NoDate)
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        // Two digits fit.
        let small = |part: u16| u8::try_from(part).map_err(|_| NoDate);
        let date = Date { year, month: small(month)?, day: small(day)? };
        if parts.next().is_none() && date.is_real() { Ok(date) } else { Err(NoDate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight() {
        // date -u -d '2027-06-30 23:59:59' +%s
        let day: Date = "2027-06-30".parse().unwrap();
        assert!(!day.is_over(1_814_399_999) && day.is_over(1_814_400_000));
        // date -u -d '2000-02-29 23:59:59' +%s
        let leap: Date = "2000-02-29".parse().unwrap();
        assert!(!leap.is_over(951_868_799) && leap.is_over(951_868_800));
        assert!(!leap.is_over(0));
        assert_eq!(leap.to_string(), "2000-02-29");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2027",
            "2027-6-30",
            "2027-06-31",
            "2027-02-29",
            "1900-02-29",
            "2027-13-01",
            "2027-00-10",
            "2027-06-00",
            "2027-06-30-1",
            "+027-06-30",
            "2027-06-3é",
        ] {
            assert_eq!(text.parse::<Date>(), Err(NoDate), "{text}");
        }
    }
}

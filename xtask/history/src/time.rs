//! Points in time as files have them. Pure.

use crate::date::Date;

/// Seconds since 1970 of a whole or broken number of them, or of an RFC 3339 time (`2026-11-01T10:42:00Z`, with an offset, a blank for the
/// `T`, or a date alone). Nothing before 1970, nothing after the year 9999.
pub fn seconds(text: &str) -> Option<u64> {
    const LAST: f64 = 253_402_300_799.0;
    if let Ok(number) = text.parse::<f64>() {
        return (0.0..=LAST).contains(&number).then_some(number as u64);
    }
    let part = |at: std::ops::Range<usize>, within: std::ops::RangeInclusive<i64>| {
        let digits = text.get(at).filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()))?;
        digits.parse::<i64>().ok().filter(|number| within.contains(number))
    };
    let is = |at: usize, signs: &[u8]| text.as_bytes().get(at).is_some_and(|c| signs.contains(c));
    let midnight = text.get(..10)?.parse::<Date>().ok()?.days() * 86_400;
    if midnight < 0 {
        return None;
    }
    if text.len() == 10 {
        return u64::try_from(midnight).ok();
    }
    let (hour, minute, second) =
        (part(11..13, 0..=23)?, part(14..16, 0..=59)?, part(17..19, 0..=60)?);
    if !(is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let zone = text.get(19..)?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let at = text.len() - zone.len();
            let sign = if is(at, b"+") { 1 } else { -1 };
            if !(zone.len() == 6 && is(at, b"+-") && is(at + 3, b":")) {
                return None;
            }
            sign * (part(at + 1..at + 3, 0..=23)? * 3600 + part(at + 4..at + 6, 0..=59)? * 60)
        }
    };
    u64::try_from(midnight + hour * 3600 + minute * 60 + second - offset).ok()
}

/// Seconds since 1970 as `2026-11-01 10:42 UTC` (Hinnant, days to civil).
pub fn utc(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600, seconds % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1793529720"), Some(1_793_529_720));
        assert_eq!(seconds("1793529720.75"), Some(1_793_529_720));
        for same in [
            "2026-11-01T10:42:00Z",
            "2026-11-01 10:42:00.123456z",
            "2026-11-01T12:42:00+02:00",
            "2026-11-01T05:12:00-05:30",
        ] {
            assert_eq!(seconds(same), Some(1_793_529_720), "{same}");
        }
        assert_eq!(seconds("2000-02-29"), Some(951_782_400));
    }

    #[test]
    fn what_is_no_time_is_not() {
        for no in [
            "",
            "-1",
            "nan",
            "inf",
            "1e30",
            "yesterday",
            "2026-02-29",
            "2026-13-01T00:00:00Z",
            "1969-12-31",
            "2026-11-01T10:42:00",
            "2026-11-01T10:42",
            "2026-11-01T10:42:00+0200",
            "2026-11-01T10:42:00.",
            "日本-01-01-01",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(seconds(no), None, "{no}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix in 0u64..253_402_300_799) {
            let written = utc(unix).replace(" UTC", ":00Z");
            prop_assert_eq!(seconds(&written), Some(unix - unix % 60));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,30}") {
            seconds(&text);
        }
    }

    #[test]
    fn times() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(1_793_529_720), "2026-11-01 10:42 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
    }
}

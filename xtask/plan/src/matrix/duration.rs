//! Durations as a matrix writes them: a whole number and a unit, `200ms`. Pure.

use std::time::Duration;

/// Units and their nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration. The error says what a duration looks like.
///
/// # Errors
/// It is none.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let per_unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos);
    match (number.is_empty(), per_unit) {
        (false, Some(per_unit)) => number
            .parse()
            .ok()
            .and_then(|number: u64| number.checked_mul(per_unit))
            .map(Duration::from_nanos)
            .ok_or_else(|| "a duration of more than 500 years".to_owned()),
        (false, None) if unit.is_empty() => Err(format!(
            "`{number}` has no unit: {number}s are seconds, {number}m minutes, {number}h hours"
        )),
        _ => {
            Err("a duration is a whole number and one of the units ns, us, ms, s, m, h: \"200ms\""
                .to_owned())
        }
    }
}

/// Writes a duration in the largest unit that needs no fraction, so that [`parse`] reads it back.
pub fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fits = |per_unit: &u64| nanos > 0 && nanos.is_multiple_of(u128::from(*per_unit));
    let (unit, per_unit) =
        UNITS.iter().rev().find(|(_, per_unit)| fits(per_unit)).unwrap_or(&("ns", 1));
    format!("{}{unit}", nanos / u128::from(*per_unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_with_a_unit() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(show(Duration::from_millis(1500)), "1500ms");
    }

    #[test]
    fn nothing_else() {
        for wrong in
            ["", "5", "ms", "-5ms", "+5ms", "1.5s", "5 ms", " 5ms", "5MS", "1d", "5ms ", "٣ms"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("99999999999999999999s").is_err());
        assert!(parse("18446744073709551615m").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }
    }
}

//! Numbers as people read them. Every figure leaves this module as text; no locale, three significant digits.

use evenkeel_agent::samples::Unit;

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Nanoseconds.
    Time,
    /// Bytes a second, shown as bits a second.
    Rate,
    /// Transactions a second.
    Frequency,
    /// A share in 0..=1, shown in percent.
    Share,
    /// A ratio, shown as `×0.50`.
    Ratio,
    /// A unit that this version does not know: shown as it came.
    Plain,
}

impl Quantity {
    /// The quantity behind a unit as written in `results.json`.
    pub(crate) fn of_symbol(symbol: &str) -> Quantity {
        [Unit::Nanoseconds, Unit::BytesPerSecond, Unit::TransactionsPerSecond]
            .into_iter()
            .find(|unit| unit.symbol() == symbol)
            .map_or(Quantity::Plain, Quantity::of)
    }

    /// The quantity of a unit.
    pub(crate) fn of(unit: Unit) -> Quantity {
        match unit {
            Unit::Nanoseconds => Quantity::Time,
            Unit::BytesPerSecond => Quantity::Rate,
            Unit::TransactionsPerSecond => Quantity::Frequency,
        }
    }

    /// How much of the shown unit one of the stored unit is: bytes are shown as bits.
    pub(crate) fn shown_in_stored(self) -> f64 {
        if self == Quantity::Rate { 8.0 } else { 1.0 }
    }

    /// The value with its unit: `46.3 µs`, `9.41 Gbit/s`, `0.012 %`.
    pub(crate) fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "-".to_owned();
        }
        match self {
            Quantity::Time => scaled(value, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]),
            Quantity::Rate => {
                let bits = value * self.shown_in_stored();
                scaled(bits, &[(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")])
            }
            Quantity::Frequency => format!("{} /s", grouped(value.round().max(0.0) as u64)),
            Quantity::Share => format!("{} %", significant(value * 100.0)),
            Quantity::Ratio => ratio(value),
            Quantity::Plain => significant(value),
        }
    }

    /// The value, or nothing where the count cannot support it.
    pub(crate) fn show_some(self, value: Option<f64>) -> Option<String> {
        value.filter(|value| value.is_finite()).map(|value| self.show(value))
    }
}

/// The value in the largest unit that leaves it at least 1.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fits = |(size, _): &&(f64, &str)| value.abs() >= size * 0.9995;
    let Some((size, name)) = units.iter().find(fits).or(units.last()) else {
        return significant(value);
    };
    format!("{} {name}", significant(value / size))
}

/// Three significant digits, whole above a hundred, without an exponent in the usual range.
pub(crate) fn significant(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.1e}");
    }
    // Round first: 9.996 has two digits before the point once it is rounded.
    let digits = |size: f64| 2 - size.log10().floor() as i32;
    let step = 10f64.powi(-digits(size));
    let places = digits(((size / step).round() * step).max(f64::MIN_POSITIVE));
    format!("{value:.*}", places.max(0) as usize)
}

/// A count with thin groups of three: `1,200,000`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A ratio: `×0.020`, `×1.60`, `×12.5`.
pub(crate) fn ratio(value: f64) -> String {
    format!("×{}", bare_ratio(value))
}

/// An interval of ratios: `[0.010–0.040]`.
pub(crate) fn interval(low: f64, high: f64) -> String {
    format!("[{}–{}]", bare_ratio(low), bare_ratio(high))
}

fn bare_ratio(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "?".to_owned(),
        0.0..0.000_5 if size > 0.0 => "<0.001".to_owned(),
        0.0..0.1 => format!("{value:.3}"),
        0.0..10.0 => format!("{value:.2}"),
        0.0..100.0 => format!("{value:.1}"),
        0.0..1e6 => grouped(value.round() as u64),
        _ => format!("{value:.1e}"),
    }
}

/// A change as a share: `+8.8 %`, `−97.9 %`, `−4,660 %`. Close to all, it keeps what is left: `−99.97 %`, and then says `nearly −100 %`.
pub(crate) fn percent_change(share: f64) -> String {
    let percent = share * 100.0;
    let size = percent.abs();
    let sign = if percent < 0.0 { '−' } else { '+' };
    let text = match size {
        _ if !percent.is_finite() => "?".to_owned(),
        99.0..99.995 => format!("{size:.2}"),
        99.995..100.0 if percent < 0.0 => return "nearly −100 %".to_owned(),
        0.0..999.95 => format!("{size:.1}"),
        999.95..1e5 => grouped(size.round() as u64),
        _ => format!("{size:.1e}"),
    };
    format!("{sign}{text} %")
}

/// A probability: `0.013`, `<0.001`.
pub(crate) fn probability(p: f64) -> String {
    if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") }
}

/// A wall time in nanoseconds as people say it: `4 min 12 s`, `1.2 s`, `35 ms`.
pub(crate) fn wall(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..60 => Quantity::Time.show(ns as f64),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_follow_the_size() {
        let shown = [205.6, 999.96, 46_300.0, 1_096_000.0, 2.5e9].map(|ns| Quantity::Time.show(ns));
        assert_eq!(shown, ["206 ns", "1.00 µs", "46.3 µs", "1.10 ms", "2.50 s"]);
        assert_eq!(Quantity::Rate.show(1_176_250_000.0), "9.41 Gbit/s");
        assert_eq!(Quantity::Rate.show(739_125_000.0 / 8.0), "739 Mbit/s");
        assert_eq!(Quantity::Frequency.show(23_412.4), "23,412 /s");
        assert_eq!(Quantity::Share.show(0.000_12), "0.0120 %");
        assert_eq!(Quantity::Time.show(0.0), "0 ns");
    }

    #[test]
    fn ratios_and_intervals() {
        assert_eq!(ratio(0.02) + " " + &interval(0.01, 0.04), "×0.020 [0.010–0.040]");
        assert_eq!([1.6, 12.51, 2_600.0, 1e-9].map(ratio), ["×1.60", "×12.5", "×2,600", "×<0.001"]);
    }

    #[test]
    fn changes_have_a_sign() {
        let shown = [0.088, -0.979, -46.62, 0.0, 3.5, -0.9997, -0.99999, -1.0, 5.8e5, f64::NAN]
            .map(percent_change);
        let expected = [
            "+8.8 %",
            "−97.9 %",
            "−4,662 %",
            "+0.0 %",
            "+350.0 %",
            "−99.97 %",
            "nearly −100 %",
            "−100.0 %",
            "+5.8e7 %",
            "+? %",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn times() {
        assert_eq!(wall(252_000_000_000), "4 min 12 s");
    }

    proptest! {
        #[test]
        fn three_digits_stay_within_half_a_percent(value in 1e-3f64..9e6) {
            let back: f64 = significant(value).parse().expect("a number");
            prop_assert!((back - value).abs() <= value * 0.005_001);
        }

        #[test]
        fn nothing_panics(value in proptest::num::f64::ANY) {
            for quantity in [Quantity::Time, Quantity::Rate, Quantity::Frequency, Quantity::Share, Quantity::Plain] {
                prop_assert!(!quantity.show(value).is_empty());
            }
            prop_assert!(!ratio(value).is_empty() && !percent_change(value).is_empty());
        }
    }
}

//! Axes: from values to positions in 0..=1, with ticks that a person would choose.

use crate::report::format::Quantity;

/// A range that spans more than this is shown on a logarithmic axis.
pub(super) const DECADE: f64 = 10.0;

/// One axis of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    map: Map,
    low: f64,
    high: f64,
    /// Values and labels of the ticks, ascending.
    pub(crate) ticks: Vec<(f64, String)>,
    /// What the axis shows, for the caption under it.
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Map {
    Linear,
    Log,
    /// The value q lies at -log10(1 - q): 0.9 at 1, 0.99 at 2.
    Nines,
}

impl Map {
    fn apply(self, value: f64) -> f64 {
        match self {
            Map::Linear => value,
            Map::Log => value.max(f64::MIN_POSITIVE).log10(),
            Map::Nines => -(1.0 - value.clamp(0.0, 1.0 - 1e-12)).log10(),
        }
    }
}

impl Scale {
    /// An axis that holds all `values`: logarithmic where they are positive and span more than a decade.
    /// `None` where there is nothing finite to show.
    pub(crate) fn fit(
        name: &str,
        quantity: Quantity,
        values: impl Iterator<Item = f64>,
    ) -> Option<Scale> {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return None;
        }
        let mut scale = if low > 0.0 && high / low > DECADE {
            Scale::log(low, high, quantity)
        } else {
            Scale::linear(low, high, quantity)
        };
        scale.name = name.to_owned();
        if scale.map == Map::Log {
            scale.name.push_str(", log scale");
        }
        Some(scale)
    }

    /// A logarithmic axis of ratios that holds 1 and all `values`, at most so many times larger or smaller than 1.
    pub(crate) fn ratios(name: &str, values: impl Iterator<Item = f64>) -> Scale {
        /// Beyond this an interval says only that it is wide.
        const WIDEST: f64 = 1e4;
        // Some room around 1, so that nothing seems large because all is small.
        let ends = values.filter(|value| *value > 0.0).fold((0.8, 1.25), |(low, high), value| {
            (f64::min(low, value * 0.9), f64::max(high, value * 1.1))
        });
        let (low, high) = (ends.0.max(1.0 / WIDEST), ends.1.min(WIDEST));
        let mut scale = Scale::log(low, high, Quantity::Ratio);
        scale.name = format!("{name}, log scale");
        scale
    }

    fn log(low: f64, high: f64, quantity: Quantity) -> Scale {
        let decades = (high / low).log10();
        let steps: &[f64] = match decades {
            d if d < 0.7 => &[1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 8.5],
            d if d < 1.8 => &[1.0, 2.0, 5.0],
            d if d < 3.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let unit = quantity.shown_in_stored();
        let powers = (low * unit).log10().floor() as i32..=(high * unit).log10().ceil() as i32;
        let ticks = powers
            .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power) / unit))
            .filter(|tick| (low * 0.999..=high * 1.001).contains(tick))
            .map(|tick| (tick, short(quantity.show(tick))))
            .collect();
        Scale { map: Map::Log, low, high, ticks, name: String::new() }
    }

    fn linear(low: f64, high: f64, quantity: Quantity) -> Scale {
        // A flat series gets room around it, a varying one a little less.
        let room = ((high - low) * 0.06).max(high.abs() * 0.005).max(1e-9);
        let (low, high) =
            (if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room);
        let unit = quantity.shown_in_stored();
        let step = nice_step((high - low) * unit / 6.0) / unit;
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        let ticks = (first..=last)
            .map(|n| n as f64 * step)
            .map(|tick| (tick, short(quantity.show(tick))))
            .collect();
        Scale { map: Map::Linear, low, high, ticks, name: String::new() }
    }

    /// A plain axis from 0 to `high` with whole-number labels in `unit`.
    pub(crate) fn from_zero(name: &str, high: f64, label: impl Fn(f64) -> String) -> Scale {
        let high = high.max(1e-9);
        let step = nice_step(high / 4.0);
        let ticks = (0..=(high / step) as i64).map(|n| n as f64 * step);
        let ticks = ticks.map(|tick| (tick, label(tick))).collect();
        Scale { map: Map::Linear, low: 0.0, high, ticks, name: name.to_owned() }
    }

    /// Equal steps, each with its name; some of the names are ticks.
    pub(crate) fn steps(name: &str, names: &[String]) -> Scale {
        let every = names.len().div_ceil(5).max(1);
        let ticks = names.iter().enumerate().step_by(every);
        let ticks = ticks.map(|(at, name)| (at as f64 + 0.5, name.clone())).collect();
        let high = names.len().max(1) as f64;
        Scale { map: Map::Linear, low: 0.0, high, ticks, name: name.to_owned() }
    }

    /// The percentile axis: each further nine takes the same width. `highest` is the largest quantile shown, below 1.
    pub(crate) fn nines(highest: f64) -> Scale {
        const TICKS: [(f64, &str); 7] = [
            (0.5, "50 %"),
            (0.9, "90 %"),
            (0.99, "99 %"),
            (0.999, "99.9 %"),
            (0.9999, "99.99 %"),
            (0.99999, "99.999 %"),
            (0.999999, "99.9999 %"),
        ];
        let reached = TICKS.iter().filter(|(q, _)| *q <= highest);
        let ticks = reached.map(|(q, label)| (*q, (*label).to_owned())).collect();
        let name = "percentile, a nine at each step".to_owned();
        Scale { map: Map::Nines, low: 0.0, high: highest.max(0.9), ticks, name }
    }

    /// Where a value lies, in 0..=1; values outside the range are put at its end.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let (low, high) = (self.map.apply(self.low), self.map.apply(self.high));
        if high <= low {
            return 0.5;
        }
        ((self.map.apply(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// The step of 1, 2 or 5 times a power of ten that is at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough * 0.999)
        .unwrap_or(10.0 * power)
}

/// A tick's label without digits that say nothing: `10.0 µs` is `10 µs`.
fn short(label: String) -> String {
    let Some((number, unit)) = label.split_once(' ') else {
        return label;
    };
    if number.contains('.') {
        return format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'));
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn decades_get_a_log_axis() {
        let scale =
            Scale::fit("latency", Quantity::Time, [4e3, 3.5e6].into_iter()).expect("values");
        assert_eq!(labels(&scale), ["10 µs", "30 µs", "100 µs", "300 µs", "1 ms", "3 ms"]);
        assert_eq!(scale.name, "latency, log scale");
        let scale = Scale::fit("rate", Quantity::Rate, [1.1e9, 1.2e9].into_iter()).expect("values");
        assert_eq!(
            labels(&scale),
            ["8.8 Gbit/s", "9 Gbit/s", "9.2 Gbit/s", "9.4 Gbit/s", "9.6 Gbit/s"]
        );
    }

    #[test]
    fn ratios_have_one_on_their_axis_and_a_bound() {
        let small = Scale::ratios("with / without", [0.97, 1.02].into_iter());
        assert_eq!(labels(&small), ["×0.85", "×1.00", "×1.20"]);
        let wide = Scale::ratios("with / without", [1e-9, 0.5, f64::INFINITY].into_iter());
        assert_eq!((wide.place(1e-9), wide.place(f64::INFINITY)), (0.0, 1.0));
        assert!((wide.place(1.0) - 0.5).abs() < 1e-9, "{wide:?}");
    }

    #[test]
    fn each_nine_takes_the_same_width() {
        let scale = Scale::nines(0.999);
        assert_eq!(labels(&scale), ["50 %", "90 %", "99 %", "99.9 %"]);
        assert!((scale.place(0.9) - 1.0 / 3.0).abs() < 1e-9);
        assert!((scale.place(0.99) - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_show_is_no_axis() {
        assert!(Scale::fit("x", Quantity::Time, [f64::NAN].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn every_value_lies_on_its_axis(values in proptest::collection::vec(1e-3f64..1e12, 1..20)) {
            let scale = Scale::fit("x", Quantity::Time, values.iter().copied()).expect("values");
            prop_assert!(scale.ticks.len() <= 14, "{:?}", scale.ticks);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let places: Vec<f64> = sorted.iter().map(|v| scale.place(*v)).collect();
            prop_assert!(places.iter().all(|p| (0.0..=1.0).contains(p)));
            prop_assert!(places.is_sorted());
        }
    }
}

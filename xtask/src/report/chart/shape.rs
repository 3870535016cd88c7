//! The shape of a distribution, where modes are peaks.

use super::figures::{keys, overlay};
use super::scale::DECADE;
use super::{Chart, Rows, Scale, Series, draw};
use crate::report::format::Quantity;

/// Slots that the middle of the distribution is counted in.
const SLOTS: usize = 64;

/// Steps of the cumulative distribution that is spread over them.
const STEPS: usize = 400;

/// What lies outside of these shares of observations is the tail's, which the percentile curve shows.
const SHOWN: [f64; 2] = [0.002, 0.995];

/// The share of observations in each of even slots, even on the axis as it is drawn. Nothing where all are equal.
pub(crate) fn density(
    workload: &str,
    quantity: Quantity,
    series: &[Series<'_>],
) -> anyhow::Result<Option<Chart>> {
    let curves: Vec<Vec<f64>> = series
        .iter()
        .map(|side| side.pooled.ecdf(STEPS).into_iter().map(|(value, _)| value).collect())
        .collect();
    let at = |curve: &Vec<f64>, share: f64| curve[((STEPS - 1) as f64 * share).round() as usize];
    let low = curves.iter().map(|curve| at(curve, SHOWN[0])).fold(f64::INFINITY, f64::min);
    let high = curves.iter().map(|curve| at(curve, SHOWN[1])).fold(0.0, f64::max);
    if !(low > 0.0 && high.is_finite() && low < high) {
        return Ok(None);
    }
    let logarithmic = high / low > DECADE;
    let map = |value: f64| if logarithmic { value.ln() } else { value };
    let back = |place: f64| if logarithmic { place.exp() } else { place };
    let (from, width) = (map(low), (map(high) - map(low)) / SLOTS as f64);
    let outlines: Vec<Vec<(f64, f64)>> = curves
        .iter()
        .map(|curve| {
            let places: Vec<f64> =
                curve.iter().map(|v| (map(v.max(low / 2.0)) - from) / width).collect();
            outline(&spread(&places), |slot| back(from + slot as f64 * width))
        })
        .collect();
    let name = if quantity == Quantity::Time { "latency" } else { "rate" };
    let Some(x) = Scale::fit(name, quantity, [low, high].into_iter()) else { return Ok(None) };
    let most = outlines.iter().flatten().map(|(_, share)| *share).fold(0.0, f64::max);
    let y = Scale::from_zero("share", most, |share| Quantity::Share.show(share));
    let (view_box, marks) = draw(&x, &Rows::Scale(y), &overlay(outlines))?;
    Ok(Some(Chart {
        title: format!("{workload}: shape, without the tail"),
        text: "The share of observations in each of even slots. Each peak is a mode: two that are apart mean that the path has two ways to behave."
            .to_owned(),
        keys: keys(series),
        view_box,
        marks,
    }))
}

/// The share in each slot, where between two neighbouring places lies the same share, evenly.
fn spread(places: &[f64]) -> Vec<f64> {
    let mut slots = vec![0.0; SLOTS];
    let share = 1.0 / places.len().saturating_sub(1).max(1) as f64;
    for pair in places.windows(2) {
        let [low, high] = [pair[0], pair[1]].map(|place| place.clamp(-1.0, SLOTS as f64 + 1.0));
        if high - low < 1e-9 {
            if let Some(slot) = slots.get_mut(low.max(0.0) as usize).filter(|_| low >= 0.0) {
                *slot += share;
            }
            continue;
        }
        for (at, slot) in slots.iter_mut().enumerate() {
            let inside = high.min(at as f64 + 1.0) - low.max(at as f64);
            *slot += share * inside.max(0.0) / (high - low);
        }
    }
    slots
}

/// Slots as steps.
fn outline(slots: &[f64], edge: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    let steps = slots.iter().enumerate();
    let mut points = vec![(edge(0), 0.0)];
    points.extend(steps.flat_map(|(at, share)| [(edge(at), *share), (edge(at + 1), *share)]));
    points.push((edge(slots.len()), 0.0));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread_and_none_is_made() {
        let even: Vec<f64> = (0..=SLOTS).map(|at| at as f64).collect();
        let slots = spread(&even);
        assert!(slots.iter().all(|share| (share * SLOTS as f64 - 1.0).abs() < 1e-9), "{slots:?}");
        // What lies in one place stays there; what lies outside is in no slot.
        let slots = spread(&[-5.0, 3.0, 3.0, 3.0, 90.0]);
        assert!(slots[3] >= 0.5 && slots.iter().sum::<f64>() < 1.0, "{slots:?}");
        assert_eq!(outline(&[0.5, 0.5], |at| at as f64).len(), 6);
    }
}

//! One number of each fresh start for each aspect: logarithms, larger is worse.

use evenkeel_agent::samples::Unit;
use evenkeel_stats::interval::{NoInterval, log_sd_pseudo_values};
use evenkeel_stats::modes::dip;
use evenkeel_stats::moments::Moments;

use super::Aspect;
use super::policy::Policy;
use super::sentence::counted;
use super::tested::Observation;
use super::units::{Layer, Value, observations};
use crate::record::Record;
use crate::record::figures::{Judged, in_words, threshold};
use crate::report::Quantity;

/// A boot with what one workload left in it.
pub(super) struct Start<'a> {
    pub(super) record: &'a Record,
    pub(super) judged: Judged,
}

/// Both sides of one aspect, as numbers.
#[derive(Debug)]
pub(super) struct Series {
    /// The figure that stands for the aspect.
    pub(super) figure: &'static str,
    pub(super) base: Vec<Observation>,
    pub(super) candidate: Vec<Observation>,
    /// Whether a larger figure is better: the logarithms were turned round.
    pub(super) turned: bool,
    /// What must be known of it.
    pub(super) notes: Vec<String>,
}

/// Why there is nothing to test.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untested {
    /// What the aspect is about did not happen in any boot of either side.
    Quiet(&'static str, String),
    /// It cannot be told.
    Unknown(Option<&'static str>, String),
}

/// The name of a figure, and what it is of a boot.
type Figure = (&'static str, fn(&Judged) -> Option<f64>);

/// The numbers of an aspect of boots that have one unit.
pub(super) fn series(
    aspect: Aspect,
    sides: [&[Start<'_>]; 2],
    unit: Unit,
    layer: Layer,
    policy: &Policy,
) -> Result<Series, Untested> {
    let is_latency = unit == Unit::Nanoseconds;
    match aspect {
        Aspect::Outcome => Err(Untested::Unknown(None, "an outcome has no figure".to_owned())),
        Aspect::Location => {
            plain(("median", |boot| boot.figures.median), sides, layer, !is_latency)
        }
        Aspect::Dispersion => plain(("mad", |boot| boot.figures.mad), sides, layer, false),
        Aspect::Tail => {
            let far: Figure = ("jitter", |boot| boot.figures.jitter);
            let near: Figure = match is_latency {
                true => ("worst_tenth", |boot| worst_tenth(boot.curve.iter().rev())),
                false => ("worst_tenth", |boot| worst_tenth(boot.curve.iter())),
            };
            // Windows of rates are too few for p1: a mean does with fewer than a quantile.
            let supported = |figure: Figure| {
                sides.iter().all(|side| side.iter().all(|start| figure.1(&start.judged).is_some()))
            };
            plain(if supported(far) { far } else { near }, sides, layer, false)
        }
        Aspect::Stall => stall(sides, layer),
        Aspect::Modes => modes(sides, unit, layer, policy),
        Aspect::BetweenBoot => between(sides, layer),
    }
}

/// The standard deviations inside boots.
pub(super) fn sds(sides: [&[Start<'_>]; 2], layer: Layer) -> Result<Series, Untested> {
    plain(("sd_within", |boot| boot.figures.sd), sides, layer, false)
}

/// The logarithm of a figure.
fn plain(
    (figure, of): Figure,
    sides: [&[Start<'_>]; 2],
    layer: Layer,
    turned: bool,
) -> Result<Series, Untested> {
    let mut notes = Vec::new();
    let mut numbers = Vec::new();
    for side in sides {
        let found = side.iter().filter_map(|start| Some((start.record, of(&start.judged)?)));
        let found: Vec<(&Record, f64)> = found.collect();
        if let Some((record, value)) = found.iter().find(|(_, value)| *value <= 0.0) {
            let reason =
                format!("{} of boot {} is {value}: it has no ratio", in_words(figure), record.boot);
            return Err(Untested::Unknown(Some(figure), reason));
        }
        if found.len() < side.len() {
            let lacking = side.len() - found.len();
            notes.push(format!(
                "{lacking} of {} boots have too few observations for {}",
                side.len(),
                in_words(figure)
            ));
        }
        let sign = if turned { -1.0 } else { 1.0 };
        let value = |(record, value): (_, f64)| Value { record, log: sign * value.ln() };
        numbers.push(observed(&found.into_iter().map(value).collect::<Vec<_>>(), layer));
    }
    finish(figure, numbers, turned, notes)
}

/// Distance of the mean of the worst tenth from the median, of values of which the worst come first. `None` with fewer than twenty, of
/// which the tenth would be one.
fn worst_tenth<'v>(worst_first: impl ExactSizeIterator<Item = &'v f64> + Clone) -> Option<f64> {
    let count = worst_first.len();
    let tenth = count / 10;
    if tenth < 2 {
        return None;
    }
    let sum_of =
        |skip: usize, take: usize| -> f64 { worst_first.clone().skip(skip).take(take).sum() };
    // Two about the middle of an even count, one of an odd one.
    let middle = sum_of((count - 1) / 2, 2 - count % 2) / (2 - count % 2) as f64;
    Some((middle - sum_of(0, tenth) / tenth as f64).abs())
}

/// Shares of time in stalls. Most boots have none, and nothing has no logarithm: it counts as one stall of the shortest length, in the
/// shortest boot of both sides, so that boots without stalls are equal. That draws ratios towards 1, never away from it.
fn stall(sides: [&[Start<'_>]; 2], layer: Layer) -> Result<Series, Untested> {
    const FIGURE: &str = "stall_share";
    let all = || sides.iter().flat_map(|side| side.iter());
    let floors = all().filter_map(|start| start.judged.figures.stall_floor);
    let floor = floors.fold(0.0, f64::max);
    let stalled = |start: &&Start<'_>| start.judged.figures.stall_share.is_some_and(|s| s > 0.0);
    let counts = sides.map(|side| side.iter().filter(stalled).count());
    if floor <= 0.0 {
        let reason = "the boots do not tell how long their transactions took".to_owned();
        return Err(Untested::Unknown(Some(FIGURE), reason));
    }
    if counts == [0, 0] {
        return Err(Untested::Quiet(FIGURE, format!("no transaction longer than {}", threshold())));
    }
    let note = format!(
        "stalls in {} of {} boots of the base and {} of {} of the candidate",
        counts[0],
        sides[0].len(),
        counts[1],
        sides[1].len()
    );
    let numbers = sides.map(|side| {
        let values = side.iter().filter_map(|start| {
            let share = start.judged.figures.stall_share?;
            Some(Value { record: start.record, log: share.max(floor).ln() })
        });
        observed(&values.collect::<Vec<_>>(), layer)
    });
    finish(FIGURE, numbers.to_vec(), false, vec![note])
}

/// The least share of observations that lie apart from one mode: twice the dip. Below the policy's share, or what chance makes of so few
/// observations, a boot has one mode, and all such boots are equal.
fn modes(
    sides: [&[Start<'_>]; 2],
    unit: Unit,
    layer: Layer,
    policy: &Policy,
) -> Result<Series, Untested> {
    const FIGURE: &str = "mode_share";
    let mut floor = policy.mode_share;
    let mut found: [Vec<(&Record, f64)>; 2] = [Vec::new(), Vec::new()];
    for (side, found) in sides.iter().zip(&mut found) {
        for start in *side {
            let Some(dip) = dip(&start.judged.curve) else { continue };
            floor = floor.max(2.0 * CHANCE / (start.judged.curve.len() as f64).sqrt());
            found.push((start.record, 2.0 * dip));
        }
    }
    let above =
        |side: &Vec<(&Record, f64)>| side.iter().filter(|(_, share)| *share > floor).count();
    let counts = [above(&found[0]), above(&found[1])];
    if found.iter().any(Vec::is_empty) {
        let reason = "a boot has too few observations to tell modes".to_owned();
        return Err(Untested::Unknown(Some(FIGURE), reason));
    }
    if counts == [0, 0] {
        return Err(Untested::Quiet(FIGURE, "one mode".to_owned()));
    }
    let mut notes = vec![format!(
        "more than one mode in {} of {} boots of the base and {} of {} of the candidate",
        counts[0],
        found[0].len(),
        counts[1],
        found[1].len()
    )];
    // Where they lie, in the boot that shows it best.
    let largest = |side: &[Start<'_>]| {
        let starts = side.iter().filter_map(|start| Some((dip(&start.judged.curve)?, start)));
        let (dip, start) = starts.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (2.0 * dip > floor).then(|| parts(&start.judged.curve))?
    };
    let [base, candidate] = sides.map(largest);
    for (side, parts) in [("base", base), ("candidate", candidate)] {
        if let Some([low, high]) = parts {
            let [low, high] = [low, high].map(|value| Quantity::of(unit).show(value));
            notes.push(format!("the {side}'s lie about {low} and {high}"));
        }
    }
    let numbers = found.map(|side| {
        let value = |(record, share): (_, f64)| Value { record, log: share.max(floor).ln() };
        observed(&side.into_iter().map(value).collect::<Vec<_>>(), layer)
    });
    finish(FIGURE, numbers.to_vec(), false, notes)
}

/// The dip of `n` observations of one mode is above this over `sqrt(n)` once in a hundred times at most: simulated, 0.57 for 50 and 0.60
/// for 400 of the uniform law, which is the worst case, 0.45 and 0.41 of the normal one.
const CHANCE: f64 = 0.6;

/// The medians of the two parts into which values, in ascending order, fall apart best (Otsu 1979: the cut with the largest variance
/// between the parts).
fn parts(sorted: &[f64]) -> Option<[f64; 2]> {
    let logs: Vec<f64> = sorted.iter().map(|value| value.max(f64::MIN_POSITIVE).ln()).collect();
    let total: f64 = logs.iter().sum();
    let mut below = 0.0;
    let cuts = (1..logs.len()).map(|cut| {
        below += logs[cut - 1];
        let (low, high) = (cut as f64, (logs.len() - cut) as f64);
        let apart = (total - below) / high - below / low;
        (low * high * apart * apart, cut)
    });
    let (_, cut) = cuts.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some([sorted[cut / 2], sorted[cut + (sorted.len() - cut) / 2]])
}

/// The spread of boots' medians, a pseudo-value each: they vary as the logarithm of the standard deviation does.
fn between(sides: [&[Start<'_>]; 2], layer: Layer) -> Result<Series, Untested> {
    const FIGURE: &str = "sd_between";
    let located = plain(("median", |boot| boot.figures.median), sides, layer, false)?;
    let spread = |side: &[Observation]| {
        let values: Vec<f64> = side.iter().map(|observation| observation.value).collect();
        let pseudo = log_sd_pseudo_values(&values)
            .map_err(|reason| Untested::Unknown(Some(FIGURE), unspread(reason, values.len())))?;
        // About the plain figure: of a boot that lies far off, their mean is a number that nobody would recognise.
        let plain = Moments::of(&values).sd().map_or(0.0, f64::ln);
        let shift = plain - Moments::of(&pseudo).mean;
        let moved = side.iter().zip(pseudo);
        let moved = moved.map(|(at, value)| Observation { block: at.block, value: value + shift });
        Ok(moved.collect::<Vec<_>>())
    };
    let numbers = vec![spread(&located.base)?, spread(&located.candidate)?];
    finish(FIGURE, numbers, false, located.notes)
}

/// Why boots of a side have no spread.
fn unspread(reason: NoInterval, boots: usize) -> String {
    match reason {
        NoInterval::TooFew => {
            format!("no ratio: a side has {}, and a spread takes 3", counted(boots, "boot"))
        }
        NoInterval::NotPositive | NoInterval::NoSpread => format!("no ratio: {reason}"),
    }
}

fn observed(values: &[Value<'_>], layer: Layer) -> Vec<Observation> {
    let units = observations(values, layer).into_iter();
    units.map(|(block, value)| Observation { block, value }).collect()
}

fn finish(
    figure: &'static str,
    numbers: Vec<Vec<Observation>>,
    turned: bool,
    notes: Vec<String>,
) -> Result<Series, Untested> {
    match <[Vec<Observation>; 2]>::try_from(numbers) {
        Ok([base, candidate]) if !base.is_empty() && !candidate.is_empty() => {
            Ok(Series { figure, base, candidate, turned, notes })
        }
        _ => {
            let reason = format!("boots have too few observations for {}", in_words(figure));
            Err(Untested::Unknown(Some(figure), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_tenth_is_a_mean_from_either_end() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        // np.median(v) - np.mean(v[:10]), np.mean(v[-10:]) - np.median(v)
        assert_eq!(worst_tenth(values.iter()), Some(45.0));
        assert_eq!(worst_tenth(values.iter().rev()), Some(45.0));
        assert_eq!(worst_tenth(values[..21].iter()), Some(9.5));
        assert_eq!(worst_tenth(values[..19].iter()), None);
    }

    #[test]
    fn two_parts_are_told_by_their_medians() {
        let values: Vec<f64> = (0..60).map(|at| if at < 40 { 20.0 } else { 55.0 }).collect();
        assert_eq!(parts(&values), Some([20.0, 55.0]));
        assert_eq!(parts(&[1.0]), None);
    }
}

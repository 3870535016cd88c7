//! Rows of the table, and how they print.

use std::fmt;

use evenkeel_stats::interval::{self, Interval};
use evenkeel_stats::quantile::median;
use serde::Serialize;

/// Seed of the bootstrap: the same figures give the same interval.
const SEED: u64 = 1;

/// What a value must be.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Must {
    /// The lower end of the interval at least this.
    LowAtLeast(f64),
    /// The estimate at least this.
    AtLeast(f64),
    /// The estimate at most this.
    AtMost(f64),
    /// The upper end of the interval at most this: it is proven.
    HighAtMost(f64),
    /// The lower end of the interval at most this: nothing speaks against it.
    LowAtMost(f64),
}

/// A value with the ends of its 95 % confidence interval, where boots vary.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// The estimate, in the row's unit.
    pub(super) value: f64,
    /// Lower and upper end.
    pub(super) interval: Option<[f64; 2]>,
}

impl From<Interval> for Measured {
    fn from(of: Interval) -> Measured {
        Measured { value: of.estimate, interval: Some([of.low, of.high]) }
    }
}

/// A row.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What.
    pub(super) what: String,
    /// Unit of the value; empty for a ratio.
    pub(super) unit: &'static str,
    /// The value; absent where it could not be measured here.
    pub(super) measured: Option<Measured>,
    /// What it must be; absent for a row that only informs.
    pub(super) must: Option<Must>,
    /// Whether it is.
    pub(super) met: Option<bool>,
    /// What else was seen, or why nothing was.
    pub(super) note: String,
}

impl Row {
    /// A row with a value.
    pub(super) fn new(
        what: &str,
        unit: &'static str,
        measured: Measured,
        must: impl Into<Option<Must>>,
        note: String,
    ) -> Row {
        let low = measured.interval.map_or(measured.value, |[low, _]| low);
        let high = measured.interval.map_or(measured.value, |[_, high]| high);
        let must = must.into();
        let met = must.map(|must| match must {
            Must::LowAtLeast(least) => low >= least,
            Must::AtLeast(least) => measured.value >= least,
            Must::AtMost(most) => measured.value <= most,
            Must::HighAtMost(most) => high <= most,
            Must::LowAtMost(most) => low <= most,
        });
        Row { what: what.to_owned(), unit, measured: Some(measured), must, met, note }
    }

    /// The median of ratios within boots, which a boot that the host disturbed does not move.
    pub(super) fn ratio(
        what: &str,
        ratios: &[f64],
        must: impl Into<Option<Must>>,
        note: String,
    ) -> Row {
        match interval::median(ratios) {
            Ok(of) => Row::new(what, "", of.into(), must, note),
            Err(why) => Row::missing(what, must, format!("no interval: {why}")),
        }
    }

    /// The ratio of geometric means of two groups of figures.
    pub(super) fn ratio_of(
        what: &str,
        from: &[f64],
        to: &[f64],
        must: impl Into<Option<Must>>,
        note: String,
    ) -> Row {
        match interval::ratio(from, to, SEED) {
            Ok(of) => Row::new(what, "", of.into(), must, note),
            Err(why) => Row::missing(what, must, format!("no interval: {why}")),
        }
    }

    /// The geometric mean of one figure a boot.
    pub(super) fn mean(
        what: &str,
        unit: &'static str,
        values: &[f64],
        must: impl Into<Option<Must>>,
        note: String,
    ) -> Row {
        match interval::geometric_mean(values, SEED) {
            Ok(of) => Row::new(what, unit, of.into(), must, note),
            Err(why) => Row::missing(what, must, format!("no interval: {why}")),
        }
    }

    /// A row that could not be measured, and why.
    pub(super) fn missing(what: &str, must: impl Into<Option<Must>>, note: String) -> Row {
        let what = what.to_owned();
        Row { what, unit: "", measured: None, must: must.into(), met: None, note }
    }
}

/// A median in a note, with one digit; a dash where there is none.
pub(super) fn middle(values: &[f64]) -> String {
    median(values).map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

/// All rows.
#[derive(Serialize, Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// The rows.
    pub(super) rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["what", "measured", "95 % interval", "must be", "met"].map(str::to_owned);
        let lines: Vec<[String; 5]> =
            std::iter::once(heading).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        for (line, row) in lines.iter().zip(std::iter::once(None).chain(self.rows.iter().map(Some)))
        {
            let [what, measured, interval, must, met] = line;
            let [a, b, c, d, _] = widths;
            writeln!(f, "{what:a$}  {measured:>b$}  {interval:>c$}  {must:>d$}  {met}")?;
            if let Some(row) = row.filter(|row| !row.note.is_empty()) {
                writeln!(f, "    {}", row.note)?;
            }
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 5] {
    let number = |value: f64| match row.unit {
        "" => format!("{value:.3}"),
        unit => format!("{value:.1} {unit}"),
    };
    let bare = |value: f64| number(value).trim_end_matches(row.unit).trim().to_owned();
    [
        row.what.clone(),
        row.measured.map_or_else(|| "not measured".to_owned(), |m| number(m.value)),
        row.measured
            .and_then(|m| m.interval)
            .map_or_else(String::new, |[low, high]| format!("{} .. {}", bare(low), bare(high))),
        match row.must {
            None => String::new(),
            Some(Must::LowAtLeast(least)) => format!("low end >= {least}"),
            Some(Must::AtLeast(least)) => format!(">= {least}"),
            Some(Must::AtMost(most)) => format!("<= {most}"),
            Some(Must::HighAtMost(most)) => format!("high end <= {most}"),
            Some(Must::LowAtMost(most)) => format!("low end <= {most}"),
        },
        match row.met {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        }
        .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_met_by_the_low_end_and_costs_by_the_estimate() {
        let measured = Measured { value: 1.0, interval: Some([0.97, 1.03]) };
        let met = |must| Row::new("x", "", measured, must, String::new()).met;
        assert_eq!(met(Must::LowAtLeast(0.98)), Some(false));
        assert_eq!(met(Must::AtLeast(0.98)), Some(true));
        assert_eq!(met(Must::AtMost(1.0)), Some(true));
        assert_eq!(met(Must::AtMost(0.99)), Some(false));
        assert_eq!(met(Must::HighAtMost(1.0)), Some(false));
        assert_eq!(met(Must::LowAtMost(0.98)), Some(true));
    }

    #[test]
    fn what_was_not_measured_is_no_number() {
        let row = Row::ratio("x", &[1.0], Must::AtMost(1.2), String::new());
        assert_eq!((row.measured, row.met), (None, None));
        let (must, note) = (Must::AtMost(150.0), "no docker".to_owned());
        let slow = Row::mean("slow", "ms", &[100.0, 121.0], must, "a note".to_owned());
        let table = Table { rows: vec![slow, Row::missing("x", must, note)] };
        insta::assert_snapshot!(table.to_string(), @r"
        what      measured  95 % interval  must be  met
        slow      110.0 ms  32.8 .. 369.3   <= 150  yes
            a note
        x     not measured                  <= 150  -
            no docker
        ");
    }
}

//! False alarms of real boots: what `calibrate` keeps of this host.

use std::time::Duration;

use evenkeel_agent::state::StateDir;

use super::super::table::{Must, Row};
use super::percent;
use crate::artifact::cache::Cache;
use crate::calibrate::{Kept, kept};
use crate::plan::human;
use crate::run::host::Host;
use crate::verdict::policy;
use crate::wrong::wrong;

/// The promise, percent.
const MOST: f64 = 1.0;

/// A row of each way of taking boots that was calibrated on this host, by the policy that is found here.
pub(super) fn rows() -> anyhow::Result<Vec<Row>> {
    let facts = Host::look(&Cache::open()?).facts;
    let policy = policy::find(None).map_err(wrong)?;
    Ok(told(&kept(&StateDir::of_user()?, &facts, &policy)?))
}

fn told(kept: &[Kept]) -> Vec<Row> {
    if kept.is_empty() {
        let why = "none stored for this host, this version and its policy: `cargo xtask calibrate` measures and keeps them";
        let what = "real boots against themselves: run with a false alarm";
        return vec![Row::missing(what, Must::HighAtMost(MOST), why.to_owned())];
    }
    kept.iter().map(row).collect()
}

fn row(kept: &Kept) -> Row {
    let Kept { by_policy, quick, rate, took, matrices } = kept;
    let boots = if *by_policy { "boots by the policy" } else { "a fixed number of boots" };
    let quick = if *quick { ", quick" } else { "" };
    let what = format!("real boots against themselves, {boots}{quick}: run with a false alarm");
    let took = match *took {
        Duration::ZERO => String::new(),
        took => format!(", which took {}", human(took)),
    };
    let note = format!("{rate}; of {}{took}", matrices.join(", "));
    if rate.runs == 0 {
        return Row::missing(&what, Must::HighAtMost(MOST), note);
    }
    let measured = percent(rate.flagged as usize, rate.runs as usize);
    Row::new(&what, "%", measured, Must::HighAtMost(MOST), note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::AlarmRate;

    #[test]
    fn what_is_kept_is_told_with_what_it_proves() {
        let none = told(&[]);
        assert!(none[0].measured.is_none() && none[0].note.contains("cargo xtask calibrate"));
        let kept = Kept {
            by_policy: true,
            quick: false,
            rate: AlarmRate { runs: 12, flagged: 0, void: 1 },
            took: Duration::from_secs(7200),
            matrices: vec!["smoke".into()],
        };
        let [row] = &told(std::slice::from_ref(&kept))[..] else { panic!() };
        assert_eq!(
            row.what,
            "real boots against themselves, boots by the policy: run with a false alarm"
        );
        insta::assert_snapshot!(row.note, @"0 of 12 runs flagged: below 22.1 % with 95 % confidence; 1 more was void; of smoke, which took 2 h");
        let measured = row.measured.unwrap();
        // Of none the bound is one-sided: scipy.stats.beta.ppf(.95, 1, 12)
        assert!((measured.interval.unwrap()[1] - 22.092).abs() < 0.001, "{measured:?}");
        assert_eq!((measured.value, row.met), (0.0, Some(false)));
        // Runs that were void say nothing.
        let void = Kept { rate: AlarmRate { runs: 0, flagged: 0, void: 3 }, ..kept };
        assert!(told(&[void])[0].measured.is_none());
    }
}

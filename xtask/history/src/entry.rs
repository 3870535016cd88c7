//! One line of the history: what a run says of each aspect of each workload. Pure.

use std::borrow::Cow;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Version of a line.
pub const SCHEMA: u32 = 1;

/// Logarithms beyond this are no figures: a nanosecond is to the age of the universe as 1 to e^61.
const LARGEST_LOG: f64 = 100.0;

/// A run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Entry<'t> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it began, seconds since 1970.
    pub time: u64,
    /// What was measured, where that is known.
    pub commit: Option<Cow<'t, str>>,
    /// Whether there were changes that the commit does not hold.
    #[serde(default)]
    pub dirty: bool,
    /// The run's tag.
    #[serde(borrow)]
    pub run: Cow<'t, str>,
    /// A name, such as that of a release: a run with a name is never dropped, and drift is measured from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Cow<'t, str>>,
    /// Cells by instrument.
    #[serde(borrow)]
    pub cells: Vec<CellEntry<'t>>,
}

/// A cell under one instrument.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CellEntry<'t> {
    /// Its id.
    #[serde(borrow)]
    pub cell: Cow<'t, str>,
    /// The instrument.
    #[serde(borrow)]
    pub fingerprint: Cow<'t, str>,
    /// Its figures.
    #[serde(borrow)]
    pub figures: Vec<Figure<'t>>,
}

/// One aspect of one workload: the mean of the logarithms of its boots' figures.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Figure<'t> {
    /// The workload.
    #[serde(borrow)]
    pub workload: Cow<'t, str>,
    /// `location`, `dispersion`, `tail`, `stall`, `between-boot`.
    #[serde(borrow)]
    pub aspect: Cow<'t, str>,
    /// The figure that stands for it.
    #[serde(borrow)]
    pub figure: Cow<'t, str>,
    /// The unit of its exponential.
    #[serde(borrow)]
    pub unit: Cow<'t, str>,
    /// Whether more is better, as for rates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub higher_is_better: bool,
    /// Boots that have it.
    pub boots: u32,
    /// Mean of natural logarithms.
    pub log: f64,
    /// Its standard error over boots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

impl Entry<'_> {
    /// Whether its numbers can be true.
    ///
    /// # Errors
    /// One cannot; names it.
    pub fn check(&self) -> Result<()> {
        for of in &self.cells {
            for Figure { workload, figure, log, error, .. } in &of.figures {
                ensure!(
                    log.abs() <= LARGEST_LOG
                        && error.is_none_or(|error| (0.0..=LARGEST_LOG).contains(&error)),
                    "{figure} of {workload} in `{}` is no logarithm of a figure: {log:e}",
                    of.cell
                );
            }
        }
        Ok(())
    }
}

/// All that is read of a line to keep it.
#[derive(Deserialize, Clone, Debug, PartialEq)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: u32,
    /// As [`Entry::time`].
    pub time: u64,
    /// As [`Entry::commit`].
    pub commit: Option<String>,
    /// As [`Entry::run`].
    pub run: String,
    /// As [`Entry::mark`].
    #[serde(default)]
    pub mark: Option<String>,
}

/// Which of so many lines stay where at most `most` may: of the older half of the lines without a mark, every second is dropped, the
/// oldest first, until there are no more than `most` or no line without a mark is left to drop.
pub fn thinned(marked: &[bool], most: usize) -> Vec<bool> {
    let mut stays = vec![true; marked.len()];
    loop {
        let count = stays.iter().filter(|stays| **stays).count();
        let open: Vec<usize> = (0..marked.len()).filter(|&at| stays[at] && !marked[at]).collect();
        if count <= most || open.len() < 2 {
            return stays;
        }
        for &at in open[..open.len().div_ceil(2)].iter().step_by(2).take(count - most) {
            stays[at] = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn old_lines_get_sparse_and_new_ones_stay() {
        let stay = |count: usize, most| -> Vec<usize> {
            let stays = thinned(&vec![false; count], most);
            (0..count).filter(|&at| stays[at]).collect()
        };
        assert_eq!(stay(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(stay(9, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(stay(12, 8), [3, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(thinned(&[true, true, true], 1), [true, true, true]);
    }

    proptest! {
        #[test]
        fn marks_stay_and_the_rest_is_bounded(marked in prop::collection::vec(any::<bool>(), 0..60), most in 2..40usize) {
            let stays = thinned(&marked, most);
            let kept = stays.iter().filter(|stays| **stays).count();
            let marks = marked.iter().filter(|marked| **marked).count();
            prop_assert!(marked.iter().zip(&stays).all(|(marked, stays)| !marked || *stays));
            prop_assert!(kept <= most.max(marks + 1));
            prop_assert!(kept >= most.min(marked.len()));
        }
    }
}

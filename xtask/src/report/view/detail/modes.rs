//! Whether the starts of a cell had one mode or more, as a row of its figures.

use evenkeel_stats::modes::dip;

use super::super::source::Source;
use super::FigureRow;
use crate::record::figures;
use crate::record::results::CellResult;
use crate::report::format::Quantity;

/// The largest share of one boot's observations that lie apart from one mode: twice the dip. One mode alone shows some, the more the fewer it was
/// observed by; what counts as a second one, the policy says.
pub(super) fn row(source: &Source<'_>, cell: &CellResult) -> FigureRow {
    let largest = |workload: &str| {
        let samples = source.samples(&cell.id, workload);
        let shares = samples.iter().filter_map(|samples| {
            let judged = figures::judged(samples).ok()?;
            Some(2.0 * dip(&judged.curve)?)
        });
        Quantity::Share.show_some(shares.reduce(f64::max))
    };
    FigureRow {
        name: "apart from one mode",
        title: "largest share of a boot's observations that lie apart from one mode: twice the dip (Hartigan and Hartigan 1985)",
        values: cell.workloads.iter().map(|workload| largest(&workload.name)).collect(),
    }
}

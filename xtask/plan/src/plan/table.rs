//! The plan for people: what will run, and the rest by reason, each reason and remedy once. Pure.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::status::Status;
use super::{GateCost, Plan, Planned, human};
use crate::matrix::{Axis, printable};

/// A plan as a table. Ends with a line break.
#[derive(Debug)]
pub struct Table<'p>(pub &'p Plan<'p>);

/// Cells with the same status, in the order of the plan.
struct Group<'p> {
    status: &'p Status,
    cells: Vec<&'p Planned<'p>>,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        let groups = groups(&plan.cells);
        write!(f, "matrix {}", plan.matrix.name)?;
        if let Some(shard) = plan.options.shard {
            write!(f, ", shard {shard}")?;
        }
        writeln!(f, ": {}", counts(&plan.cells))?;
        let is_empty = plan.boot_count() == 0;
        if is_empty && !plan.cells.is_empty() {
            writeln!(f, "no cell can be measured here: there is no time to tell")?;
        } else if !plan.only_gate {
            writeln!(
                f,
                "{} boots ({} of each cell), seed {}, about {}",
                plan.boot_count(),
                plan.matrix.measure.boots,
                plan.options.seed,
                human(plan.estimate())
            )?;
        }
        if let Some(budget) = &plan.budget {
            writeln!(f, "{budget}")?;
        }
        if is_empty {
            return write_groups(f, plan, groups);
        }
        if let Some(GateCost { boots, screen: [time, _], .. }) = plan.gate
            && boots.is_fixed()
        {
            writeln!(
                f,
                "as a gate (`bench --against` with `--boots {0}`): {0} boots a side of each cell, judged once, about {1}",
                boots.first,
                human(time)
            )?;
        } else if let Some(GateCost { boots, screen: [least, most], suspect }) = plan.gate {
            writeln!(
                f,
                "as a gate (`bench --against`): {} to {} boots a side of each cell, {} to {}; and up to {} of a suspect, at most {} each",
                boots.first,
                boots.most,
                human(least),
                human(most),
                boots.fresh,
                human(suspect)
            )?;
        }
        write_groups(f, plan, groups)
    }
}

/// The cells by what became of them; nothing where there are none.
fn write_groups(
    f: &mut fmt::Formatter<'_>,
    plan: &Plan<'_>,
    groups: Vec<Group<'_>>,
) -> fmt::Result {
    if plan.cells.is_empty() {
        return Ok(());
    }
    let ids = plan.cells.iter().map(|planned| planned.cell.id_len());
    let named = |axis: &Axis| plan.cells.iter().any(|planned| planned.cell.names(*axis));
    let names = Axis::ALL.into_iter().filter(named).map(Axis::name);
    let heading = names.collect::<Vec<_>>().join("/");
    let width = ids.max().unwrap_or(0).max(heading.len());
    writeln!(f, "\n  {heading:width$}  a boot")?;
    for Group { status, cells } in groups {
        match status {
            Status::Runnable => writeln!(f, "runnable")?,
            Status::Skipped { reason, remedy } => {
                writeln!(f, "\nskipped: {}", one_line(reason))?;
                writeln!(f, "  remedy: {}", one_line(remedy))?;
            }
            Status::NotApplicable { reason } => {
                writeln!(f, "\nnot applicable: {}", one_line(reason))?;
            }
        }
        write_cells(f, &cells, width)?;
    }
    Ok(())
}

/// One line a cell, with the time of a boot where there is one. Without `write!`, which a million cells would feel.
fn write_cells(f: &mut fmt::Formatter<'_>, cells: &[&Planned<'_>], width: usize) -> fmt::Result {
    let mut line = String::new();
    let mut last = (Duration::ZERO, human(Duration::ZERO));
    for planned in cells {
        line.clear();
        line.push_str("  ");
        planned.cell.push_id(&mut line);
        if planned.is_runnable() {
            line.extend(std::iter::repeat_n(' ', 2 + width - planned.cell.id_len()));
            if last.0 != planned.boot_time {
                last = (planned.boot_time, human(planned.boot_time));
            }
            line.push_str(&last.1);
            if planned.lab {
                line.push_str(", in a lab");
            }
        }
        line.push('\n');
        f.write_str(&line)?;
    }
    Ok(())
}

/// Runnable cells first, then each status in the order of its first cell.
fn groups<'p>(cells: &'p [Planned<'p>]) -> Vec<Group<'p>> {
    let mut places: HashMap<(u8, &str, &str), usize> = HashMap::new();
    let mut groups: Vec<Group<'p>> = Vec::new();
    for planned in cells {
        let key = match &*planned.status {
            Status::Runnable => (0, "", ""),
            Status::Skipped { reason, remedy } => (1, reason.as_str(), remedy.as_str()),
            Status::NotApplicable { reason } => (2, reason.as_str(), ""),
        };
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Group { status: &planned.status, cells: Vec::new() });
            groups.len() - 1
        });
        groups[place].cells.push(planned);
    }
    groups.sort_by_key(|group| match group.status {
        Status::Runnable => 0,
        Status::Skipped { .. } => 1,
        Status::NotApplicable { .. } => 2,
    });
    groups
}

fn counts(cells: &[Planned<'_>]) -> String {
    let count =
        |is: fn(&Status) -> bool| cells.iter().filter(|planned| is(&planned.status)).count();
    let skipped = count(|status| matches!(status, Status::Skipped { .. }));
    let not_applicable = count(|status| matches!(status, Status::NotApplicable { .. }));
    let runnable = cells.len() - skipped - not_applicable;
    let all = cells.len();
    format!("{all} cells, {runnable} runnable, {skipped} skipped, {not_applicable} not applicable")
}

/// Words of tools, which may have lines and worse.
fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

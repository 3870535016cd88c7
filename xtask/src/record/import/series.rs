//! What a series of somebody else's is called here. Pure.

use std::fmt;

use crate::fingerprint::fingerprint;
use crate::matrix::{Axis, Cell, RUNNING};

/// Stands on every axis of which nothing is known.
const IMPORTED: &str = "imported";

/// Characters of a foreign name that an id keeps.
const LONGEST: usize = 60;

/// A series: a workload in a cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// The cell.
    pub cell: Cell,
    /// The workload.
    pub workload: String,
    /// The name as its source has it, where that is no cell and workload of ours.
    pub foreign: Option<String>,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.foreign {
            Some(name) => f.write_str(name),
            None => write!(f, "{}:{}", self.cell.id(), self.workload),
        }
    }
}

/// The series of a name: `CELL:WORKLOAD`, as `export csv` writes it, is that cell; any other name becomes a cell of its own,
/// `imported/imported/imported/NAME/imported`, which holds the name as far as an id can.
pub fn series_of(name: &str) -> Series {
    let own = name.rsplit_once(':').and_then(|(cell, workload)| {
        let workload = is_name(workload).then(|| workload.to_owned())?;
        Some(Series { cell: cell_of(cell)?, workload, foreign: None })
    });
    own.unwrap_or_else(|| Series {
        cell: foreign_cell(name),
        workload: IMPORTED.to_owned(),
        foreign: Some(name.to_owned()),
    })
}

/// The cell of an id, whatever kinds it names.
pub fn cell_of(id: &str) -> Option<Cell> {
    let mut values: Vec<&str> = id.split('/').collect();
    if values.len() == Axis::ALL.len() - 1 {
        values.push(RUNNING);
    }
    let values: [&str; Axis::ALL.len()] = values.try_into().ok()?;
    values.iter().all(|value| is_name(value)).then(|| Cell::of(values))
}

/// The cell of a result of which nothing is known but what a tool says.
pub fn unknown_cell() -> Cell {
    Cell::of([IMPORTED, IMPORTED, IMPORTED, IMPORTED, IMPORTED, RUNNING])
}

/// A cell of which only a name is known. Where an id cannot hold the name, a part of the name's hash keeps two of them apart.
fn foreign_cell(name: &str) -> Cell {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase).take(LONGEST) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            '.' if !slug.is_empty() => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    if slug != name {
        let hash = fingerprint(&[(super::SERIES.to_owned(), name.to_owned())].into());
        let between = if slug.is_empty() || slug.ends_with('-') { "" } else { "-" };
        slug = format!("{slug}{between}{}", &hash[..8]);
    }
    Cell::of([IMPORTED, IMPORTED, IMPORTED, &slug, IMPORTED, RUNNING])
}

/// Whether a word can be a name of a matrix: `[a-z0-9][a-z0-9.-]*`.
fn is_name(word: &str) -> bool {
    let inner = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    word.bytes().all(inner) && word.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_names_are_cells_and_others_become_some() {
        let id = |name: &str| {
            let series = series_of(name);
            format!("{} {}", series.cell.id(), series.workload)
        };
        assert_eq!(
            id("running/docker/bridge/stock/idle:tcp-rr"),
            "running/docker/bridge/stock/idle tcp-rr"
        );
        assert_eq!(
            id("deb/qemu/nat/stock/idle/deb-rt:tcp-rr"),
            "deb/qemu/nat/stock/idle/deb-rt tcp-rr"
        );
        assert_eq!(id("fetch.p99"), "imported/imported/imported/fetch.p99/imported imported");
        assert_eq!(
            id("Request time"),
            "imported/imported/imported/request-time-e12fb1ea/imported imported"
        );
        // A hash alone.
        assert_eq!(id("日本").len(), "imported/imported/imported/00000000/imported imported".len());
    }

    proptest! {
        #[test]
        fn every_name_is_a_cell_of_its_own_and_comes_back(a in "\\PC{1,80}", b in "\\PC{1,80}") {
            let [one, two] = [&a, &b].map(|name| series_of(name));
            prop_assert!(cell_of(&one.cell.id()).is_some(), "{}", one.cell.id());
            prop_assert_eq!(one == two, a == b);
            prop_assert_eq!(one.cell == two.cell && one.workload == two.workload, a == b);
            prop_assert_eq!(one.to_string(), a);
        }
    }
}

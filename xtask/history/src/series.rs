//! The series of a history: one for each instrument, cell, workload and figure, its points in order of time. Pure.

use std::collections::HashMap;

use super::entry::{CellEntry, Entry, Figure};

/// A run of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLine {
    /// Line in the file.
    pub line: u64,
    /// When it began, seconds since 1970.
    pub time: u64,
    /// The commit, where it is known.
    pub commit: Option<String>,
    /// Whether there were changes beside it.
    pub dirty: bool,
    /// The run's tag.
    pub run: String,
    /// Its name.
    pub mark: Option<String>,
}

/// What a series is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The cell's id.
    pub cell: String,
    /// The workload.
    pub workload: String,
    /// The aspect.
    pub aspect: String,
    /// The figure.
    pub figure: String,
    /// The unit.
    pub unit: String,
    /// The instrument.
    pub fingerprint: String,
}

impl Key {
    fn of(of: &CellEntry<'_>, figure: &Figure<'_>) -> Key {
        Key {
            cell: of.cell.clone().into_owned(),
            workload: figure.workload.clone().into_owned(),
            aspect: figure.aspect.clone().into_owned(),
            figure: figure.figure.clone().into_owned(),
            unit: figure.unit.clone().into_owned(),
            fingerprint: of.fingerprint.clone().into_owned(),
        }
    }

    fn is_of(&self, of: &CellEntry<'_>, figure: &Figure<'_>) -> bool {
        self.cell == of.cell
            && self.workload == figure.workload
            && self.aspect == figure.aspect
            && self.figure == figure.figure
            && self.unit == figure.unit
            && self.fingerprint == of.fingerprint
    }
}

/// The points of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Index of the run, in [`History::runs`], of each point.
    pub runs: Vec<usize>,
    /// Mean of logarithms of each point.
    pub logs: Vec<f64>,
}

/// All runs and series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Runs in order of time; those of one time in the order of the file.
    pub runs: Vec<RunLine>,
    /// Series in order of their keys.
    pub series: Vec<(Key, Series)>,
}

/// Takes runs as they are read.
#[derive(Debug, Default)]
pub struct Builder {
    runs: Vec<RunLine>,
    by_key: HashMap<Key, usize>,
    series: Vec<(Key, Series)>,
    /// Index of the series of each figure of the line before, in its order: most lines name the same ones in the same order, and comparing
    /// is cheaper than looking up.
    before: Vec<usize>,
}

impl Builder {
    /// Takes a line of the file.
    pub fn take(&mut self, line: u64, entry: &Entry<'_>) {
        let run = self.runs.len();
        self.runs.push(RunLine {
            line,
            time: entry.time,
            commit: entry.commit.as_deref().map(str::to_owned),
            dirty: entry.dirty,
            run: entry.run.clone().into_owned(),
            mark: entry.mark.as_deref().map(str::to_owned),
        });
        let figures =
            entry.cells.iter().flat_map(|of| of.figures.iter().map(move |figure| (of, figure)));
        for (nth, (of, figure)) in figures.enumerate() {
            let expected = self.before.get(nth).copied();
            let at = match expected.filter(|&at| self.series[at].0.is_of(of, figure)) {
                Some(at) => at,
                None => self.at(of, figure),
            };
            match self.before.get_mut(nth) {
                Some(before) => *before = at,
                None => self.before.push(at),
            }
            let series = &mut self.series[at].1;
            series.runs.push(run);
            series.logs.push(figure.log);
        }
    }

    /// Index of the series of a figure, which is begun where there is none.
    fn at(&mut self, of: &CellEntry<'_>, figure: &Figure<'_>) -> usize {
        let key = Key::of(of, figure);
        if let Some(&at) = self.by_key.get(&key) {
            return at;
        }
        let at = self.series.len();
        self.by_key.insert(key.clone(), at);
        let higher_is_better = figure.higher_is_better;
        self.series.push((key, Series { higher_is_better, ..Series::default() }));
        at
    }

    /// The history in order of time, and how many runs were not where their time is.
    pub fn build(self) -> (History, usize) {
        let late = self.runs.windows(2).filter(|pair| pair[1].time < pair[0].time).count();
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        order.sort_by_key(|&at| self.runs[at].time);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| place[from] = to);
        let mut runs: Vec<Option<RunLine>> = self.runs.into_iter().map(Some).collect();
        let runs = order.iter().filter_map(|&at| runs[at].take()).collect();
        let mut series = self.series;
        for (_, series) in &mut series {
            let mut points: Vec<(usize, f64)> = series
                .runs
                .iter()
                .map(|&run| place[run])
                .zip(series.logs.iter().copied())
                .collect();
            points.sort_by_key(|(run, _)| *run);
            (series.runs, series.logs) = points.into_iter().unzip();
        }
        series.sort_by(|a, b| a.0.cmp(&b.0));
        (History { runs, series }, late)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line with these figures, each of a cell of its own.
    fn line(at: usize, figures: &[(u8, f64)]) -> Entry<'static> {
        let cell = |&(cell, log): &(u8, f64)| CellEntry {
            cell: format!("cell{cell}").into(),
            fingerprint: "host".into(),
            figures: vec![Figure {
                workload: "tcp-rr".into(),
                aspect: "tail".into(),
                figure: "p99".into(),
                unit: "ns".into(),
                higher_is_better: false,
                boots: 5,
                log,
                error: None,
            }],
        };
        Entry {
            schema: super::super::entry::SCHEMA,
            time: at as u64,
            commit: None,
            dirty: false,
            run: format!("run{at}").into(),
            mark: None,
            cells: figures.iter().map(cell).collect(),
        }
    }

    proptest! {
        /// In whatever order lines name their cells, and whichever they leave out.
        #[test]
        fn every_point_is_in_the_series_of_its_cell(
            lines in prop::collection::vec(prop::collection::vec((0..6u8, -9.0..9.0f64), 0..8), 0..12)
        ) {
            let mut builder = Builder::default();
            for (at, figures) in lines.iter().enumerate() {
                builder.take(at as u64 + 1, &line(at, figures));
            }
            let (history, late) = builder.build();
            prop_assert_eq!(late, 0);
            prop_assert!(history.series.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (key, series) in &history.series {
                let points = lines.iter().enumerate().flat_map(|(at, figures)| {
                    let own = figures.iter().filter(|(cell, _)| key.cell == format!("cell{cell}"));
                    own.map(move |(_, log)| (at, *log))
                });
                let (runs, logs): (Vec<usize>, Vec<f64>) = points.unzip();
                prop_assert_eq!(&series.runs, &runs);
                prop_assert_eq!(&series.logs, &logs);
            }
            let told: usize = history.series.iter().map(|(_, series)| series.logs.len()).sum();
            prop_assert_eq!(told, lines.iter().map(Vec::len).sum::<usize>());
        }
    }
}

//! The series of a history: one for each instrument, cell, workload and figure, its points in order of time. Pure.

use std::collections::HashMap;

use super::entry::Entry;

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
    by_key: HashMap<String, usize>,
    series: Vec<(Key, Series)>,
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
        let mut words = String::new();
        for of in &entry.cells {
            for figure in &of.figures {
                words.clear();
                for word in [
                    &of.cell,
                    &of.fingerprint,
                    &figure.workload,
                    &figure.aspect,
                    &figure.figure,
                    &figure.unit,
                ] {
                    words.push_str(word);
                    words.push('\0');
                }
                let at = match self.by_key.get(&words) {
                    Some(&at) => at,
                    None => {
                        let key = Key {
                            cell: of.cell.clone().into_owned(),
                            workload: figure.workload.clone().into_owned(),
                            aspect: figure.aspect.clone().into_owned(),
                            figure: figure.figure.clone().into_owned(),
                            unit: figure.unit.clone().into_owned(),
                            fingerprint: of.fingerprint.clone().into_owned(),
                        };
                        let higher_is_better = figure.higher_is_better;
                        self.series.push((key, Series { higher_is_better, ..Series::default() }));
                        self.by_key.insert(words.clone(), self.series.len() - 1);
                        self.series.len() - 1
                    }
                };
                let series = &mut self.series[at].1;
                series.runs.push(run);
                series.logs.push(figure.log);
            }
        }
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

//! What a kernel counts of its interruptions, window by window: interrupts by source, software interrupts by kind, context switches, how long
//! a quota kept a control group from running, and how late this recorder itself was. More to read than [`crate::noise`], and so
//! for boots that count in no figure: those that are to tell what a bad tail coincides with.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::clock;
use crate::machine::cgroup;

/// Most readings; a recorder that reaches it reads no more.
const MOST_READINGS: usize = 1 << 16;

/// Most counters that are kept of one machine: large ones have thousands of interrupts, most of which never happen.
const MOST_NAMES: usize = 512;

/// How late the recorder was in all, nanoseconds: a CPU that stands still does not read either.
pub const LATE: &str = "time in which the recorder could not run, ns";

/// For how long a quota kept the measured control group from running, nanoseconds.
pub const THROTTLED: &str = "time throttled by a CPU quota, ns";

/// Counters in the order of their names, and what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    names: Vec<String>,
    readings: Vec<(u64, Vec<u64>)>,
}

/// Reads the counters at a fixed interval, in a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    /// Dropped to stop the thread.
    running: Sender<()>,
    thread: JoinHandle<Counters>,
}

impl Recorder {
    /// Starts to read every `interval`. `measured` is the process whose control group's quota is asked for; one that has none of its own has no
    /// such counter.
    ///
    /// # Errors
    /// An interval of nothing, or no thread can be started.
    pub fn start(measured: Option<i32>, interval: Duration) -> Result<Recorder> {
        ensure!(!interval.is_zero(), "the counters need an interval");
        let (running, stopped) = mpsc::channel::<()>();
        let record = move || {
            let began = clock::now();
            let names: Vec<String> = read(measured).into_keys().take(MOST_NAMES).collect();
            let mut counters = Counters { names, readings: Vec::new() };
            let (mut due, mut late) = (began, 0);
            while counters.readings.len() < MOST_READINGS {
                let at = clock::now();
                late += at.saturating_sub(due);
                let mut now = read(measured);
                now.insert(LATE.to_owned(), late);
                // A source that is gone counts no further.
                let last = counters.readings.last().map(|(_, values)| values.clone());
                let values = counters.names.iter().enumerate().map(|(place, name)| {
                    let before = last.as_ref().and_then(|last| last.get(place).copied());
                    now.get(name).copied().or(before).unwrap_or(0)
                });
                let values = values.collect();
                counters.readings.push((at, values));
                due = at + clock::nanos(interval);
                let left = Duration::from_nanos(due.saturating_sub(clock::now()));
                if stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            counters
        };
        let thread = thread::Builder::new()
            .name("ek-counters".into())
            .spawn(record)
            .context("failed to start the thread that reads the kernel's counters")?;
        Ok(Recorder { running, thread })
    }

    /// Ends, and answers what was read.
    ///
    /// # Errors
    /// The thread failed.
    pub fn stop(self) -> Result<Counters> {
        drop(self.running);
        self.thread
            .join()
            .map_err(|_| anyhow!("the thread that reads the kernel's counters failed"))
    }
}

impl Counters {
    /// What is counted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How far each counter moved from `from_ns` to `to_ns` of `CLOCK_MONOTONIC`, interpolated between readings.
    pub fn between(&self, from_ns: u64, to_ns: u64) -> Vec<f64> {
        let [from, to] = [from_ns, to_ns].map(|at| self.at(at));
        to.into_iter().zip(from).map(|(to, from)| (to - from).max(0.0)).collect()
    }

    fn at(&self, at_ns: u64) -> Vec<f64> {
        let Some(first) = self.readings.first() else { return Vec::new() };
        let after = self.readings.partition_point(|(at, _)| *at <= at_ns);
        let before = self.readings.get(after.saturating_sub(1)).unwrap_or(first);
        let after = self.readings.get(after).unwrap_or(before);
        let span = after.0.saturating_sub(before.0);
        let share = match span {
            0 => 0.0,
            span => (at_ns.saturating_sub(before.0) as f64 / span as f64).min(1.0),
        };
        // Relative to the first, so that no precision is lost.
        let grown =
            |values: &[u64], place: usize| values[place].saturating_sub(first.1[place]) as f64;
        (0..self.names.len())
            .map(|place| {
                let [low, high] = [before, after].map(|(_, values)| grown(values, place));
                low + share * (high - low)
            })
            .collect()
    }
}

/// All counters now. What this kernel does not show is not there.
fn read(measured: Option<i32>) -> BTreeMap<String, u64> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut all = BTreeMap::from([(LATE.to_owned(), 0)]);
    all.extend(table(&text("/proc/interrupts"), "interrupts"));
    all.extend(table(&text("/proc/softirqs"), "software interrupts"));
    all.extend(switches(&text("/proc/stat")));
    if let Some(Ok(throttled)) = measured.map(cgroup::throttled) {
        all.insert(THROTTLED.to_owned(), throttled.ns);
    }
    all
}

/// The lines of `/proc/interrupts` and `/proc/softirqs`: a label, a number for each CPU of the first line, and words. Summed over CPUs.
fn table(text: &str, what: &str) -> BTreeMap<String, u64> {
    let mut lines = text.lines();
    let cpus = lines.next().map_or(0, |head| head.split_whitespace().count());
    let of = |line: &str| {
        let (label, rest) = line.split_once(':')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let numbers = words.iter().take(cpus).map_while(|word| word.parse::<u64>().ok());
        let numbers: Vec<u64> = numbers.collect();
        let name = words[numbers.len()..].join(" ");
        let name = format!("{what} {} {name}", label.trim());
        (!numbers.is_empty()).then(|| (name.trim().to_owned(), numbers.iter().sum()))
    };
    lines.filter_map(of).collect()
}

/// Context switches and new processes of `/proc/stat`.
fn switches(text: &str) -> BTreeMap<String, u64> {
    let names = [("ctxt ", "context switches"), ("processes ", "processes started")];
    let found = names.into_iter().filter_map(|(key, name)| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_linux_6_18_are_summed_over_cpus() {
        let text = "           CPU0       CPU1       \n  0:         10          3   IO-APIC   2-edge      timer\n\
                    LOC:     114549     100000   Local timer interrupts\nERR:          7\n";
        let found = table(text, "interrupts");
        let expected = [
            ("interrupts 0 IO-APIC 2-edge timer", 13),
            ("interrupts ERR", 7),
            ("interrupts LOC Local timer interrupts", 214_549),
        ];
        assert_eq!(found, expected.map(|(name, count)| (name.to_owned(), count)).into());
        let text =
            "                    CPU0       CPU1       \n          HI:          1          2\n";
        assert_eq!(table(text, "software interrupts")["software interrupts HI"], 3);
        assert_eq!(switches("cpu 1\nctxt 740449\nprocesses 12\n")["context switches"], 740_449);
        assert!(table("", "interrupts").is_empty());
    }

    #[test]
    fn counters_are_interpolated_and_stand_still_outside() {
        let counters = Counters {
            names: vec!["a".into(), "b".into()],
            readings: vec![(100, vec![10, 5]), (200, vec![30, 5]), (300, vec![30, 9])],
        };
        assert_eq!(counters.between(100, 200), [20.0, 0.0]);
        assert_eq!(counters.between(150, 250), [10.0, 2.0]);
        assert_eq!(counters.between(0, 50), [0.0, 0.0]);
        assert_eq!(counters.between(300, 900), [0.0, 0.0]);
    }

    #[test]
    fn this_machine_can_be_read() {
        let recorder = Recorder::start(None, Duration::from_millis(1)).unwrap();
        let counters = recorder.stop().unwrap();
        let place = counters.names().iter().position(|name| name == "context switches").unwrap();
        assert!(counters.between(0, u64::MAX)[place] >= 0.0);
        assert!(counters.names().iter().any(|name| name == LATE));
        assert!(!counters.readings.is_empty());
    }
}

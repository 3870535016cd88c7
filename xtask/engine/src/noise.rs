//! Records what disturbs a machine while it is measured: stolen time, pressure on its CPUs, software
//! interrupts, involuntary switches and migrations of the measured threads, frequency.
//!
//! One thread reads a few files of `/proc` at a fixed interval. They stay open, so that a reading costs
//! one system call a file. Counters become differences only when they are joined to windows.

mod parse;
mod sources;

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use self::sources::Sources;
use crate::clock;
use crate::samples::{Noise, Samples};

/// Most readings of a series; a recorder that reaches it reads no more.
const MOST_READINGS: usize = 1 << 20;

/// All counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When, on `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Time stolen by a hypervisor since boot, all CPUs; the kernel counts it in ticks of 10 ms.
    pub steal_ns: u64,
    /// Software interrupts since boot, all CPUs.
    pub softirqs: u64,
    /// Time since boot in which some task waited for a CPU; absent without PSI.
    pub pressure_ns: Option<u64>,
    /// Involuntary switches of the threads, summed up. A thread that ended keeps its last value.
    pub involuntary_switches: u64,
    /// Migrations of the threads, summed up; absent where the kernel does not show them.
    pub migrations: Option<u64>,
    /// Mean frequency of the CPUs; absent where it is not visible.
    pub frequency_khz: Option<u64>,
}

/// Readings in the order of their time; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    readings: Vec<Reading>,
}

impl Series {
    /// A series of these readings.
    ///
    /// # Errors
    /// No reading, or readings out of order.
    pub fn new(readings: Vec<Reading>) -> Result<Series> {
        ensure!(!readings.is_empty(), "no reading of the noise");
        ensure!(readings.is_sorted_by_key(|reading| reading.at_ns), "readings out of order");
        Ok(Series { readings })
    }

    /// The readings.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// The noise from `from_ns` to `to_ns`, both on `CLOCK_MONOTONIC`: counters are interpolated
    /// linearly between readings, and outside of the series they stand still.
    pub fn between(&self, from_ns: u64, to_ns: u64) -> Noise {
        let delta = |counter: &dyn Fn(&Reading) -> u64| {
            let grown = self.at(to_ns, counter) - self.at(from_ns, counter);
            grown.max(0.0).round() as u64
        };
        // What is absent anywhere is absent: a difference needs both ends.
        let optional = |counter: &dyn Fn(&Reading) -> Option<u64>| {
            let all = self.readings.iter().all(|reading| counter(reading).is_some());
            all.then(|| delta(&|reading| counter(reading).unwrap_or(0)))
        };
        Noise {
            steal_ns: delta(&|reading| reading.steal_ns),
            pressure_ns: optional(&|reading| reading.pressure_ns),
            softirqs: delta(&|reading| reading.softirqs),
            involuntary_switches: delta(&|reading| reading.involuntary_switches),
            migrations: optional(&|reading| reading.migrations),
            frequency_khz: self.frequency(from_ns, to_ns),
            recorded_ns: None,
        }
    }

    /// The noise of the whole series.
    pub fn total(&self) -> Noise {
        let at = |reading: Option<&Reading>| reading.map_or(0, |reading| reading.at_ns);
        let recorded_ns = at(self.readings.last()).saturating_sub(at(self.readings.first()));
        Noise { recorded_ns: Some(recorded_ns), ..self.between(0, u64::MAX) }
    }

    /// Writes into each window of `samples` what disturbed this host meanwhile. The samples' client
    /// must have run on this host.
    pub fn join(&self, samples: &mut Samples) {
        for window in &mut samples.windows {
            let from_ns = samples.began_monotonic_ns + window.start_ns;
            window.noise = Some(self.between(from_ns, from_ns + window.length_ns));
        }
    }

    /// The readings on both sides of a time; the same one twice outside of the series.
    fn around(&self, at_ns: u64) -> [&Reading; 2] {
        let after = self.readings.partition_point(|reading| reading.at_ns <= at_ns);
        let last = self.readings.len() - 1;
        [&self.readings[after.saturating_sub(1)], &self.readings[after.min(last)]]
    }

    /// A counter at a time, relative to the first reading so that no precision is lost.
    fn at(&self, at_ns: u64, counter: &dyn Fn(&Reading) -> u64) -> f64 {
        let first = counter(&self.readings[0]);
        let grown = |reading: &Reading| counter(reading).saturating_sub(first) as f64;
        let [before, after] = self.around(at_ns);
        let span = after.at_ns.saturating_sub(before.at_ns);
        if span == 0 || at_ns <= before.at_ns {
            return grown(before);
        }
        let share = (at_ns - before.at_ns) as f64 / span as f64;
        grown(before) + share * (grown(after) - grown(before))
    }

    /// The mean of the frequencies read in this time, or of the readings around its beginning.
    fn frequency(&self, from_ns: u64, to_ns: u64) -> Option<u64> {
        let from = self.readings.partition_point(|reading| reading.at_ns < from_ns);
        let to = self.readings.partition_point(|reading| reading.at_ns <= to_ns);
        let within = self.readings.get(from..to).unwrap_or(&[]).iter().collect::<Vec<_>>();
        let around = self.around(from_ns);
        let seen = if within.is_empty() { &around[..] } else { &within };
        mean(seen.iter().filter_map(|reading| reading.frequency_khz))
    }
}

/// Whose switches and migrations are recorded. Ids are those of the caller's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// One thread.
    Thread(u32),
    /// All threads of a process, those that it starts later included: looked for at each reading.
    Process(u32),
}

/// Reads the counters on its own thread until it is stopped or dropped.
pub struct NoiseRecorder {
    /// Dropped to stop the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<Vec<Reading>>>>,
}

impl NoiseRecorder {
    /// Starts to read every `interval`, the first time before this returns.
    ///
    /// # Errors
    /// An interval of nothing, an unreadable `/proc`, or a thread or process that does not exist.
    pub fn start(measured: &[Measured], interval: Duration) -> Result<NoiseRecorder> {
        ensure!(!interval.is_zero(), "the noise needs an interval");
        let mut sources = Sources::open(measured)?;
        let first = sources.read().context("failed to read the noise")?;
        let (running, stopped) = mpsc::channel::<()>();
        let record = move || {
            let mut readings = vec![first];
            let mut next_ns = first.at_ns;
            while readings.len() < MOST_READINGS {
                next_ns += clock::nanos(interval);
                let left = Duration::from_nanos(next_ns.saturating_sub(clock::now()));
                let stop = stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout);
                readings.push(sources.read()?);
                if stop {
                    break;
                }
            }
            Ok(readings)
        };
        let thread = thread::Builder::new()
            .name("ek-noise".into())
            .spawn(record)
            .context("failed to start the thread that records the noise")?;
        Ok(NoiseRecorder { running: Some(running), thread: Some(thread) })
    }

    /// Reads a last time and returns the series.
    ///
    /// # Errors
    /// A file that could not be read any more.
    pub fn stop(mut self) -> Result<Series> {
        let readings =
            self.end().ok_or_else(|| anyhow!("the thread that records the noise failed"))?;
        Series::new(readings.context("failed to read the noise")?)
    }

    fn end(&mut self) -> Option<io::Result<Vec<Reading>>> {
        self.running = None;
        self.thread.take()?.join().ok()
    }
}

impl Drop for NoiseRecorder {
    fn drop(&mut self) {
        // Whoever drops a recorder without stopping it does not want what it read.
        self.end().map(drop).unwrap_or_default();
    }
}

fn mean(values: impl Iterator<Item = u64>) -> Option<u64> {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(at_ns: u64, count: u64) -> Reading {
        Reading {
            at_ns,
            steal_ns: count,
            softirqs: 2 * count,
            pressure_ns: Some(3 * count),
            involuntary_switches: 4 * count,
            migrations: None,
            frequency_khz: Some(1_000 + at_ns),
        }
    }

    #[test]
    fn counters_are_interpolated_between_readings_and_stand_still_outside() {
        let series =
            Series::new(vec![reading(100, 10), reading(200, 30), reading(400, 30)]).unwrap();
        let noise = series.between(150, 250);
        assert_eq!((noise.steal_ns, noise.softirqs, noise.involuntary_switches), (10, 20, 40));
        assert_eq!((noise.pressure_ns, noise.migrations), (Some(30), None));
        assert_eq!(noise.frequency_khz, Some(1_200));
        assert_eq!(series.between(0, 100).steal_ns, 0);
        assert_eq!(series.between(300, 9_999).steal_ns, 0);
        assert_eq!((series.total().steal_ns, series.total().recorded_ns), (20, Some(300)));
        assert_eq!(
            series.between(110, 120).frequency_khz,
            Some(1_150),
            "no reading within: those around"
        );
    }

    proptest! {
        #[test]
        fn adjacent_windows_share_all_noise(steps in prop::collection::vec((1u64..1_000, 0u64..1_000_000), 1..40), length in 1u64..500) {
            let mut at = reading(0, 0);
            let mut readings = vec![at];
            for (time, count) in steps {
                at = reading(at.at_ns + time, at.steal_ns + count);
                readings.push(at);
            }
            let series = Series::new(readings).unwrap();
            let windows = at.at_ns.div_ceil(length);
            let parts = (0..windows).map(|i| series.between(i * length, (i + 1) * length).softirqs);
            // Each part is rounded to a whole event.
            prop_assert!(parts.sum::<u64>().abs_diff(series.total().softirqs) <= windows);
            prop_assert_eq!(series.total().softirqs, 2 * at.steal_ns);
        }
    }

    #[test]
    fn this_machine_can_be_read() {
        let recorder =
            NoiseRecorder::start(&[Measured::Process(std::process::id())], Duration::from_secs(60))
                .unwrap();
        let series = recorder.stop().unwrap();
        let [first, last] = series.readings() else { panic!("{series:?}") };
        assert!(first.at_ns < last.at_ns);
        assert!(first.softirqs > 0 && first.softirqs <= last.softirqs);
        assert!(first.involuntary_switches <= last.involuntary_switches);
    }

    #[test]
    fn a_recorder_reads_on_until_it_is_stopped() {
        // As long as it takes on this machine, and for ever if the recorder does not go on by itself.
        for milliseconds in 1.. {
            let recorder = NoiseRecorder::start(&[], Duration::from_millis(1)).unwrap();
            let until = clock::now() + milliseconds * 1_000_000;
            clock::sleep_until(until).unwrap();
            let series = recorder.stop().unwrap();
            assert!(series.readings().last().unwrap().at_ns >= until);
            if series.readings().len() > 3 {
                return;
            }
            assert!(milliseconds < 200, "{series:?}");
        }
    }

    #[test]
    fn a_thread_that_does_not_exist_is_named() {
        let error = NoiseRecorder::start(&[Measured::Thread(u32::MAX)], Duration::from_secs(1))
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("4294967295"), "{error:#}");
    }
}

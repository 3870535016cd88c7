//! The noisy load: a fixed recipe for each CPU, so that `noisy` means the same in every cell.
//!
//! Per CPU, all pinned to it and of the default policy: one worker that computes, one that sleeps for 100 us
//! and works a little, again and again, and one pair that passes a byte to and fro over pipes.

use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::clock;
use crate::sys;
use crate::wire::LoadCounters;

/// Rounds of the generator that make one round of a compute worker: some 10 us.
const COMPUTE_ROUND: u32 = 10_000;

/// Rounds of the generator after each expiry of a timer worker.
const TIMER_ROUND: u32 = 1_000;

/// Interval of a timer worker.
const TIMER_NS: u64 = 100_000;

/// How long a worker may take to move: it competes with the others, and with what is measured.
const TO_MOVE: Duration = Duration::from_secs(10);

/// Time between two looks at the counters while the workers get going.
const LOOK_NS: u64 = 1_000_000;

/// A running load; ends when dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<Worker>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Compute,
    Timer,
    Switch,
}

/// How often a worker has moved.
struct Worker {
    kind: Kind,
    cpu: usize,
    moves: Arc<AtomicU64>,
}

impl Load {
    /// Starts the recipe on each of these CPUs; returns once every worker has moved.
    ///
    /// # Errors
    /// A CPU that the calling process may not use, no more threads, or a worker that gets no time.
    pub fn start(cpus: &[usize]) -> Result<Load> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut load = Load { stop, workers: Vec::new(), threads: Vec::new() };
        for cpu in cpus {
            load.start_on(*cpu).with_context(|| format!("failed to load CPU {cpu}"))?;
        }
        load.wait_until_all_moved()?;
        Ok(load)
    }

    /// How often the workers have moved so far.
    pub fn count(&self) -> LoadCounters {
        let sum = |kind| {
            let of_kind = self.workers.iter().filter(|worker| worker.kind == kind);
            of_kind.map(|worker| worker.moves.load(Ordering::Relaxed)).sum()
        };
        LoadCounters {
            compute: sum(Kind::Compute),
            timers: sum(Kind::Timer),
            switches: sum(Kind::Switch),
            ..LoadCounters::default()
        }
    }

    fn start_on(&mut self, cpu: usize) -> Result<()> {
        let (moves, stop) = self.worker(cpu, Kind::Compute);
        self.spawn(cpu, move || compute(&moves, &stop))?;
        let (moves, stop) = self.worker(cpu, Kind::Timer);
        self.spawn(cpu, move || timer(&moves, &stop))?;
        let (moves, stop) = self.worker(cpu, Kind::Switch);
        let (ping_reader, ping_writer) = io::pipe().context("failed to make a pipe")?;
        let (pong_reader, pong_writer) = io::pipe().context("failed to make a pipe")?;
        self.spawn(cpu, move || switch(pong_reader, ping_writer, &moves, &stop))?;
        self.spawn(cpu, move || reflect(ping_reader, pong_writer))
    }

    fn worker(&mut self, cpu: usize, kind: Kind) -> (Arc<AtomicU64>, Arc<AtomicBool>) {
        let moves = Arc::new(AtomicU64::new(0));
        self.workers.push(Worker { kind, cpu, moves: Arc::clone(&moves) });
        (moves, Arc::clone(&self.stop))
    }

    /// Starts `work` on a thread of its own, once that is pinned and ordinary.
    fn spawn(&mut self, cpu: usize, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let (tell, placed) = mpsc::channel();
        let thread = thread::Builder::new().name("ek-load".into()).spawn(move || {
            if placed_on(cpu, &tell) {
                work();
            }
        })?;
        self.threads.push(thread);
        placed.recv().context("a worker ended at once")?
    }

    fn wait_until_all_moved(&self) -> Result<()> {
        let deadline_ns = clock::now() + clock::nanos(TO_MOVE);
        loop {
            let still = |worker: &&Worker| worker.moves.load(Ordering::Relaxed) == 0;
            let Some(Worker { kind, cpu, .. }) = self.workers.iter().find(still) else {
                return Ok(());
            };
            if clock::now() > deadline_ns {
                bail!(
                    "the {kind:?} worker of CPU {cpu} did not move within {TO_MOVE:?}: \
                     does a realtime thread hold that CPU?"
                );
            }
            clock::sleep_until(clock::now() + LOOK_NS)?;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A worker cannot panic, and all it leaves is its counter.
            thread.join().ok();
        }
    }
}

/// Pins the calling thread and gives it the default policy; tells how that went, and whether it did.
pub(crate) fn placed_on(cpu: usize, tell: &Sender<Result<()>>) -> bool {
    let place = || {
        let mut set = CpuSet::new();
        set.set(cpu).context("no such CPU")?;
        sched_setaffinity(Pid::from_raw(0), &set).context("failed to pin a worker")?;
        sys::become_ordinary().context("failed to give a worker the default policy")
    };
    let placed = place();
    let done = placed.is_ok();
    // If nobody listens any more, there is nothing to work for either.
    tell.send(placed).is_ok() && done
}

fn compute(moves: &AtomicU64, stop: &AtomicBool) {
    let mut state = 1;
    while !stop.load(Ordering::Relaxed) {
        state = work(state, COMPUTE_ROUND);
        moves.fetch_add(1, Ordering::Relaxed);
    }
}

fn timer(moves: &AtomicU64, stop: &AtomicBool) {
    let mut state = 1;
    let mut next_ns = clock::now();
    while !stop.load(Ordering::Relaxed) {
        // A worker that was kept waiting does not catch up: that would be compute load.
        next_ns = (next_ns + TIMER_NS).max(clock::now());
        if clock::sleep_until(next_ns).is_err() {
            return;
        }
        state = work(state, TIMER_ROUND);
        moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes a byte on until told to stop, or until the other side is gone.
fn switch(mut from: PipeReader, mut to: PipeWriter, moves: &AtomicU64, stop: &AtomicBool) {
    let mut byte = [0];
    while !stop.load(Ordering::Relaxed)
        && to.write_all(&byte).is_ok()
        && from.read_exact(&mut byte).is_ok()
    {
        moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes bytes back until the other side is gone.
fn reflect(mut from: PipeReader, mut to: PipeWriter) {
    let mut byte = [0];
    while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
}

/// Some arithmetic that cannot be left out: a linear congruential generator (Knuth, MMIX).
pub(crate) fn work(state: u64, rounds: u32) -> u64 {
    (0..rounds).fold(state, |state, _| {
        black_box(
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::sched_getaffinity;

    fn a_cpu_of_ours() -> usize {
        let ours = sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count()).find(|cpu| ours.is_set(*cpu).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_of_worker_moves_and_all_end() {
        let load = Load::start(&[a_cpu_of_ours()]).unwrap();
        let first = load.count();
        assert!(first.compute > 0 && first.timers > 0 && first.switches > 0, "{first:?}");
        assert_eq!(load.threads.len(), 4);
        let stop = Arc::clone(&load.stop);
        drop(load);
        assert_eq!(Arc::strong_count(&stop), 1, "a worker outlived its load");
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_named() {
        let error = Load::start(&[CpuSet::count() - 1]).err().unwrap();
        assert!(format!("{error:#}").contains("failed to load CPU 1023"), "{error:#}");
        assert!(Load::start(&[usize::MAX]).is_err());
    }
}

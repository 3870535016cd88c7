//! A burner: on each of its CPUs a thread of the default policy that wants a known share of the time, and takes it where it is let. A fault of
//! known size for whoever shares the CPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use crate::clock;
use crate::load::{placed_on, work};

/// In each of these it works for its share and sleeps for the rest.
const PERIOD_NS: u64 = 10_000_000;

/// Rounds of work between two looks at the clock: some 10 us.
const ROUND: u32 = 10_000;

/// A running burner; ends when dropped.
#[derive(Debug)]
pub struct Burn {
    stop: Arc<AtomicBool>,
    burned_ns: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Burn {
    /// Starts on these CPUs, each to be busy for `percent` of the time.
    ///
    /// # Errors
    /// A CPU that the calling process may not use, or no more threads.
    pub fn start(cpus: &[usize], percent: u8) -> Result<Burn> {
        let (stop, burned_ns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut burn = Burn { stop, burned_ns, threads: Vec::new() };
        let share_ns = PERIOD_NS * u64::from(percent.min(100)) / 100;
        for cpu in cpus.iter().copied() {
            let (tell, placed) = mpsc::channel();
            let (stop, burned_ns) = (Arc::clone(&burn.stop), Arc::clone(&burn.burned_ns));
            let works = move || {
                if placed_on(cpu, &tell) {
                    burns(share_ns, &stop, &burned_ns);
                }
            };
            burn.threads.push(thread::Builder::new().name("ek-burn".into()).spawn(works)?);
            let placed = placed.recv().context("a burner ended at once")?;
            placed.with_context(|| format!("failed to burn CPU {cpu}"))?;
        }
        Ok(burn)
    }

    /// CPU time that was burned so far, all CPUs together.
    pub fn burned_ns(&self) -> u64 {
        self.burned_ns.load(Ordering::Relaxed)
    }
}

impl Drop for Burn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It cannot panic, and all it leaves is its counter.
            thread.join().ok();
        }
    }
}

/// Works for its share of every period, or until the period is over: what it was kept from is not made up for.
fn burns(share_ns: u64, stop: &AtomicBool, burned_ns: &AtomicU64) {
    let (mut state, mut ends_ns) = (1, clock::now());
    let mut before = own_time_ns();
    while !stop.load(Ordering::Relaxed) {
        ends_ns = (ends_ns + PERIOD_NS).max(clock::now());
        let began = own_time_ns();
        while own_time_ns() - began < share_ns && clock::now() < ends_ns {
            state = work(state, ROUND);
        }
        let now = own_time_ns();
        burned_ns.fetch_add(now - before, Ordering::Relaxed);
        before = now;
        if clock::sleep_until(ends_ns).is_err() {
            return;
        }
    }
}

/// CPU time of the calling thread.
fn own_time_ns() -> u64 {
    // Every thread has this clock.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait;

    #[test]
    fn it_burns_what_it_says_and_ends() {
        let ours = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        let is_ours = |cpu: &usize| ours.is_set(*cpu).unwrap();
        let cpu = (0..nix::sched::CpuSet::count()).find(is_ours).unwrap();
        let began = clock::now();
        let burn = Burn::start(&[cpu], 20).unwrap();
        let burned = || Ok((burn.burned_ns() > 20_000_000).then_some(()));
        wait::until("the burner to burn", Duration::from_secs(60), burned).unwrap();
        let burned = burn.burned_ns();
        let lasted = clock::now() - began;
        // A busy machine gives it less, never more: but for the round in which it stops, a period.
        assert!(burned <= lasted / 5 + PERIOD_NS, "{burned} in {lasted}");
        let stop = Arc::clone(&burn.stop);
        drop(burn);
        assert_eq!(Arc::strong_count(&stop), 1, "a thread outlived its burner");
        assert!(Burn::start(&[usize::MAX], 20).is_err());
    }
}

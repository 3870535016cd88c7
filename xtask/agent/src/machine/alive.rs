//! Whether a guest that has said nothing yet still boots. Told by what its QEMU did, not by the clock: on a machine that is slow or
//! busy a boot takes long, and needs as much work as anywhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::threads;

/// CPU time in which every guest has said hello: emulated ones need two to five seconds of today's CPUs, and slow CPUs more.
const WORK: Duration = Duration::from_secs(90);

/// For how long a guest that boots cannot stand still: it has no disk and no network to wait for.
const STILL: Duration = Duration::from_secs(30);

/// What standing still may take meanwhile: the timers of a kernel that was halted, and of its emulator.
const TICKS: Duration = Duration::from_secs(1);

/// What one look counts for at most: in a longer gap nobody looked, because this machine itself stood still.
const GAP: Duration = Duration::from_secs(2);

/// What a guest has done since it was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// By the clock.
    at: Duration,
    /// CPU time of its threads.
    worked: Duration,
    /// The same, and the time in which its threads waited for a CPU before they got one.
    wanted: Duration,
    /// Whether one of them waits for a CPU now, or for memory.
    waits: bool,
    /// Bytes on its console.
    said: u64,
}

/// The watch over one guest.
#[derive(Debug)]
pub struct Alive {
    pid: i32,
    console: PathBuf,
    began: Instant,
    first: Option<Seen>,
    last: Option<Seen>,
    /// When it last did something.
    moved: Option<Seen>,
    /// For how long it was seen to do nothing.
    still: Duration,
}

impl Alive {
    /// Watches the QEMU with this process id, whose guest's console goes to this file.
    pub fn new(pid: i32, console: &Path) -> Alive {
        let console = console.to_owned();
        let (first, last, moved) = (None, None, None);
        Alive { pid, console, began: Instant::now(), first, last, moved, still: Duration::ZERO }
    }

    /// Looks at it. A kernel that does not tell the times of threads gives no answer, so nothing is concluded from it.
    ///
    /// # Errors
    /// It will not boot any more, and why.
    pub fn look(&mut self) -> anyhow::Result<()> {
        let Ok((worked, wanted)) = times(self.pid) else { return Ok(()) };
        let waits = is_waiting(self.pid);
        let said = std::fs::metadata(&self.console).map_or(0, |file| file.len());
        self.see(Seen { at: self.began.elapsed(), worked, wanted, waits, said })
    }

    fn see(&mut self, now: Seen) -> anyhow::Result<()> {
        let first = *self.first.get_or_insert(now);
        let moved = self.moved.get_or_insert(now);
        let worked = now.worked.saturating_sub(first.worked);
        if worked > WORK {
            bail!(
                "the guest did not come up within {:.0} s of CPU time: try its kernel and command line by hand",
                WORK.as_secs_f64()
            );
        }
        let gap = now.at.saturating_sub(self.last.replace(now).unwrap_or(now).at);
        let wanted = now.wanted.saturating_sub(moved.wanted);
        if now.said != moved.said || now.waits || wanted > TICKS {
            *moved = now;
            self.still = Duration::ZERO;
        } else {
            self.still += gap.min(GAP);
        }
        if self.still > STILL {
            let (still, worked) = (STILL.as_secs_f64(), worked.as_secs_f64());
            bail!(
                "the guest stood still for {still:.0} s, after {worked:.1} s of CPU time: try its kernel and command line by hand"
            );
        }
        Ok(())
    }
}

/// Whether a thread of a process could run, or waits for what it cannot be interrupted in (proc(5), `stat`): memory that is swapped in.
/// A thread behind realtime ones has no times to show for it until it runs.
fn is_waiting(pid: i32) -> bool {
    let of = |thread: i32| std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
    let state = |stat: &str| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    let all = threads::of_process(pid).unwrap_or_default();
    all.into_iter().any(|one| of(one).is_ok_and(|stat| matches!(state(&stat), Some('R' | 'D'))))
}

/// CPU time of a process's threads, and that with the time in which they waited for a CPU.
fn times(pid: i32) -> anyhow::Result<(Duration, Duration)> {
    let (mut worked, mut waited) = (0, 0);
    for thread in threads::of_process(pid)? {
        // One that has just ended counts no more.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"))
        else {
            continue;
        };
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok).context("no times of threads");
        worked += next()?;
        waited += next()?;
    }
    anyhow::ensure!(worked > 0, "no times of threads");
    Ok((Duration::from_nanos(worked), Duration::from_nanos(worked + waited)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at_s: u64, worked_ms: u64, waited_ms: u64, said: u64) -> Seen {
        Seen {
            at: Duration::from_secs(at_s),
            worked: Duration::from_millis(worked_ms),
            wanted: Duration::from_millis(worked_ms + waited_ms),
            waits: false,
            said,
        }
    }

    /// What is said of a guest that was seen like this, one look after the other.
    fn said_of(looks: impl IntoIterator<Item = Seen>) -> Result<(), String> {
        let mut alive = Alive::new(0, Path::new(""));
        looks.into_iter().try_for_each(|look| alive.see(look)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_guest_that_computes_without_end_is_given_up_by_its_work_and_not_by_the_clock() {
        let on = |cpus_percent: u64| (0..170).map(move |s| seen(s, s * 10 * cpus_percent, 0, 0));
        assert_eq!(said_of(on(30)), Ok(()), "a slow machine");
        let error = said_of(on(100)).unwrap_err();
        assert!(error.starts_with("the guest did not come up within 90 s of CPU time"), "{error}");
    }

    #[test]
    fn a_guest_that_stands_still_is_given_up_and_one_that_gets_no_cpu_is_not() {
        let halted = (0..170).map(|s| seen(s, 5000 + s, 0, 7));
        let error = said_of(halted).unwrap_err();
        assert!(error.starts_with("the guest stood still for 30 s, after 0.0 s of"), "{error}");
        let gets_some = (0..170).map(|s| seen(s, 0, s * 1000, 7));
        assert_eq!(said_of(gets_some), Ok(()));
        let gets_none = (0..170).map(|s| Seen { waits: true, ..seen(s, 0, 0, 7) });
        assert_eq!(said_of(gets_none), Ok(()));
        let talks = (0..170).map(|s| seen(s, 0, 0, s / 10));
        assert_eq!(said_of(talks), Ok(()));
    }

    #[test]
    fn a_machine_that_stood_still_itself_is_no_reason() {
        let paused = [0, 1, 2, 3600, 3601].map(|s| seen(s, 5000, 0, 7));
        assert_eq!(said_of(paused), Ok(()));
    }

    #[test]
    fn threads_of_this_process_have_worked() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (worked, wanted) = times(pid).unwrap();
        assert!(worked > Duration::ZERO && wanted >= worked);
        assert!(is_waiting(pid), "this thread runs");
    }
}

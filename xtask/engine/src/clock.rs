//! The one clock of the engine: `CLOCK_MONOTONIC`, in nanoseconds as `u64`.
//!
//! All processes and containers of a machine read the same values; a guest has its own.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

pub use crate::sys::monotonic_ns as now;

/// How fast this CPU's time-stamp counter counts, in kHz; `None` where it has none. Measured once in a process, so that all that it tells
/// guests is one.
pub fn tsc_khz() -> Option<u64> {
    static FOUND: std::sync::OnceLock<Option<u64>> = std::sync::OnceLock::new();
    *FOUND.get_or_init(crate::sys::tsc_khz)
}

/// Nanoseconds of a duration; saturates after 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until the clock shows `at_ns`. An absolute time, so that a loop of sleeps does not drift.
///
/// # Errors
/// The kernel's refusal; never an interruption by a signal.
pub fn sleep_until(at_ns: u64) -> std::io::Result<()> {
    let at = TimeSpec::from_duration(Duration::from_nanos(at_ns));
    loop {
        match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

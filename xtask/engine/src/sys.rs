//! Small wrappers over system calls that the `nix` crate does not offer, or whose cost matters on
//! a hot path (dependencies are compiled without optimisation).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::clock;

/// `CLOCK_MONOTONIC` in nanoseconds, read through the vdso: no system call.
#[inline]
pub fn monotonic_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is valid for a write of one `timespec`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    debug_assert_eq!(failed, 0, "CLOCK_MONOTONIC exists on every Linux");
    // SAFETY: the call cannot fail with this clock and a valid pointer, and it wrote the value.
    let time = unsafe { time.assume_init() };
    // The monotonic clock starts at boot and is never negative.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How fast this CPU's time-stamp counter counts, in kHz, by the clock that no daemon corrects; takes 50 ms and is right to a few millionths.
/// `None` where a CPU has no such counter.
pub fn tsc_khz() -> Option<u64> {
    // A speed is what passes in a time: this is no wait for anything.
    const APART_NS: u64 = 50_000_000;
    let (first, from) = tsc_and_ns()?;
    clock::sleep_until(clock::now() + APART_NS).ok()?;
    let (last, to) = tsc_and_ns()?;
    let (ticks, ns) = (u128::from(last.checked_sub(first)?), u128::from(to.checked_sub(from)?));
    u64::try_from((ticks * 1_000_000).checked_div(ns)?).ok().filter(|khz| *khz > 0)
}

/// The counter and the uncorrected clock of one moment: of several readings, the one during which the least time passed.
#[cfg(target_arch = "x86_64")]
fn tsc_and_ns() -> Option<(u64, u64)> {
    let read = || {
        // SAFETY: every CPU of this architecture has the counter, and Linux lets programs read it.
        let before = unsafe { std::arch::x86_64::_rdtsc() };
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_RAW).ok()?;
        // SAFETY: as above.
        let after = unsafe { std::arch::x86_64::_rdtsc() };
        let took = after.checked_sub(before)?;
        let ns = std::time::Duration::from(time).as_nanos();
        Some((took, before + took / 2, u64::try_from(ns).ok()?))
    };
    let (_, ticks, ns) = (0..32).filter_map(|_| read()).min()?;
    Some((ticks, ns))
}

#[cfg(not(target_arch = "x86_64"))]
fn tsc_and_ns() -> Option<(u64, u64)> {
    None
}

/// Gives the calling thread the default policy, `SCHED_OTHER`, whatever it inherited.
///
/// # Errors
/// The kernel's refusal.
pub fn become_ordinary() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: thread 0 is the caller, and `priority` lives through the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &priority) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ticks a second of the times in `/proc/stat`.
pub fn ticks_per_second() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // Linux shows 100 to programs on every architecture that this tool runs on.
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// Keeps files that this process was started with, beyond the standard streams, from the programs that it starts: an engine that outlives us
/// would hold the lock of whoever ran us under `flock` for as long as it runs.
///
/// # Errors
/// `ENOSYS` before Linux 5.9, `EINVAL` before 5.11: they are passed on then.
pub fn keep_files_from_children() -> io::Result<()> {
    let (first, last) = (3 as libc::c_uint, libc::c_uint::MAX);
    // SAFETY: no descriptor is closed; those that are open get a flag.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread a file table of its own that holds nothing but those `kept` and the
/// standard streams; the tables of other threads stay as they are.
///
/// From here on this thread must not use or drop any other descriptor: it has none.
///
/// # Errors
/// `ENOSYS` before Linux 5.9; the table then stays shared and whole.
pub fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let number = |kept: &BorrowedFd<'_>| libc::c_uint::try_from(kept.as_raw_fd());
    let kept: Result<Vec<_>, _> = kept.iter().map(number).collect();
    let mut kept = kept.map_err(io::Error::other)?;
    kept.push(2);
    kept.sort_unstable();
    // The first call makes the table this thread's own, even if its range is empty of descriptors.
    let highest = kept.last().map_or(2, |highest| *highest);
    let above = (highest + 1, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
    let between = kept.windows(2).map(|pair| (pair[0] + 1, pair[1].saturating_sub(1), 0));
    for (first, last, flags) in std::iter::once(above).chain(between) {
        if first > last || last < 3 {
            continue;
        }
        // SAFETY: only descriptors of the calling thread's own table are closed; their owners
        // are other threads, whose table is another one since the first call.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Bytes that a TCP connection's kernel has taken and the other end has not acknowledged.
///
/// # Errors
/// The kernel's refusal.
pub fn unacknowledged(stream: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the request writes one `int` (tcp(7), SIOCOUTQ).
    match unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(u64::try_from(bytes).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets an option of a socket to a value of any plain shape.
///
/// # Errors
/// The kernel's refusal.
pub fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &[u32],
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(value)).map_err(io::Error::other)?;
    // SAFETY: the pointer is valid for a read of `length` bytes.
    let failed =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_inherited_are_not_passed_on() {
        let file = std::fs::File::open("/dev/null").unwrap();
        // As one that a shell has opened for us: without the flag that the standard library sets.
        let flags = |file: &std::fs::File| {
            let flags = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            nix::fcntl::FdFlag::from_bits_retain(flags)
        };
        let none = nix::fcntl::FdFlag::empty();
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(none)).unwrap();
        assert_eq!(flags(&file), none);
        keep_files_from_children().unwrap();
        assert_eq!(flags(&file), nix::fcntl::FdFlag::FD_CLOEXEC);
    }
    use std::io::Write;
    use std::os::fd::AsFd;

    /// Of two looks, as a guest's own clock may go wrong by no more.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_counter_is_as_fast_at_every_look() {
        let [first, second] = [(); 2].map(|()| tsc_khz().unwrap());
        assert!(first > 100_000, "{first} kHz");
        assert!(first.abs_diff(second) < first / 1000, "{first} and {second} kHz");
    }

    #[test]
    fn a_thread_keeps_one_descriptor_and_the_others_keep_all() {
        let (_reader, kept) = io::pipe().unwrap();
        let (mut other_reader, other) = io::pipe().unwrap();
        let others_number = other.as_raw_fd();
        std::thread::scope(|scope| {
            let seen = scope.spawn(|| {
                if keep_only(&[kept.as_fd()]).is_err() {
                    return None;
                }
                let mut writer = &kept;
                writer.write_all(b"k").unwrap();
                Some(nix::fcntl::fcntl(
                    // SAFETY: asking about a number that may not be open is what is tested.
                    unsafe { BorrowedFd::borrow_raw(others_number) },
                    nix::fcntl::FcntlArg::F_GETFD,
                ))
            });
            if let Some(seen) = seen.join().unwrap() {
                assert_eq!(seen, Err(nix::errno::Errno::EBADF));
            }
        });
        (&other).write_all(b"o").unwrap();
        let mut byte = [0];
        io::Read::read_exact(&mut other_reader, &mut byte).unwrap();
        assert_eq!(&byte, b"o");
    }
}

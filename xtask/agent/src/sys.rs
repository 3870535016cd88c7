//! Small wrappers over system calls that the `nix` crate does not offer, or whose cost matters on
//! a hot path (dependencies are compiled without optimisation).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// Gives the calling thread a file table of its own that holds nothing but `kept` and the
/// standard streams; the tables of other threads stay as they are.
///
/// From here on this thread must not use or drop any other descriptor: it has none.
///
/// # Errors
/// `ENOSYS` before Linux 5.9; the table then stays shared and whole.
pub fn keep_only(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = libc::c_uint::try_from(kept.as_raw_fd()).map_err(io::Error::other)?;
    // The first call makes the table this thread's own, even if its range is empty of descriptors.
    let above = (kept.max(2) + 1, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
    let below = (3, kept.saturating_sub(1), 0);
    for (first, last, flags) in [above, below] {
        if first > last {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_thread_keeps_one_descriptor_and_the_others_keep_all() {
        let (_reader, kept) = io::pipe().unwrap();
        let (mut other_reader, other) = io::pipe().unwrap();
        let others_number = other.as_raw_fd();
        std::thread::scope(|scope| {
            let seen = scope.spawn(|| {
                if keep_only(kept.as_fd()).is_err() {
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

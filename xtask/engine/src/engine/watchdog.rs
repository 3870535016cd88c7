//! Runs the work of a connection with a deadline that costs its hot path nothing.
//!
//! `SO_RCVTIMEO` would arm and disarm a kernel timer in every transaction. Here the work has a thread
//! of its own, and the caller waits for it; at the deadline the caller shuts the socket down, which
//! ends every call that waits on it.
//!
//! The work's thread also gets a file table of its own: each call on a descriptor of a table that
//! threads share takes and drops a reference to the file, four times a transaction, which was
//! measured to cost a closed loop over loopback 2 % of its rate.

use std::net::{Shutdown, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::sys;

/// Does `work`, which needs no watching, on a thread that inherits the caller's placement and may use no descriptors but
/// those `kept`.
///
/// # Errors
/// Those of `work`; no more threads.
pub(crate) fn apart<T: Send>(
    kept: &[BorrowedFd<'_>],
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let works = || {
            // As below.
            sys::keep_only(kept).ok();
            work()
        };
        let worker = thread::Builder::new()
            .name("ek-measure".into())
            .spawn_scoped(scope, works)
            .context("failed to start a thread for the work")?;
        worker.join().map_err(|_| anyhow!("the thread of the work panicked"))?
    })
}

/// Does `work` on a thread that inherits the caller's placement and may use no descriptors but
/// those `kept`. After `within`, shuts `stream` down and sets `expired`, and still waits for the end of `work`.
///
/// # Errors
/// Those of `work`; no more threads.
pub(crate) fn run<T: Send>(
    stream: &TcpStream,
    kept: &[BorrowedFd<'_>],
    within: Duration,
    expired: &AtomicBool,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let (working, ended) = mpsc::channel::<()>();
        let works = move || {
            let _until_here = working;
            // A kernel before 5.9 cannot: then the table stays shared, and the work is a little slower.
            sys::keep_only(kept).ok();
            work()
        };
        let worker = thread::Builder::new()
            .name("ek-measure".into())
            .spawn_scoped(scope, works)
            .context("failed to start a thread for the connection")?;
        if ended.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
            expired.store(true, Ordering::SeqCst);
            // It may be closed already, and then there is nothing to end.
            stream.shutdown(Shutdown::Both).ok();
        }
        worker.join().map_err(|_| anyhow!("the thread of the connection panicked"))?
    })
}

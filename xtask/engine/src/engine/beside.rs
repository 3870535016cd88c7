//! What a server does beside the connection that announced it, with another socket, and as long as that connection lasts.
//!
//! The connection carries the header, the greeting and the account, none of which may be lost. Its end ends the work: nothing that is said
//! on the other socket has to arrive for that.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use nix::sys::socket;

use crate::{sys, wait};

/// How long one call on a socket may wait before the caller looks whether anything still stands.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// How long the port of a client that has ended may take to be free.
const FREED: Duration = Duration::from_secs(10);

/// Does `work` with `socket` on a thread that may use nothing but that and the connection, until the client has ended or has said
/// nothing for `longest`. From then on `ended` is set and every call that waits on `socket` comes back.
///
/// # Errors
/// Those of `work`; no more threads.
pub(crate) fn run<T: Send>(
    stream: &TcpStream,
    longest: Duration,
    socket: &(impl AsFd + Sync),
    ended: &AtomicBool,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T> {
    let done = thread::scope(|scope| {
        let works = move || {
            // A kernel before 5.9 cannot: then the table stays shared, and the work is a little slower.
            sys::keep_only(&[socket.as_fd(), stream.as_fd()]).ok();
            work()
        };
        let worker = thread::Builder::new().name("ek-serve".into()).spawn_scoped(scope, works);
        if worker.is_ok() {
            until_its_end(stream, longest);
        }
        ended.store(true, Ordering::SeqCst);
        // Also where the kernel calls it an error, because nothing has come yet.
        socket::shutdown(socket.as_fd().as_raw_fd(), socket::Shutdown::Both).ok();
        worker?.join().map_err(|_| anyhow!("the thread beside a connection panicked"))
    })?;
    Ok(done?)
}

/// What `open` opens on a port. A client that has just ended may come back for its next job before a slow machine has freed the port of
/// the last one.
///
/// # Errors
/// Those of `open`, and a port that is not free in time.
pub(crate) fn bind<T>(what: &str, open: impl Fn() -> io::Result<T>) -> Result<T> {
    wait::until(what, FREED, || match open() {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// Waits until the client has ended, for `longest` at most. It says nothing more until then.
fn until_its_end(mut stream: &TcpStream, longest: Duration) {
    let mut byte = [0];
    if stream.set_read_timeout(Some(longest)).is_ok() {
        // Whatever it is that ends the wait, the work ends with it.
        while matches!(stream.read(&mut byte), Err(error) if error.kind() == ErrorKind::Interrupted)
        {
        }
    }
}

//! A client's connection: made with patience, greeted, and watched until its deadline.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::header::{Header, MAGIC};
use super::watchdog;
use crate::clock;
use crate::wire::Job;

/// Pause between two attempts to connect.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(5);

/// What a client was doing when something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Header sent, greeting expected.
    Greeting,
    /// Nothing counted yet.
    WarmUp,
    /// Windows run.
    Measuring,
    /// The receiver's account is awaited.
    Collecting,
}

impl Phase {
    pub(crate) fn doing(self) -> &'static str {
        match self {
            Phase::Greeting => "during the greeting",
            Phase::WarmUp => "during warm-up",
            Phase::Measuring => "while measuring",
            Phase::Collecting => "while the result was collected",
        }
    }
}

/// A connection on which the server has agreed to the header.
pub(crate) struct Session<'a> {
    /// The connection; Nagle's algorithm is off.
    pub(crate) stream: &'a TcpStream,
    expired: &'a AtomicBool,
    longest: Duration,
}

/// Connects to the job's server, trying again for `grace`, agrees on `header`, and does `work` on the connection
/// until the header's deadline.
///
/// # Errors
/// Nobody listens, the deadline, somebody else than a [`super::Server`] answers; and those of `work`.
pub(crate) fn with_session<T: Send>(
    job: &Job,
    header: &Header,
    work: impl FnOnce(&Session<'_>) -> Result<T> + Send,
) -> Result<T> {
    with_session_beside(job, header, &[], work)
}

/// As [`with_session`]; `work` may also use the descriptors of `beside`.
pub(crate) fn with_session_beside<T: Send>(
    job: &Job,
    header: &Header,
    beside: &[BorrowedFd<'_>],
    work: impl FnOnce(&Session<'_>) -> Result<T> + Send,
) -> Result<T> {
    let stream = connect(SocketAddr::new(job.address, job.port), job.grace)?;
    stream.set_nodelay(true).context("failed to turn Nagle's algorithm off")?;
    let expired = AtomicBool::new(false);
    let longest = header.longest();
    let session = Session { stream: &stream, expired: &expired, longest };
    let mut kept = beside.to_vec();
    kept.push(stream.as_fd());
    watchdog::run(&stream, &kept, longest, &expired, move || {
        session.greet(header)?;
        work(&session)
    })
}

impl Session<'_> {
    /// Whether the deadline has passed.
    pub(crate) fn expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    /// Ends, and waits until the server has.
    pub(crate) fn end(&self) -> Result<()> {
        let mut stream = self.stream;
        stream
            .shutdown(Shutdown::Write)
            .and_then(|()| io::copy(&mut stream, &mut io::sink()))
            .map_err(|error| self.failure(Phase::Collecting, error))?;
        Ok(())
    }

    /// Fails once the deadline has passed or the server has ended; for waits that end by themselves.
    pub(crate) fn stands(&self) -> io::Result<()> {
        match self.expired.load(Ordering::SeqCst) || readable(self.stream)? {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        }
    }

    fn greet(&self, header: &Header) -> Result<()> {
        let mut stream = self.stream;
        let mut greeting = [0; MAGIC.len()];
        stream
            .write_all(&header.encode())
            .and_then(|()| stream.read_exact(&mut greeting))
            .map_err(|error| self.failure(Phase::Greeting, error))?;
        ensure!(
            greeting == MAGIC,
            "what listens there is not an evenkeel server: it greets with {:?}",
            String::from_utf8_lossy(&greeting)
        );
        Ok(())
    }

    /// What an error of the connection means in this phase.
    pub(crate) fn failure(&self, phase: Phase, error: io::Error) -> anyhow::Error {
        let doing = phase.doing();
        if self.expired.load(Ordering::SeqCst) {
            return anyhow!(
                "no end {doing} after {:?}: the server or the path is stuck, or `grace` is too short",
                self.longest
            );
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe => {
                anyhow!("the server closed the connection {doing} ({error})")
            }
            _ => anyhow::Error::new(error).context(format!("the connection failed {doing}")),
        }
    }
}

/// Whether something has arrived, or the connection has ended.
pub(crate) fn readable(stream: &TcpStream) -> io::Result<bool> {
    let mut waits = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut waits, PollTimeout::ZERO)? > 0)
}

/// Connects, again and again while nobody listens.
pub(super) fn connect(server: SocketAddr, within: Duration) -> Result<TcpStream> {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of zero is refused by the standard library.
        let error = match TcpStream::connect_timeout(&server, left.max(BETWEEN_ATTEMPTS)) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if left.is_zero() {
            return Err(error).with_context(|| {
                format!("failed to connect within {within:?}: is a server listening there?")
            });
        }
        clock::sleep_until(clock::now() + clock::nanos(BETWEEN_ATTEMPTS))?;
    }
}

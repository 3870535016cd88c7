//! A client's connection: made with patience, greeted, and watched until its deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

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
    fn doing(self) -> &'static str {
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
    let stream = connect(SocketAddr::new(job.address, job.port), job.grace)?;
    stream.set_nodelay(true).context("failed to turn Nagle's algorithm off")?;
    let expired = AtomicBool::new(false);
    let longest = header.longest();
    let session = Session { stream: &stream, expired: &expired, longest };
    watchdog::run(&stream, longest, &expired, move || {
        session.greet(header)?;
        work(&session)
    })
}

impl Session<'_> {
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
            | io::ErrorKind::BrokenPipe => {
                anyhow!("the server closed the connection {doing} ({error})")
            }
            _ => anyhow::Error::new(error).context(format!("the connection failed {doing}")),
        }
    }
}

/// Connects, again and again while nobody listens.
fn connect(server: SocketAddr, within: Duration) -> Result<TcpStream> {
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

//! A bulk flow that nobody measures: load on a path. It is the sending side of the stream, without an end of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::client;
use super::header::{Header, MAGIC, Mode};
use super::stream::BLOCK;
use super::window::Slices;
use crate::clock;
use crate::sys;

/// Longer than any boot: the server holds the connection for so long.
const LONGEST_NS: u64 = 12 * 3600 * 1_000_000_000;

/// Time between two looks at the counter while the flow gets going.
const LOOK_NS: u64 = 1_000_000;

/// A running flow; ends when dropped.
pub struct Flow {
    stream: TcpStream,
    sent_bytes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flow {
    /// Starts a flow to a [`super::Server`]; returns once something has arrived there. The sender has the default policy,
    /// whatever the caller has: it is a neighbour, not the instrument.
    ///
    /// # Errors
    /// Nobody listens or nothing arrives `within` the deadline; somebody else than our server answers.
    pub fn start(server: SocketAddr, within: Duration) -> Result<Flow> {
        let begin = || {
            let deadline_ns = clock::now() + clock::nanos(within);
            let stream = client::connect(server, within)?;
            let header = Header::new(Mode::Sink, Slices::new(0, LONGEST_NS, 1)?, within)?;
            stream.set_read_timeout(Some(within))?;
            let mut greeting = [0; MAGIC.len()];
            (&stream).write_all(&header.encode())?;
            (&stream).read_exact(&mut greeting).context("the server does not greet")?;
            ensure!(greeting == MAGIC, "what listens there is not an evenkeel server");
            let flow = Flow::over(stream)?;
            flow.wait_until_moved(deadline_ns)?;
            Ok(flow)
        };
        begin().with_context(|| format!("failed to start a flow to {server}"))
    }

    fn over(stream: TcpStream) -> Result<Flow> {
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let (mut writes, counter) = (stream.try_clone()?, Arc::clone(&sent_bytes));
        let sends = move || {
            let block = vec![0x6b; BLOCK];
            if sys::become_ordinary().is_ok() {
                while let Ok(bytes @ 1..) = writes.write(&block) {
                    counter.fetch_add(bytes as u64, Ordering::SeqCst);
                }
            }
        };
        let thread = thread::Builder::new().name("ek-flow".into()).spawn(sends)?;
        Ok(Flow { stream, sent_bytes, thread: Some(thread) })
    }

    /// Bytes that the kernel has taken.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::SeqCst)
    }

    /// Bytes that the other end has acknowledged, at least.
    ///
    /// # Errors
    /// The flow has ended.
    pub fn arrived_bytes(&self) -> Result<u64> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            bail!("the flow has ended: did its server end?");
        }
        // In this order, so that what is sent in between is missed and not invented.
        let sent = self.sent_bytes();
        Ok(sent.saturating_sub(sys::unacknowledged(self.stream.as_fd())?))
    }

    fn wait_until_moved(&self, deadline_ns: u64) -> Result<()> {
        while self.arrived_bytes()? == 0 {
            ensure!(clock::now() < deadline_ns, "nothing of it arrived in time");
            clock::sleep_until(clock::now() + LOOK_NS)?;
        }
        Ok(())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        self.stream.shutdown(Shutdown::Both).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

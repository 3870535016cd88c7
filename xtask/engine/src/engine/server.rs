//! The server of the engine: one port, any number of connections, a thread for each.
//!
//! The acceptor is spawned by the caller of [`Server::start`] and spawns the rest, so that all threads
//! inherit the caller's CPUs and policy: place that thread first.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket;

use super::header::{Header, LENGTH, MAGIC, Mode};
use super::{Late, crr, datagrams, rr, stream, watchdog};
use crate::clock;

/// Connections at a time; more are closed at once.
const MOST_CONNECTIONS: usize = 64;

/// How long a client may take to say what it wants.
const GREETING: Duration = Duration::from_secs(10);

/// Pause of the acceptor after an error.
const AFTER_FAILURE_NS: u64 = 10_000_000;

/// A listening server; closes all its connections and ends its threads when dropped.
pub struct Server {
    port: u16,
    listener: Arc<TcpListener>,
    connections: Arc<Connections>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address`; port 0 lets the kernel choose. Connections are accepted when this returns.
    ///
    /// # Errors
    /// The address cannot be listened on, or no thread can be started.
    pub fn start(address: IpAddr, port: u16) -> Result<Server> {
        Server::start_late(address, port, None)
    }

    /// As [`Server::start`], with replies that are late by a law, where there is one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_late(address: IpAddr, port: u16, late: Option<Arc<Late>>) -> Result<Server> {
        let address = SocketAddr::new(address, port);
        let listener =
            TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
        let port = listener.local_addr().context("failed to read the port in use")?.port();
        let (listener, connections) = (Arc::new(listener), Arc::new(Connections::default()));
        let (accepts, opened) = (Arc::clone(&listener), Arc::clone(&connections));
        let acceptor = thread::Builder::new()
            .name("ek-accept".into())
            .spawn(move || accept(&accepts, &opened, late.as_deref()))
            .context("failed to start the server's thread")?;
        Ok(Server { port, listener, connections, acceptor: Some(acceptor) })
    }

    /// The port in use.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.connections.open().streams.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.connections.close();
        // Ends the acceptor's wait; it can only fail if that has ended already.
        socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both).ok();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

/// The open connections, so that they can be closed from outside.
#[derive(Default)]
struct Connections(Mutex<Open>);

#[derive(Default)]
struct Open {
    closed: bool,
    next: u64,
    streams: HashMap<u64, TcpStream>,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, unless there are too many or all are being closed.
    fn add(&self, stream: &TcpStream) -> Option<u64> {
        let mut open = self.open();
        if open.closed || open.streams.len() >= MOST_CONNECTIONS {
            return None;
        }
        let stream = stream.try_clone().ok()?;
        open.next += 1;
        let number = open.next;
        open.streams.insert(number, stream);
        Some(number)
    }

    fn remove(&self, number: u64) {
        self.open().streams.remove(&number);
    }

    fn close(&self) {
        let mut open = self.open();
        open.closed = true;
        for stream in open.streams.values() {
            // A connection that has ended by itself needs no end.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn closed(&self) -> bool {
        self.open().closed
    }
}

/// Accepts until the listener is shut down, and waits for the threads of all connections.
fn accept(listener: &TcpListener, connections: &Connections, late: Option<&Late>) {
    thread::scope(|scope| {
        for stream in listener.incoming() {
            if connections.closed() {
                break;
            }
            let Ok(stream) = stream else {
                // No descriptor or no memory left, and that would be so at once again.
                clock::sleep_until(clock::now() + AFTER_FAILURE_NS).ok();
                continue;
            };
            let Some(number) = connections.add(&stream) else { continue };
            let serves = move || {
                // The client reports what went wrong: it is the one that was asked to measure.
                serve(&stream, late).ok();
                // Another connection's thread may hold a copy for a moment: an end that is said is seen at once.
                stream.shutdown(Shutdown::Both).ok();
                connections.remove(number);
            };
            if thread::Builder::new().name("ek-serve".into()).spawn_scoped(scope, serves).is_err() {
                connections.remove(number);
            }
        }
    });
}

/// Serves one connection to its end.
fn serve(stream: &TcpStream, late: Option<&Late>) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREETING))?;
    let mut header = [0; LENGTH];
    (&*stream).read_exact(&mut header)?;
    let header = Header::decode(&header)?;
    stream.set_read_timeout(None)?;
    let apart = |work: &(dyn Fn() -> io::Result<()> + Sync)| {
        (&*stream).write_all(&MAGIC)?;
        let (kept, expired) = ([stream.as_fd()], AtomicBool::new(false));
        watchdog::run(stream, &kept, header.longest_held(), &expired, || Ok(work()?))
    };
    match header.mode {
        Mode::Answer { request, response } => apart(&|| match late {
            None => rr::serve(stream, request, response, || ()),
            Some(late) => {
                let mut replies = late.connection();
                rr::serve(stream, request, response, || replies.hold())
            }
        }),
        Mode::Count => apart(&|| stream::serve(stream, header.slices)),
        Mode::Sink => apart(&|| stream::sink(stream)),
        Mode::AnswerDatagrams { .. } | Mode::CountDatagrams { .. } => {
            datagrams::serve(stream, &header, late)
        }
        Mode::AnswerConnections { request, response, port } => {
            crr::serve(stream, &header, (request, response, port), late)
        }
    }
}

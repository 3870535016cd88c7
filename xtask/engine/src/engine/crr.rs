//! A closed loop of connections: connect, request, answer, end, and the next one.
//!
//! The server ends each connection, so it is its side that keeps what is left of it (TIME_WAIT). There a new connection from the same port
//! may take that place (RFC 6191, section 2), where at the client's side it may not: however long a client measures, it does not run out
//! of ports.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Late;
use super::beside::{self, PATIENCE};
use super::client::{self, Phase};
use super::header::{Header, MAGIC, Mode};
use super::recorder::Recorder;
use super::rr::{self, wrong_answer};
use super::window::Slices;
use crate::samples::Samples;
use crate::wire::Job;

/// The client. A latency is the time from the opening of a socket until the server's end of the connection has come.
pub(crate) fn drive(job: &Job, request: u32, response: u32, port: u16) -> Result<Samples> {
    let slices = Slices::of(job)?;
    let mode = Mode::AnswerConnections { request, response, port };
    let header = Header::new(mode, slices, job.grace)?;
    let recorder = Recorder::new(slices, u64::from(request) + u64::from(response))?;
    client::with_session(job, &header, |session| {
        let mut port = [0; 2];
        let mut stream = session.stream;
        stream.read_exact(&mut port).map_err(|error| session.failure(Phase::Greeting, error))?;
        let mut caller = Caller {
            server: SocketAddr::new(job.address, u16::from_le_bytes(port)),
            request: vec![0; request as usize],
            response: vec![0; response as usize],
            stands: || session.stands(),
        };
        let samples =
            rr::measure(session, slices.warmup_ns, recorder, |number| caller.call(number))?;
        session.end()?;
        Ok(samples)
    })
}

/// Does transactions, each in a connection of its own. The first byte numbers them.
struct Caller<S> {
    server: SocketAddr,
    request: Vec<u8>,
    response: Vec<u8>,
    /// Whether it is worth to wait on.
    stands: S,
}

impl<S: Fn() -> io::Result<()>> Caller<S> {
    fn call(&mut self, number: u64) -> io::Result<()> {
        let number = number as u8;
        let stream = self.connect()?;
        self.request[0] = number;
        send(&stream, &self.request, &self.stands)?;
        receive(&stream, &mut self.response, &self.stands)?;
        if self.response[0] != number || !has_ended(&stream, &self.stands)? {
            return Err(wrong_answer());
        }
        Ok(())
    }

    /// A connection whose calls give up after [`PATIENCE`].
    fn connect(&self) -> io::Result<TcpStream> {
        let family = match self.server {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let opened = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bound_waits(&opened)?;
        let server = SockaddrStorage::from(self.server);
        loop {
            match socket::connect(opened.as_raw_fd(), &server) {
                Ok(()) | Err(Errno::EISCONN) => return Ok(opened.into()),
                // Asked again, the kernel goes on waiting.
                Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EAGAIN | Errno::EINTR) => {
                    (self.stands)()?;
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }
}

/// Serves one client to its end.
///
/// # Errors
/// The port is not free, or those of the connection.
pub(crate) fn serve(
    mut stream: &TcpStream,
    header: &Header,
    (request, response, port): (u32, u32, u16),
    late: Option<&Late>,
) -> Result<()> {
    let client = stream.peer_addr()?.ip();
    let address = SocketAddr::new(stream.local_addr()?.ip(), port);
    let listener = beside::bind(&format!("the port for connections of {address}"), || {
        TcpListener::bind(address)
    })?;
    // Those that it accepts have the same patience.
    bound_waits(&listener).context("failed to bound the waits of a listener")?;
    let port = listener.local_addr()?.port();
    stream.write_all(&[&MAGIC[..], &port.to_le_bytes()].concat())?;
    let ended = AtomicBool::new(false);
    let calls = Calls { listener: &listener, client, ended: &ended };
    beside::run(stream, header.longest_held(), &listener, &ended, || match late {
        None => calls.answer(request, response, || ()),
        Some(late) => {
            let mut replies = late.connection();
            calls.answer(request, response, || replies.hold())
        }
    })
}

/// The connections of one client.
struct Calls<'a> {
    listener: &'a TcpListener,
    client: IpAddr,
    ended: &'a AtomicBool,
}

impl Calls<'_> {
    /// Answers each, after whatever comes before its reply, and closes it.
    fn answer(
        &self,
        request: u32,
        response: u32,
        mut before_reply: impl FnMut(),
    ) -> io::Result<()> {
        let mut request = vec![0; request as usize];
        let mut response = vec![0; response as usize];
        let stands = || match self.ended.load(Ordering::SeqCst) {
            true => Err(ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        };
        while !self.ended.load(Ordering::SeqCst) {
            let stream = match self.listener.accept() {
                Ok((stream, from)) if from.ip() == self.client => stream,
                // Somebody else's is none of ours.
                Ok(_) => continue,
                Err(error) if passing(&error) => continue,
                // A listener that was shut down.
                Err(_) if self.ended.load(Ordering::SeqCst) => return Ok(()),
                Err(error) => return Err(error),
            };
            // A client that breaks a transaction off tells why itself, and has the next one answered.
            if receive(&stream, &mut request, stands).is_ok() {
                response[0] = request[0];
                before_reply();
                // As above: what does not arrive is told at the other end.
                send(&stream, &response, stands).ok();
            }
        }
        Ok(())
    }
}

/// Calls on this socket give up after [`PATIENCE`].
fn bound_waits(socket: &impl AsFd) -> nix::Result<()> {
    let patience = TimeVal::microseconds(PATIENCE.as_micros() as i64);
    socket::setsockopt(socket, sockopt::SendTimeout, &patience)?;
    socket::setsockopt(socket, sockopt::ReceiveTimeout, &patience)
}

/// Errors of an accepting socket that say nothing about the next connection.
fn passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

/// Reads all of `buffer`, as long as it `stands`.
fn receive(
    mut stream: &TcpStream,
    buffer: &mut [u8],
    stands: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut got = 0;
    while got < buffer.len() {
        match waited(stream.read(&mut buffer[got..]), &stands)? {
            Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
            bytes => got += bytes.unwrap_or(0),
        }
    }
    Ok(())
}

/// Writes all of `bytes`, as long as it `stands`.
fn send(
    mut stream: &TcpStream,
    bytes: &[u8],
    stands: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += waited(stream.write(&bytes[sent..]), &stands)?.unwrap_or(0);
    }
    Ok(())
}

/// Whether the next thing that comes is the other side's end.
fn has_ended(mut stream: &TcpStream, stands: impl Fn() -> io::Result<()>) -> io::Result<bool> {
    loop {
        if let Some(bytes) = waited(stream.read(&mut [0]), &stands)? {
            return Ok(bytes == 0);
        }
    }
}

/// What a call has moved; nothing if it gave up waiting, and it is worth to wait on.
fn waited(
    moved: io::Result<usize>,
    stands: impl Fn() -> io::Result<()>,
) -> io::Result<Option<usize>> {
    match moved {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) if error.kind() == ErrorKind::WouldBlock => stands().map(|()| None),
        Err(error) => Err(error),
    }
}

//! The server's side of datagrams: a socket on the port of the connection that announced them, and as long as that lasts.
//!
//! The connection carries the header, the greeting and the account, none of which may be lost. Its end ends the
//! socket: nothing that is said in datagrams has to arrive for that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::socket;

use super::Late;
use super::header::{Header, MAGIC, Mode};
use super::stream::{self, Account};
use crate::{sys, wait};

/// How long one call of a client on its socket may wait before it looks whether anything still stands.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// How long the port of a client that has ended may take to be free.
const FREED: Duration = Duration::from_secs(10);

/// A client's socket, for datagrams to `server` and from nobody else. Its calls give up after [`PATIENCE`].
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn client(server: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let opened = || {
        let udp = UdpSocket::bind((any, 0))?;
        patient(&udp, server)?;
        Ok::<_, io::Error>(udp)
    };
    opened().context("failed to open a socket for datagrams")
}

/// Connects a socket and bounds its waits.
pub(crate) fn patient(socket: &UdpSocket, server: SocketAddr) -> io::Result<()> {
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))
}

/// Serves one client to its end.
///
/// # Errors
/// The port is in use for datagrams of another client, or those of the connection.
pub(crate) fn serve(mut stream: &TcpStream, header: &Header, late: Option<&Late>) -> Result<()> {
    let udp = bind(stream.local_addr()?)?;
    let client = stream.peer_addr()?.ip();
    stream.write_all(&MAGIC)?;
    let ended = AtomicBool::new(false);
    let counted = thread::scope(|scope| {
        let (udp, ended) = (&udp, &ended);
        let works = move || {
            // A kernel before 5.9 cannot: then the table stays shared, and the work is a little slower.
            sys::keep_only(&[udp.as_fd(), stream.as_fd()]).ok();
            let arrivals = Arrivals { udp, client, ended };
            match header.mode {
                Mode::AnswerDatagrams { request, response } => match late {
                    None => arrivals.answer(request, response, || ()).map(|()| None),
                    Some(late) => {
                        let mut replies = late.connection();
                        arrivals.answer(request, response, || replies.hold()).map(|()| None)
                    }
                },
                Mode::CountDatagrams { datagram } => {
                    arrivals.count(stream, header, datagram).map(Some)
                }
                Mode::Answer { .. } | Mode::Count | Mode::Sink => Ok(None),
            }
        };
        let worker = thread::Builder::new().name("ek-serve".into()).spawn_scoped(scope, works);
        if worker.is_ok() {
            until_its_end(stream, header.longest_held());
        }
        ended.store(true, Ordering::SeqCst);
        // Ends the worker's wait, also where the kernel calls it an error because no datagram has come yet.
        socket::shutdown(udp.as_raw_fd(), socket::Shutdown::Both).ok();
        worker?.join().map_err(|_| anyhow!("the thread of the datagrams panicked"))
    })??;
    // The port is free before the client is told: its next job may come at once.
    drop(udp);
    if let Some(account) = counted {
        stream::tell(stream, &account)?;
    }
    Ok(())
}

/// A socket on the port. A client that has just ended may come back for its next job before a slow machine has freed the port of
/// the last one.
fn bind(address: SocketAddr) -> Result<UdpSocket> {
    wait::until(&format!("the port for datagrams of {address}"), FREED, || {
        match UdpSocket::bind(address) {
            Ok(udp) => Ok(Some(udp)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// Waits until the client has ended, for `longest` at most. It says nothing more until then.
fn until_its_end(mut stream: &TcpStream, longest: Duration) {
    let mut byte = [0];
    if stream.set_read_timeout(Some(longest)).is_ok() {
        // Whatever it is that ends the wait, the datagrams end with it.
        while matches!(stream.read(&mut byte), Err(error) if error.kind() == ErrorKind::Interrupted)
        {
        }
    }
}

/// The datagrams of one client.
struct Arrivals<'a> {
    udp: &'a UdpSocket,
    client: IpAddr,
    ended: &'a AtomicBool,
}

impl Arrivals<'_> {
    /// Answers requests, after whatever comes before each reply; one of another size is none.
    fn answer(
        &self,
        request: u32,
        response: u32,
        mut before_reply: impl FnMut(),
    ) -> io::Result<()> {
        let mut response = vec![0; response as usize];
        let mut reads = self.begin(request)?;
        while let Some(first) = reads.next()? {
            response[0] = first;
            before_reply();
            match self.udp.send(&response) {
                // The client may have gone; whether it has, the connection tells.
                Err(error) if passing(&error) => {}
                sent => _ = sent?,
            }
        }
        Ok(())
    }

    fn count(&self, stream: &TcpStream, header: &Header, datagram: u32) -> io::Result<Account> {
        let mut reads = self.begin(datagram)?;
        stream::count(stream, header.slices, || {
            Ok(if reads.next()?.is_some() { datagram.into() } else { 0 })
        })
    }

    /// Binds the socket to the client's, once a datagram of this size has come from there.
    fn begin(&self, bytes: u32) -> io::Result<Reads<'_>> {
        // One more than expected, so that a longer datagram is not taken for one of these.
        let mut buffer = vec![0; bytes as usize + 1];
        loop {
            match self.udp.recv_from(&mut buffer) {
                Ok((_, from)) if from.ip() == self.client => {
                    self.udp.connect(from)?;
                    return Ok(Reads { of: self, buffer, bytes: bytes as usize, first: true });
                }
                Err(error) if !passing(&error) => return Err(error),
                _ if self.ended.load(Ordering::SeqCst) => {
                    return Ok(Reads { of: self, buffer, bytes: bytes as usize, first: false });
                }
                _ => {}
            }
        }
    }
}

/// The datagrams of a size, one after the other.
struct Reads<'a> {
    of: &'a Arrivals<'a>,
    buffer: Vec<u8>,
    bytes: usize,
    /// The one with which it began is still to be handed out.
    first: bool,
}

impl Reads<'_> {
    /// The first byte of the next datagram, or nothing at the end.
    #[inline]
    fn next(&mut self) -> io::Result<Option<u8>> {
        if std::mem::take(&mut self.first) {
            return Ok(Some(self.buffer[0]));
        }
        loop {
            match self.of.udp.recv(&mut self.buffer) {
                Ok(bytes) if bytes == self.bytes => return Ok(Some(self.buffer[0])),
                // A socket that was shut down gives what it holds, and then nothing.
                Ok(0) if self.of.ended.load(Ordering::SeqCst) => return Ok(None),
                Ok(_) => {}
                Err(error) if passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Errors that say nothing about the next call: a signal, and what came back for an earlier datagram.
fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused)
}

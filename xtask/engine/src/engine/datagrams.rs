//! The server's side of datagrams: a socket on the port of the connection that announced them, and as long as that lasts.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use super::Late;
use super::beside::{self, PATIENCE};
use super::header::{Header, MAGIC, Mode};
use super::stream::{self, Account};

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
    let address = stream.local_addr()?;
    let udp =
        beside::bind(&format!("the port for datagrams of {address}"), || UdpSocket::bind(address))?;
    let client = stream.peer_addr()?.ip();
    stream.write_all(&MAGIC)?;
    let ended = AtomicBool::new(false);
    let arrivals = Arrivals { udp: &udp, client, ended: &ended };
    let counted = beside::run(stream, header.longest_held(), &udp, &ended, || match header.mode {
        Mode::AnswerDatagrams { request, response } => match late {
            None => arrivals.answer(request, response, || ()).map(|()| None),
            Some(late) => {
                let mut replies = late.connection();
                arrivals.answer(request, response, || replies.hold()).map(|()| None)
            }
        },
        Mode::CountDatagrams { datagram } => arrivals.count(stream, header, datagram).map(Some),
        Mode::Answer { .. } | Mode::AnswerConnections { .. } | Mode::Count | Mode::Sink => Ok(None),
    })?;
    // The port is free before the client is told: its next job may come at once.
    drop(udp);
    if let Some(account) = counted {
        stream::tell(stream, &account)?;
    }
    Ok(())
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

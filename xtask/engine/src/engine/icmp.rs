//! Closed loop of echoes. The kernel of the other end answers them, not a process there: for a container that is the
//! host's kernel, on whichever CPU the packet arrives.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::client::Phase;
use super::exchange::{self, Exchange};
use super::header::MOST_DATAGRAM;
use super::recorder::Recorder;
use super::window::Slices;
use super::{datagrams, watchdog};
use crate::samples::Samples;
use crate::sys;
use crate::wire::Job;

/// Bytes of the header of an echo: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Longest header of IPv4, which raw sockets hand over.
const IP_HEADER: usize = 60;

/// The client.
pub(crate) fn drive(job: &Job, payload: u32) -> Result<Samples> {
    let slices = Slices::of(job)?;
    ensure!(
        (1..=MOST_DATAGRAM).contains(&payload),
        "an echo of {payload} bytes: use 1 to {MOST_DATAGRAM}"
    );
    let longest = slices.total().checked_add(job.grace).context("a grace without end")?;
    // What an echo carries is carried back: counted once, as the counters of a link see it in each direction.
    let recorder = Recorder::new(slices, payload.into())?;
    let (socket, raw) = open(job.address)?;
    let deadline = Instant::now() + longest;
    let stands = || match Instant::now() < deadline {
        true => Ok(()),
        false => Err(io::ErrorKind::TimedOut.into()),
    };
    let failure = |phase: Phase, error: io::Error| {
        anyhow!(error).context(format!("the echoes failed {}", phase.doing()))
    };
    watchdog::apart(&[socket.as_fd()], || {
        let echoes = Echoes::new(&socket, job.address, raw, payload as usize);
        exchange::run(echoes, slices.warmup_ns, recorder, stands, failure)
    })
}

/// A socket for echoes to this address, and whether it is a raw one. The kernel gives the other kind to the groups
/// of `net.ipv4.ping_group_range` only, which are none by default; raw ones need CAP_NET_RAW.
fn open(address: IpAddr) -> Result<(UdpSocket, bool)> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let of = |kind| socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol);
    let (socket, raw): (OwnedFd, bool) = match of(SockType::Datagram) {
        Ok(socket) => (socket, false),
        Err(refusal) => {
            let socket = of(SockType::Raw).with_context(|| {
                format!("failed to open a socket for echoes (and without CAP_NET_RAW: {refusal})")
            })?;
            (socket, true)
        }
    };
    // The calls of a connected socket are the same, whatever its protocol.
    let socket = UdpSocket::from(socket);
    if raw {
        only_answers(&socket, address).context("failed to filter a socket for echoes")?;
    }
    datagrams::patient(&socket, SocketAddr::new(address, 0))
        .with_context(|| format!("failed to connect a socket for echoes to {address}"))?;
    Ok((socket, raw))
}

/// Lets a raw socket see answers to echoes only: bits that are set are types that it does not see.
fn only_answers(socket: &UdpSocket, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => {
            // raw(7): ICMP_FILTER.
            sys::set_option(socket.as_fd(), libc::SOL_RAW, 1, &[!(1 << ANSWER_V4)])
        }
        IpAddr::V6(_) => {
            // RFC 3542, 3.2: ICMP6_FILTER.
            let mut blocked = [u32::MAX; 8];
            blocked[usize::from(ANSWER_V6) / 32] &= !(1 << (ANSWER_V6 % 32));
            sys::set_option(socket.as_fd(), libc::IPPROTO_ICMPV6, 1, &blocked)
        }
    }
}

/// Types of RFC 792 and RFC 4443.
const ECHO_V4: u8 = 8;
const ANSWER_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const ANSWER_V6: u8 = 129;

struct Echoes<'a> {
    socket: &'a UdpSocket,
    v6: bool,
    raw: bool,
    message: Vec<u8>,
    /// Sum of the message with a sequence number and a checksum of 0.
    sum: u32,
    buffer: Vec<u8>,
}

impl Echoes<'_> {
    fn new(socket: &UdpSocket, address: IpAddr, raw: bool, payload: usize) -> Echoes<'_> {
        let v6 = address.is_ipv6();
        let mut message = vec![0x6b; HEADER + payload];
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let kind = if v6 { ECHO_V6 } else { ECHO_V4 };
        message[..HEADER].copy_from_slice(&[kind, 0, 0, 0, high, low, 0, 0]);
        let sum = sum(&message);
        Echoes { socket, v6, raw, message, sum, buffer: vec![0; IP_HEADER + HEADER + payload + 1] }
    }

    /// The sequence number of an answer to us; nothing for what else a raw socket sees.
    fn number(&self, received: &[u8]) -> Option<u64> {
        let skipped = match (self.raw, self.v6) {
            (true, false) => usize::from(received.first()? & 0xf) * 4,
            _ => 0,
        };
        let message = received.get(skipped..)?;
        let answer = if self.v6 { ANSWER_V6 } else { ANSWER_V4 };
        // The kernel puts an identifier of its own into what is not raw, and sorts by it.
        let ours = !self.raw || message.get(4..6)? == &self.message[4..6];
        let whole = message.len() == self.message.len() && message.first() == Some(&answer);
        (ours && whole).then(|| u16::from_be_bytes([message[6], message[7]]).into())
    }
}

impl Exchange for Echoes<'_> {
    /// The sequence number.
    const ROOM: u64 = 0xffff;

    #[inline]
    fn ask(&mut self, number: u64) -> io::Result<()> {
        let number = number as u16;
        self.message[6..8].copy_from_slice(&number.to_be_bytes());
        // For ICMPv6 the kernel fills it in (RFC 3542, 3.1).
        if !self.v6 {
            let checksum = !folded(self.sum + u32::from(number));
            self.message[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        self.socket.send(&self.message).map(drop)
    }

    #[inline]
    fn answer(&mut self) -> io::Result<u64> {
        loop {
            let bytes = self.socket.recv(&mut self.buffer)?;
            if let Some(number) = self.number(&self.buffer[..bytes]) {
                return Ok(number);
            }
        }
    }
}

/// The sum of a message's 16-bit words (RFC 1071), not folded.
fn sum(message: &[u8]) -> u32 {
    let word =
        |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    // 65,507 bytes of it fit in 32 bits.
    message.chunks(2).map(word).sum()
}

fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_checksum_makes_the_whole_sum_up_to_ones(message in prop::collection::vec(any::<u8>(), 1..2_000)) {
            let mut message = message;
            message.resize(message.len().max(4), 0);
            message[2..4].copy_from_slice(&[0, 0]);
            let checksum = !folded(sum(&message));
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            prop_assert_eq!(folded(sum(&message)), 0xffff);
        }

        #[test]
        fn rubbish_is_no_answer(received in prop::collection::vec(any::<u8>(), 0..40), raw: bool, v6: bool) {
            let socket = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address: IpAddr = if v6 { std::net::Ipv6Addr::LOCALHOST.into() } else { std::net::Ipv4Addr::LOCALHOST.into() };
            // None of these is as long as an answer is.
            prop_assert_eq!(Echoes::new(&socket, address, raw, 100).number(&received), None);
        }
    }
}

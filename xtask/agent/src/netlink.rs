//! The few requests to the kernel that bring a link up, address it and route through it
//! (rtnetlink(7)), and waiting for events of the kernel without a clock. For guests, which have no
//! `ip`; on a host, `ip -json` and `ip -batch` do this work.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// How long the kernel may take to answer a request; it answers at once unless something is wrong.
const ANSWER_SECONDS: i64 = 5;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `RTMGRP_LINK` (linux/rtnetlink.h): the multicast group that tells of changes to links.
const LINK_EVENTS: u32 = 1;

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index, by which requests name it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, lower case with colons; empty if it has none.
    pub mac: String,
    /// Whether it is up and has a carrier: a packet sent now is not dropped for want of one.
    pub carries: bool,
}

/// A connection to the kernel's routing tables in the network namespace of the calling thread.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens the connection.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn open() -> anyhow::Result<Netlink> {
        let socket = open_socket(SockProtocol::NetlinkRoute, 0)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS))
            .context("failed to set a deadline on the netlink socket")?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// All links of this namespace.
    ///
    /// # Errors
    /// If the kernel does not answer, or answers what cannot be read.
    pub fn links(&mut self) -> anyhow::Result<Vec<Link>> {
        let mut message = Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP);
        message.bytes.extend([0; LINK_HEADER]);
        let mut links = Vec::new();
        self.ask(message, |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                links.extend(read_link(payload));
            }
        })
        .context("failed to list the links")?;
        Ok(links)
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// If there is no such link, or the kernel refuses.
    pub fn set_up(&mut self, link: u32) -> anyhow::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0);
        let up = libc::IFF_UP as u32;
        message.bytes.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
        for word in [link, up, up] {
            message.bytes.extend(word.to_ne_bytes());
        }
        self.ask(message, |_, _| ()).with_context(|| format!("failed to set link {link} up"))
    }

    /// Adds an address to a link. An IPv6 address is usable at once: duplicates are not looked for.
    ///
    /// # Errors
    /// If the kernel refuses; an address that is there already is fine.
    pub fn add_address(&mut self, link: u32, address: IpAddr, prefix: u8) -> anyhow::Result<()> {
        let mut message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE);
        let flags = if address.is_ipv6() { libc::IFA_F_NODAD as u8 } else { 0 };
        message.bytes.extend([family(address), prefix, flags, libc::RT_SCOPE_UNIVERSE]);
        message.bytes.extend(link.to_ne_bytes());
        message.attribute(libc::IFA_LOCAL, &octets(address));
        message.attribute(libc::IFA_ADDRESS, &octets(address));
        self.ask(message, |_, _| ())
            .with_context(|| format!("failed to add address {address}/{prefix} to link {link}"))
    }

    /// Adds a default route through a gateway.
    ///
    /// # Errors
    /// If the gateway is not reachable by an address that was added before, or the kernel refuses.
    pub fn add_default_route(&mut self, gateway: IpAddr) -> anyhow::Result<()> {
        let mut message = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE);
        // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags.
        message.bytes.extend([family(gateway), 0, 0, 0]);
        message.bytes.extend([
            libc::RT_TABLE_MAIN,
            libc::RTPROT_BOOT,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
        ]);
        message.bytes.extend(0u32.to_ne_bytes());
        message.attribute(libc::RTA_GATEWAY, &octets(gateway));
        self.ask(message, |_, _| ())
            .with_context(|| format!("failed to add the default route through {gateway}"))
    }

    /// Sends a request and hands every answer (type and payload) to `each`, until the kernel says that it is done.
    fn ask(&mut self, message: Message, mut each: impl FnMut(u16, &[u8])) -> anyhow::Result<()> {
        self.sequence += 1;
        let bytes = message.finish(self.sequence);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty()).context("netlink send failed")?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .context("no answer from netlink")?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((answer, after)) = split_answer(rest) {
                rest = after;
                if answer.sequence != self.sequence {
                    continue;
                }
                match i32::from(answer.kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let code =
                            answer.payload.first_chunk().map_or(0, |c| i32::from_ne_bytes(*c));
                        let errno = Errno::from_raw(-code);
                        return match code {
                            0 => Ok(()),
                            _ if errno == Errno::EEXIST => Ok(()),
                            _ => Err(errno.into()),
                        };
                    }
                    _ => each(answer.kind, answer.payload),
                }
            }
        }
    }
}

/// How many connections to the stream socket at `path`, in the network namespace of the calling thread, wait to be accepted or
/// have lost their client: requests that the server behind that path has still to carry out, though nobody may want the answer
/// any more (`sock_diag(7)`).
///
/// # Errors
/// If the kernel does not answer: it may be built without `UNIX_DIAG`.
pub fn forsaken_at(path: &[u8]) -> anyhow::Result<usize> {
    // As bits of `udiag_states` (linux/tcp_states.h), and what to show of each (linux/unix_diag.h).
    const ESTABLISHED_OR_LISTENING: u32 = 1 << 1 | 1 << LISTENING;
    const NAME_AND_QUEUE: u32 = 0x01 | 0x10;
    /// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
    const BY_FAMILY: u16 = 20;
    let socket = open_socket(SockProtocol::NetlinkSockDiag, 0)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS))
        .context("failed to set a deadline on the netlink socket")?;
    let mut message = Message::new(BY_FAMILY, libc::NLM_F_DUMP);
    // struct unix_diag_req: family, protocol, pad; states, inode, what to show, a cookie of two words.
    message.bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    for word in [ESTABLISHED_OR_LISTENING, 0, NAME_AND_QUEUE, u32::MAX, u32::MAX] {
        message.bytes.extend(word.to_ne_bytes());
    }
    let mut found = 0;
    Netlink { socket, sequence: 0 }
        .ask(message, |_, payload| found += forsaken(payload, path).unwrap_or(0))
        .context("failed to list the local sockets")?;
    Ok(found)
}

/// `TCP_LISTEN`, also of local sockets.
const LISTENING: u8 = 10;

/// What a `unix_diag_msg` of 16 bytes, with attributes behind it, adds to the count of [`forsaken_at`].
fn forsaken(payload: &[u8], path: &[u8]) -> Option<usize> {
    const NAME: u16 = 0;
    const QUEUE: u16 = 4;
    const SHUTDOWN: u16 = 6;
    let listens = *payload.get(2)? == LISTENING;
    let (mut is_at, mut is_shut, mut waiting) = (false, false, 0);
    for (kind, value) in attributes(payload.get(16..)?) {
        match kind {
            NAME => is_at = value.strip_suffix(b"\0").unwrap_or(value) == path,
            QUEUE => waiting = u32::from_ne_bytes(*value.first_chunk()?) as usize,
            SHUTDOWN => is_shut = value.first().is_some_and(|&shut| shut != 0),
            _ => {}
        }
    }
    match (is_at, listens) {
        (false, _) => None,
        (true, true) => Some(waiting),
        (true, false) => Some(usize::from(is_shut)),
    }
}

/// A stream of the kernel's announcements, subscribed to before the state is looked at, so that
/// no change is missed between looking and waiting.
#[derive(Debug)]
pub struct Events {
    socket: OwnedFd,
}

impl Events {
    /// Announcements of devices that come and go.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn of_devices() -> anyhow::Result<Events> {
        Ok(Events { socket: open_socket(SockProtocol::NetlinkKObjectUEvent, 1)? })
    }

    /// Announcements of changes to links.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn of_links() -> anyhow::Result<Events> {
        Ok(Events { socket: open_socket(SockProtocol::NetlinkRoute, LINK_EVENTS)? })
    }

    /// Looks, and looks again after each announcement, until `look` finds something.
    ///
    /// # Errors
    /// What `look` returns; or that `what` did not come within the deadline.
    pub fn until<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + within;
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{what} did not come within {within:?}");
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, timeout) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error).context("failed to wait for the kernel's events"),
            }
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                // ENOBUFS: announcements were lost, which is a reason to look again.
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => {}
                Err(error) => return Err(error).context("failed to read the kernel's events"),
            }
        }
    }
}

fn open_socket(protocol: SockProtocol, groups: u32) -> anyhow::Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(protocol))
            .context("failed to open a netlink socket")?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))
        .context("failed to bind a netlink socket")?;
    Ok(socket)
}

/// A request under construction: `nlmsghdr`, then what the type asks for, then attributes.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: i32) -> Message {
        let mut bytes = vec![0; HEADER];
        let flags = (flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Message { bytes }
    }

    /// Appends an attribute: length and type of 16 bits each, the value, zeros to the next multiple of four.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// One message of an answer.
struct Answer<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The first message of a datagram and what follows it; nothing if what is left is no message.
fn split_answer(bytes: &[u8]) -> Option<(Answer<'_>, &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    let payload = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((Answer { kind, sequence, payload }, after))
}

/// A link out of the payload of `RTM_NEWLINK`: `ifinfomsg`, then attributes.
fn read_link(payload: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(*payload.get(4..)?.first_chunk()?);
    let flags = u32::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    let carrying = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
    let mut link = Link {
        index,
        name: String::new(),
        mac: String::new(),
        carries: flags & carrying == carrying,
    };
    for (kind, value) in attributes(payload.get(LINK_HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => {
                link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
            libc::IFLA_ADDRESS => {
                let pairs: Vec<String> = value.iter().map(|b| format!("{b:02x}")).collect();
                link.mac = pairs.join(":");
            }
            _ => {}
        }
    }
    Some(link)
}

/// The attributes in these bytes, as type and value; ends at the first that is cut off.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..length)?;
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    family as u8
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Reads `198.18.0.2/24`.
///
/// # Errors
/// If it is not an address with a prefix length that its family allows.
pub fn parse_prefix(text: &str) -> anyhow::Result<(IpAddr, u8)> {
    let wrong = || format!("`{text}` is not an address with a prefix length, like `198.18.0.2/24`");
    let (address, prefix) = text.split_once('/').with_context(wrong)?;
    let address: IpAddr = address.parse().with_context(wrong)?;
    let prefix: u8 = prefix.parse().with_context(wrong)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    ensure!(prefix <= longest, wrong());
    Ok((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_keep_their_length() {
        let mut message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE);
        message.attribute(libc::IFA_LABEL, b"eth0\0");
        message.attribute(libc::IFA_LOCAL, &[198, 18, 0, 2]);
        let bytes = message.finish(7);
        assert_eq!(bytes.len(), HEADER + 12 + 8);
        assert_eq!(bytes[0..4], 36u32.to_ne_bytes());
        assert_eq!(bytes[8..12], 7u32.to_ne_bytes());
        assert_eq!(bytes[16..18], 9u16.to_ne_bytes());
        assert_eq!(bytes[20..28], *b"eth0\0\0\0\0");
        assert_eq!(bytes[32..36], [198, 18, 0, 2]);
    }

    #[test]
    fn prefixes_are_checked() {
        assert_eq!(parse_prefix("198.18.0.2/24").unwrap(), ("198.18.0.2".parse().unwrap(), 24));
        assert_eq!(parse_prefix("2001:2::2/64").unwrap().1, 64);
        for wrong in ["198.18.0.2", "198.18.0.2/33", "host/24", "::1/129", "1.2.3.4/-1", "/"] {
            let error = parse_prefix(wrong).unwrap_err();
            assert!(format!("{error:#}").contains(&format!("`{wrong}`")), "{error:#}");
        }
    }

    #[test]
    fn loopback_is_found_with_its_index() {
        let links = Netlink::open().unwrap().links().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").expect("every namespace has lo");
        assert_eq!((loopback.index, loopback.mac.as_str()), (1, "00:00:00:00:00:00"));
    }

    #[test]
    fn a_server_is_seen_to_hold_what_a_client_has_left() {
        use std::os::unix::net::{UnixListener, UnixStream};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let name = path.to_str().unwrap().as_bytes();
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(forsaken_at(name).unwrap(), 0);
        let client = UnixStream::connect(&path).unwrap();
        // Nobody has accepted it yet: what it asks is still to be carried out, also when it has left.
        assert_eq!(forsaken_at(name).unwrap(), 1);
        drop(client);
        assert_eq!(forsaken_at(name).unwrap(), 1);
        let server = listener.accept().unwrap();
        assert_eq!(forsaken_at(name).unwrap(), 1);
        drop(server);
        // A child that another test has just started holds it until it runs its program.
        let gone = || Ok((forsaken_at(name)? == 0).then_some(()));
        crate::wait::until("the connection to be gone", Duration::from_secs(60), gone).unwrap();
    }

    #[test]
    fn an_event_that_never_comes_ends_at_the_deadline_and_is_named() {
        let events = Events::of_links().unwrap();
        let error = events
            .until("the impossible link", Duration::from_millis(20), || Ok(None::<()>))
            .unwrap_err();
        assert_eq!(error.to_string(), "the impossible link did not come within 20ms");
    }

    proptest::proptest! {
        #[test]
        fn no_answer_of_the_kernel_can_panic_the_reader(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while let Some((answer, after)) = split_answer(rest) {
                proptest::prop_assert!(after.len() < rest.len());
                read_link(answer.payload);
                rest = after;
            }
            read_link(&bytes);
            forsaken(&bytes, b"x");
        }
    }
}

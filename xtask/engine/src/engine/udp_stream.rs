//! Bulk datagrams from client to server, counted by the receiver: what the sender's kernel took says nothing about what arrived.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use anyhow::{Context as _, Result, ensure};

use super::client::{self, Phase, Session, readable};
use super::header::{Header, Mode};
use super::window::Slices;
use super::{datagrams, stream};
use crate::clock;
use crate::samples::{Loss, Samples};
use crate::sys;
use crate::wire::Job;

/// The client: sends until the receiver has enough, then takes its account.
pub(crate) fn drive(job: &Job, datagram: u32, fragments: bool) -> Result<Samples> {
    let slices = Slices::of(job)?;
    let header = Header::new(Mode::CountDatagrams { datagram }, slices, job.grace)?;
    let udp = datagrams::client(SocketAddr::new(job.address, job.port))?;
    if !fragments {
        // Then the kernel refuses what is larger than the path's MTU instead of sending it in pieces.
        let (level, name, value) = match job.address {
            std::net::IpAddr::V4(_) => {
                (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
            }
            std::net::IpAddr::V6(_) => {
                (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)
            }
        };
        sys::set_option(udp.as_fd(), level, name, &[value as u32])
            .context("failed to forbid fragments")?;
    }
    client::with_session_beside(job, &header, &[udp.as_fd()], |session| {
        send(session, &udp, slices, datagram)
    })
}

fn send(session: &Session<'_>, udp: &UdpSocket, slices: Slices, datagram: u32) -> Result<Samples> {
    let block = vec![0x6b; datagram as usize];
    let mut sent = 0;
    let began_ns = clock::now() + slices.warmup_ns;
    let ends_ns = began_ns + slices.measured_ns();
    // The receiver's windows cannot be over before the client's: until then nothing is asked.
    loop {
        let now = clock::now();
        if now >= ends_ns && readable(session.stream)? {
            break;
        }
        let phase = if now < began_ns { Phase::WarmUp } else { Phase::Measuring };
        match udp.send(&block) {
            Ok(_) => sent += 1,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                session.stands().map_err(|error| session.failure(phase, error))?;
            }
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                return Err(error).with_context(|| {
                    format!("a datagram of {datagram} bytes does not fit the MTU: use a smaller one, or allow fragments")
                });
            }
            Err(error) => return Err(session.failure(phase, error)),
        }
        // The receiver may never see enough: nothing else would end this loop.
        if session.expired() {
            return Err(session.failure(phase, ErrorKind::TimedOut.into()));
        }
    }

    let account = stream::account_of(session)?;
    let received = account.total_bytes / u64::from(datagram);
    ensure!(received <= sent, "{sent} datagrams were sent and {received} received");
    let samples = stream::samples(slices, began_ns, &account)?;
    Ok(Samples { loss: Some(Loss { sent, lost: sent - received }), ..samples })
}

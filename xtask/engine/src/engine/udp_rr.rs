//! Closed loop over UDP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use anyhow::Result;

use super::exchange::{self, Exchange};
use super::header::{Header, Mode};
use super::recorder::Recorder;
use super::rr::wrong_answer;
use super::window::Slices;
use super::{client, datagrams};
use crate::samples::Samples;
use crate::wire::Job;

/// The client.
pub(crate) fn drive(job: &Job, request: u32, response: u32) -> Result<Samples> {
    let slices = Slices::of(job)?;
    let header = Header::new(Mode::AnswerDatagrams { request, response }, slices, job.grace)?;
    let recorder = Recorder::new(slices, u64::from(request) + u64::from(response))?;
    let udp = datagrams::client(SocketAddr::new(job.address, job.port))?;
    client::with_session_beside(job, &header, &[udp.as_fd()], |session| {
        let transactions = Transactions {
            udp: &udp,
            request: vec![0; request as usize],
            // One more than expected, so that a longer answer is noticed.
            response: vec![0; response as usize + 1],
        };
        let failure = |phase, error| session.failure(phase, error);
        let samples =
            exchange::run(transactions, slices.warmup_ns, recorder, || session.stands(), failure)?;
        session.end()?;
        Ok(samples)
    })
}

struct Transactions<'a> {
    udp: &'a UdpSocket,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Exchange for Transactions<'_> {
    /// The first byte.
    const ROOM: u64 = 0xff;

    #[inline]
    fn ask(&mut self, number: u64) -> io::Result<()> {
        self.request[0] = number as u8;
        self.udp.send(&self.request).map(drop)
    }

    #[inline]
    fn answer(&mut self) -> io::Result<u64> {
        let bytes = self.udp.recv(&mut self.response)?;
        if bytes + 1 == self.response.len() {
            Ok(self.response[0].into())
        } else {
            Err(wrong_answer())
        }
    }
}

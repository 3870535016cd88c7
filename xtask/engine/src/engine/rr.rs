//! Closed loop: request, answer, next request, as fast as answers come.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use anyhow::Result;

use super::client::{self, Phase, Session};
use super::header::{Header, Mode};
use super::recorder::Recorder;
use super::window::Slices;
use crate::clock;
use crate::samples::Samples;
use crate::wire::Job;

/// The client: transactions one after the other, one clock read each.
pub(crate) fn drive(job: &Job, request: u32, response: u32) -> Result<Samples> {
    let slices = Slices::of(job)?;
    let header = Header::new(Mode::Answer { request, response }, slices, job.grace)?;
    let recorder = Recorder::new(slices, u64::from(request) + u64::from(response))?;
    client::with_session(job, &header, move |session| {
        let mut asker = Asker {
            stream: session.stream,
            request: vec![0; request as usize],
            response: vec![0; response as usize],
        };
        measure(session, slices.warmup_ns, recorder, |number| asker.ask(number))
    })
}

/// Does transactions one after the other through warm-up and windows. `ask` does the one of this number.
///
/// # Errors
/// Those of `ask`, and a loop in which nothing was measured.
pub(crate) fn measure(
    session: &Session<'_>,
    warmup_ns: u64,
    mut recorder: Recorder,
    mut ask: impl FnMut(u64) -> io::Result<()>,
) -> Result<Samples> {
    let mut transactions = 0;
    let mut ask = || {
        ask(transactions)?;
        transactions += 1;
        Ok::<_, io::Error>(())
    };

    let warm_at = clock::now() + warmup_ns;
    let mut started = loop {
        ask().map_err(|error| session.failure(Phase::WarmUp, error))?;
        let now = clock::now();
        if now >= warm_at {
            break now;
        }
    };

    recorder.begin(started);
    let ends_ns = recorder.ends_ns();
    let ended = loop {
        ask().map_err(|error| session.failure(Phase::Measuring, error))?;
        let ended = clock::now();
        let paused = recorder.record(ended, ended - started);
        if ended >= ends_ns {
            break ended;
        }
        started = if paused { clock::now() } else { ended };
    };
    recorder.finish(ended, transactions, None)
}

/// Does transactions. The first byte numbers them, so that an answer too many is noticed.
struct Asker<'a> {
    stream: &'a TcpStream,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Asker<'_> {
    #[inline]
    fn ask(&mut self, number: u64) -> io::Result<()> {
        let number = number as u8;
        self.request[0] = number;
        self.stream.write_all(&self.request)?;
        self.stream.read_exact(&mut self.response)?;
        if self.response[0] == number { Ok(()) } else { Err(wrong_answer()) }
    }
}

/// An answer that does not carry the number of its request.
pub(crate) fn wrong_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer does not belong to its request")
}

/// The server: answers until the client closes, after whatever comes before each reply.
///
/// # Errors
/// Those of the connection, and a client that ends within a request.
pub(crate) fn serve(
    mut stream: &TcpStream,
    request: u32,
    response: u32,
    mut before_reply: impl FnMut(),
) -> io::Result<()> {
    let mut request = vec![0; request as usize];
    let mut response = vec![0; response as usize];
    loop {
        let first = match stream.read(&mut request) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            first => first?,
        };
        stream.read_exact(&mut request[first..])?;
        response[0] = request[0];
        before_reply();
        stream.write_all(&response)?;
    }
}

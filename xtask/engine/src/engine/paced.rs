//! Open loop: requests at intended times, whatever the answers do.
//!
//! A closed loop stops asking while it waits, so a stall of a thousand requests counts as one
//! (coordinated omission). Here latency counts from the *intended* time of each request. What the closed loop
//! would have reported is kept beside it: latencies from the actual send time of those requests that such a
//! loop would have sent, and how many it would have left out.
//!
//! The client sleeps between events and never spins: it may share a CPU with the server.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl;
use nix::sys::time::TimeSpec;

use super::client::{self, Phase, Session};
use super::distribution::Distribution;
use super::header::{Header, Mode};
use super::recorder::Recorder;
use super::rr::wrong_answer;
use super::window::Slices;
use crate::clock;
use crate::samples::{ClosedView, Samples};
use crate::wire::Job;

/// Answers are read into a buffer of this many bytes.
const READ_BYTES: usize = 64 << 10;

const SECOND_NS: u64 = 1_000_000_000;

/// The client.
pub(crate) fn drive(job: &Job, request: u32, response: u32, rate: u32) -> Result<Samples> {
    let slices = Slices::of(job)?;
    let schedule = Schedule::new(slices, rate)?;
    let header = Header::new(Mode::Answer { request, response }, slices, job.grace)?;
    let recorder = Recorder::new(slices, u64::from(request) + u64::from(response))?;
    let closed = Distribution::new()?;
    client::with_session(job, &header, move |session| {
        session
            .stream
            .set_nonblocking(true)
            .context("failed to make the connection non-blocking")?;
        // This thread's sleeps end within a nanosecond of what it asks for, instead of 50 us.
        prctl::set_timerslack(1).context("failed to set the timer slack")?;
        let pacer = Pacer {
            stream: session.stream,
            schedule,
            began_ns: clock::now(),
            request: vec![0; request as usize],
            written: 0,
            due: 0,
            response: response as usize,
            position: 0,
            outstanding: VecDeque::new(),
            recorder,
            closed,
            late_max_ns: 0,
            omitted: 0,
            ended_ns: 0,
        };
        pacer.measure(session, slices.warmup_ns)
    })
}

/// When each request is due, nanoseconds since the beginning.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    rate: u64,
    /// Requests in all.
    count: u64,
    /// Requests of the warm-up: the first one to be measured has this number.
    first_measured: u64,
}

impl Schedule {
    fn new(slices: Slices, rate: u32) -> Result<Schedule> {
        ensure!(rate > 0, "a paced job needs a rate of at least one request a second");
        let total_ns = slices.warmup_ns + slices.measured_ns();
        let until = |ns: u64| (u128::from(ns) * u128::from(rate)).div_ceil(SECOND_NS.into());
        // Below 2^32 requests, so that `due_ns` stays within 64 bits.
        let count =
            u32::try_from(until(total_ns)).context("more than 2^32 requests: use a lower rate")?;
        let first_measured = until(slices.warmup_ns) as u64;
        ensure!(
            u64::from(count) > first_measured,
            "no request falls into the measured time: use a higher rate or longer windows"
        );
        Ok(Schedule { rate: rate.into(), count: count.into(), first_measured })
    }

    fn due_ns(&self, number: u64) -> u64 {
        number * SECOND_NS / self.rate
    }
}

/// A request that was sent and not answered.
struct Outstanding {
    sent_ns: u64,
    /// A closed loop would not have sent it.
    omitted: bool,
}

struct Pacer<'a> {
    stream: &'a TcpStream,
    schedule: Schedule,
    began_ns: u64,
    request: Vec<u8>,
    /// Bytes of the current request that the kernel has taken.
    written: usize,
    /// The number of the next request to send.
    due: u64,
    response: usize,
    /// Bytes of the current answer that have arrived.
    position: usize,
    outstanding: VecDeque<Outstanding>,
    recorder: Recorder,
    closed: Distribution,
    late_max_ns: u64,
    omitted: u64,
    ended_ns: u64,
}

impl Pacer<'_> {
    fn measure(mut self, session: &Session<'_>, warmup_ns: u64) -> Result<Samples> {
        self.recorder.begin(self.began_ns + warmup_ns);
        self.run().map_err(|error| {
            let warm = self.due >= self.schedule.first_measured;
            session.failure(if warm { Phase::Measuring } else { Phase::WarmUp }, error)
        })?;
        let closed_view = ClosedView {
            histogram: self.closed.encoded()?,
            moments: self.closed.moments(),
            late_max_ns: self.late_max_ns,
            omitted: self.omitted,
        };
        self.recorder.finish(self.ended_ns, self.schedule.count, Some(closed_view))
    }

    fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut blocked = false;
        while self.due < self.schedule.count || !self.outstanding.is_empty() {
            let ready = self.wait(blocked)?;
            if ready.intersects(!PollFlags::POLLOUT) {
                self.receive(&mut buffer)?;
            }
            blocked &= !ready.contains(PollFlags::POLLOUT);
            let now = clock::now();
            if !blocked && self.due < self.schedule.count && self.intended(self.due) <= now {
                blocked = !self.send(now)?;
            }
        }
        Ok(())
    }

    fn intended(&self, number: u64) -> u64 {
        self.began_ns + self.schedule.due_ns(number)
    }

    /// Waits for an answer, for room if `blocked`, or until the next request is due.
    fn wait(&self, blocked: bool) -> io::Result<PollFlags> {
        let room = if blocked { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut waits = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN | room)];
        // When all is sent, or nothing can be, the watchdog bounds the wait.
        let timeout = (!blocked && self.due < self.schedule.count).then(|| {
            let left_ns = self.intended(self.due).saturating_sub(clock::now());
            TimeSpec::from_duration(Duration::from_nanos(left_ns))
        });
        match ppoll(&mut waits, timeout, None) {
            Ok(_) => Ok(waits[0].revents().unwrap_or(PollFlags::empty())),
            Err(Errno::EINTR) => Ok(PollFlags::empty()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Sends the request that is due. Returns whether the kernel took all of it.
    fn send(&mut self, now: u64) -> io::Result<bool> {
        self.request[0] = self.due as u8;
        match self.stream.write(&self.request[self.written..]) {
            Ok(taken) => self.written += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        }
        if self.written < self.request.len() {
            return Ok(false);
        }
        let interval_ns = SECOND_NS / self.schedule.rate;
        let omitted = self
            .outstanding
            .front()
            .is_some_and(|oldest| now.saturating_sub(oldest.sent_ns) > interval_ns);
        if self.due >= self.schedule.first_measured {
            self.late_max_ns = self.late_max_ns.max(now - self.intended(self.due));
            self.omitted += u64::from(omitted);
        }
        self.outstanding.push_back(Outstanding { sent_ns: now, omitted });
        (self.written, self.due) = (0, self.due + 1);
        Ok(true)
    }

    /// Takes in what has arrived; answers come in the order of the requests.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let arrived = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(arrived) => arrived,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.ended_ns = clock::now();
        let mut at = 0;
        while at < arrived {
            let number = self.due - self.outstanding.len() as u64;
            if self.position == 0 && buffer[at] != number as u8 {
                return Err(wrong_answer());
            }
            let step = (self.response - self.position).min(arrived - at);
            (self.position, at) = (self.position + step, at + step);
            if self.position == self.response {
                self.position = 0;
                self.answered(number)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, number: u64) -> io::Result<()> {
        let request = self.outstanding.pop_front().ok_or_else(wrong_answer)?;
        if number >= self.schedule.first_measured {
            // The log's pauses need no care here: latency counts from the schedule, whatever we do.
            self.recorder.record(self.ended_ns, self.ended_ns - self.intended(number));
            if !request.omitted {
                self.closed.record(self.ended_ns - request.sent_ns);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_no_drift_and_knows_its_warm_up() {
        let slices = Slices::new(100_000_000, 20_000_000, 10).unwrap();
        let schedule = Schedule::new(slices, 3_000).unwrap();
        assert_eq!((schedule.count, schedule.first_measured), (900, 300));
        assert_eq!(schedule.due_ns(300), 100_000_000);
        assert_eq!(schedule.due_ns(1), 333_333);
    }

    #[test]
    fn a_schedule_without_a_measured_request_is_refused() {
        let slices = Slices::new(10, 20, 1).unwrap();
        assert!(Schedule::new(slices, 0).is_err());
        assert!(Schedule::new(slices, 1).unwrap_err().to_string().contains("higher rate"));
    }
}

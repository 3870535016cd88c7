//! A closed loop over datagrams, which may get lost: request, answer, next request.
//!
//! A request that gets no answer within [`super::beside::PATIENCE`] is given up and the next one is sent. If its answer comes
//! after all, it was not lost but late: it counts, with its true latency, so that no stall hides as a loss. What
//! stays without an answer is lost, and is no latency.

use std::io::{self, ErrorKind};

use anyhow::{Context as _, Result};

use super::client::Phase;
use super::recorder::Recorder;
use super::rr::wrong_answer;
use crate::clock;
use crate::samples::{Loss, Samples};

/// Requests given up that are remembered; an answer that comes even later counts as lost.
const MOST_GIVEN_UP: usize = 64;

/// How requests and answers travel. Both carry the number of the request, as far as there is room for it.
pub(crate) trait Exchange {
    /// The bits of a number that there is room for.
    const ROOM: u64;

    /// Sends the request of this number.
    fn ask(&mut self, number: u64) -> io::Result<()>;

    /// The number of the next answer. `WouldBlock` where none has come in time.
    fn answer(&mut self) -> io::Result<u64>;
}

/// Runs the loop. `stands` tells whether it is worth going on without an answer; `failure` puts an error into words.
///
/// # Errors
/// Those of the exchange, an answer to nothing, and a loop in which nothing was measured.
pub(crate) fn run<E: Exchange>(
    exchange: E,
    warmup_ns: u64,
    mut recorder: Recorder,
    stands: impl Fn() -> io::Result<()>,
    failure: impl Fn(Phase, io::Error) -> anyhow::Error,
) -> Result<Samples> {
    let mut asker = Asker { exchange, sent: 0, answered: 0, given_up: Vec::new() };

    let warm_at = clock::now() + warmup_ns;
    let mut started = clock::now();
    while started < warm_at {
        let outcome = asker.ask(started, |_| {});
        let outcome = outcome.and_then(|got| if got { Ok(()) } else { stands() });
        outcome.map_err(|error| failure(Phase::WarmUp, error))?;
        started = clock::now();
    }

    recorder.begin(started);
    let (began, ends_ns) = (started, recorder.ends_ns());
    let ended = loop {
        let mut late = |sent_ns: u64| {
            if sent_ns >= began {
                let now = clock::now();
                recorder.record(now, now - sent_ns);
            }
        };
        let got = asker.ask(started, &mut late);
        let ended = clock::now();
        let mut paused = false;
        match got {
            Ok(true) => paused = recorder.record(ended, ended - started),
            Ok(false) => stands().map_err(|error| failure(Phase::Measuring, error))?,
            Err(error) => return Err(failure(Phase::Measuring, error)),
        }
        if ended >= ends_ns {
            break ended;
        }
        started = if paused { clock::now() } else { ended };
    };
    let loss = Loss { sent: asker.sent, lost: asker.sent - asker.answered };
    let samples = recorder
        .finish(ended, asker.answered, None)
        .with_context(|| format!("{} of {} requests were lost", loss.lost, loss.sent))?;
    Ok(Samples { loss: Some(loss), ..samples })
}

/// Does exchanges and counts them.
struct Asker<E> {
    exchange: E,
    sent: u64,
    answered: u64,
    /// Number and send time of requests without an answer.
    given_up: Vec<(u64, u64)>,
}

impl<E: Exchange> Asker<E> {
    /// Asks, and waits for the answer; returns whether it came. `late` is told the send time of every earlier request
    /// whose answer came meanwhile.
    #[inline]
    fn ask(&mut self, started_ns: u64, mut late: impl FnMut(u64)) -> io::Result<bool> {
        let number = self.sent;
        self.exchange.ask(number)?;
        self.sent += 1;
        loop {
            match self.exchange.answer() {
                Ok(answer) if answer == number & E::ROOM => {
                    self.answered += 1;
                    return Ok(true);
                }
                Ok(answer) => late(self.late(answer)?),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.given_up.len() == MOST_GIVEN_UP {
                        self.given_up.remove(0);
                    }
                    self.given_up.push((number & E::ROOM, started_ns));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The send time of the request that was given up and has this number.
    #[cold]
    fn late(&mut self, number: u64) -> io::Result<u64> {
        let at = self.given_up.iter().position(|(given_up, _)| *given_up == number);
        let (_, sent_ns) = self.given_up.remove(at.ok_or_else(wrong_answer)?);
        self.answered += 1;
        Ok(sent_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::window::Slices;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// What becomes of each request in turn: answered at once, after so many others, or never.
    struct Scripted {
        fates: VecDeque<Option<usize>>,
        /// Answers under way: (asks to wait, number).
        under_way: Vec<(usize, u64)>,
        asked: u64,
    }

    impl Exchange for Scripted {
        const ROOM: u64 = 0xff;

        fn ask(&mut self, number: u64) -> io::Result<()> {
            assert_eq!(number, self.asked);
            self.asked += 1;
            self.under_way.iter_mut().for_each(|(wait, _)| *wait = wait.saturating_sub(1));
            // Once the script is over, all is answered.
            if let Some(wait) = self.fates.pop_front().unwrap_or(Some(0)) {
                self.under_way.push((wait, number & 0xff));
            }
            Ok(())
        }

        fn answer(&mut self) -> io::Result<u64> {
            match self.under_way.iter().position(|(wait, _)| *wait == 0) {
                Some(at) => Ok(self.under_way.remove(at).1),
                None => Err(ErrorKind::WouldBlock.into()),
            }
        }
    }

    proptest! {
        #[test]
        fn late_answers_count_and_lost_ones_do_not(
            fates in prop::collection::vec(prop::option::weighted(0.8, 0usize..5), 1..60),
        ) {
            // The first is answered, or a machine that stands still then measures nothing.
            let fates: Vec<_> = std::iter::once(Some(0)).chain(fates).collect();
            let never = fates.iter().filter(|fate| fate.is_none()).count() as u64;
            let asked_for = fates.len() as u64;
            let exchange = Scripted { fates: fates.into(), under_way: Vec::new(), asked: 0 };
            let slices = Slices::new(0, 500_000, 4).unwrap();
            let recorder = Recorder::new(slices, 2).unwrap();
            let samples = run(exchange, 0, recorder, || Ok(()), |_, error| error.into()).unwrap();
            let loss = samples.loss.unwrap();
            // A machine that stands still for the whole time gets through less of the script.
            if loss.sent > asked_for + 5 {
                prop_assert_eq!(loss.lost, never);
            }
            prop_assert_eq!(samples.moments.count, loss.sent - loss.lost);
            prop_assert_eq!(samples.crossed_operations, loss.sent - loss.lost);
        }
    }

    #[test]
    fn an_answer_to_nothing_is_an_error() {
        let exchange = Scripted { fates: VecDeque::new(), under_way: vec![(0, 77)], asked: 0 };
        let recorder = Recorder::new(Slices::new(0, 1_000, 1).unwrap(), 2).unwrap();
        let error = run(exchange, 0, recorder, || Ok(()), |_, error| error.into()).unwrap_err();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }

    #[test]
    fn a_loop_that_loses_everything_is_an_error_and_no_number() {
        let fates = vec![None; 1_000_000].into();
        let exchange = Scripted { fates, under_way: Vec::new(), asked: 0 };
        let recorder = Recorder::new(Slices::new(0, 1_000, 1).unwrap(), 2).unwrap();
        let error = run(exchange, 0, recorder, || Ok(()), |_, error| error.into()).unwrap_err();
        assert!(format!("{error:#}").contains("requests were lost"), "{error:#}");
    }
}

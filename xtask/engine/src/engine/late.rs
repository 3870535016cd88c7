//! Replies that are late on purpose: the fault of known size by which a host's power to find such faults is measured. A server without one
//! answers as if this were not here.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;
use crate::wire::{Delay, FaultCounters};

/// A wait as long as this is slept through but for its end; a shorter one is spent on the CPU, because waking up takes as long as it.
const SLEPT_NS: u64 = 1_000_000;

/// The end of a wait that is not slept through: a sleeper may be late.
const SPUN_NS: u64 = 200_000;

/// Spread of the law of [`Delay::Spread`]: the standard deviation of the logarithm.
const SIGMA: f64 = 1.0;

/// What is late, and how late it was so far.
#[derive(Debug)]
pub struct Late {
    delay: Delay,
    connections: AtomicU64,
    replies: AtomicU64,
    delayed: AtomicU64,
    delayed_ns: AtomicU64,
}

impl Late {
    /// A server's replies by this law.
    pub fn new(delay: Delay) -> Late {
        let none = || AtomicU64::new(0);
        let [connections, replies, delayed, delayed_ns] = [none(), none(), none(), none()];
        Late { delay, connections, replies, delayed, delayed_ns }
    }

    /// What has been given late so far.
    pub fn count(&self) -> FaultCounters {
        FaultCounters {
            replies: self.replies.load(Ordering::Relaxed),
            delayed: self.delayed.load(Ordering::Relaxed),
            delayed_ns: self.delayed_ns.load(Ordering::Relaxed),
            ..FaultCounters::default()
        }
    }

    /// The replies of one more connection.
    pub(crate) fn connection(&self) -> Replies<'_> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        // Every boot anew, as are the boots themselves: the time of the connection.
        let mut replies = Replies {
            of: self,
            random: clock::now() ^ number.rotate_left(48),
            next_ns: 0,
            number: 0,
        };
        if let Delay::Pause { every_ns, .. } = self.delay {
            replies.next_ns = clock::now() + (replies.share() * every_ns as f64) as u64;
        }
        replies
    }
}

/// The replies of one connection.
pub(crate) struct Replies<'a> {
    of: &'a Late,
    random: u64,
    /// When the next pause is due.
    next_ns: u64,
    number: u64,
}

impl Replies<'_> {
    /// Waits as long as the next reply is to be late.
    #[inline]
    pub(crate) fn hold(&mut self) {
        self.of.replies.fetch_add(1, Ordering::Relaxed);
        let ns = self.next();
        if ns > 0 {
            let began = clock::now();
            wait_until(began + ns);
            self.of.delayed.fetch_add(1, Ordering::Relaxed);
            self.of.delayed_ns.fetch_add(clock::now() - began, Ordering::Relaxed);
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        match self.of.delay {
            Delay::Always { ns } => ns,
            Delay::Every { nth, ns } => {
                if self.number.is_multiple_of(nth.max(1).into()) {
                    ns
                } else {
                    0
                }
            }
            Delay::Share { percent, ns } => {
                if self.share() * 100.0 < f64::from(percent) {
                    ns
                } else {
                    0
                }
            }
            Delay::Pause { every_ns, ns } => {
                let now = clock::now();
                if now < self.next_ns {
                    return 0;
                }
                self.next_ns = now + every_ns;
                ns
            }
            Delay::Spread { median_ns } => {
                // Box & Muller 1958.
                let (one, other) = (1.0 - self.share(), self.share());
                let normal = (-2.0 * one.ln()).sqrt() * (TAU * other).cos();
                (median_ns as f64 * (SIGMA * normal).exp()) as u64
            }
        }
    }

    /// A number from 0 up to 1 (splitmix64: Steele, Lea, Flood 2014).
    fn share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / 2_f64.powi(64)
    }
}

fn wait_until(at_ns: u64) {
    if at_ns.saturating_sub(clock::now()) > SLEPT_NS {
        // A sleep that the kernel refuses is spent on the CPU like a short one.
        clock::sleep_until(at_ns - SPUN_NS).ok();
    }
    while clock::now() < at_ns {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(delay: Delay, count: usize) -> Vec<u64> {
        let late = Late::new(delay);
        let mut replies = late.connection();
        (0..count).map(|_| replies.next()).collect()
    }

    #[test]
    fn laws_are_those_that_they_say() {
        assert_eq!(delays(Delay::Always { ns: 7 }, 3), [7, 7, 7]);
        assert_eq!(delays(Delay::Every { nth: 3, ns: 5 }, 7), [0, 0, 5, 0, 0, 5, 0]);
        // 30 % of 10,000 are 3,000 give or take; 6 standard deviations are 275.
        let some = delays(Delay::Share { percent: 30, ns: 9 }, 10_000);
        let count = some.iter().filter(|ns| **ns == 9).count();
        assert!(
            count.abs_diff(3000) < 275 && some.iter().all(|ns| *ns == 0 || *ns == 9),
            "{count}"
        );
        let mut spread = delays(Delay::Spread { median_ns: 1000 }, 10_000);
        spread.sort_unstable();
        // scipy.stats.lognorm(1, scale=1000).ppf([.25, .5, .75]) = 509.4, 1000, 1963; five standard errors of each quantile.
        for (at, expected, error) in
            [(2500, 509.4, 40.0), (5000, 1000.0, 65.0), (7500, 1963.0, 140.0)]
        {
            let found = spread[at] as f64;
            assert!((found - expected).abs() < error, "{found} instead of {expected}");
        }
    }

    #[test]
    fn pauses_come_by_the_clock_and_are_counted() {
        let late = Late::new(Delay::Pause { every_ns: 3_000_000_000_000, ns: 1 });
        let mut replies = late.connection();
        // Due at some time within the first interval, and not again before the next.
        replies.next_ns = clock::now();
        (0..100).for_each(|_| replies.hold());
        let counted = late.count();
        assert_eq!((counted.replies, counted.delayed), (100, 1));
        assert!(counted.delayed_ns >= 1);
        let long = Late::new(Delay::Always { ns: 2 * SLEPT_NS });
        long.connection().hold();
        assert!(long.count().delayed_ns >= 2 * SLEPT_NS);
    }
}

//! ping, as a cross-check of echoes in the same cell: iputils' or busybox's, whichever the host has.

use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::samples::{Loss, Moments, Samples, Unit};
use evenkeel_agent::wire::{Answer, Ask};

use super::{
    Crossed, ECHO, Endpoints, GRACE, Launch, Traffic, Workload, family_flag, line, own_server,
    printed, words,
};
use crate::doctor::NeedName;
use crate::matrix::Measure;

/// Echoes of a run, as many as in the thesis.
const ECHOES: u32 = 100;

/// Seconds between them: the fewest that iputils allows to ordinary users.
const INTERVAL: &str = "0.002";

/// The workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ping;

impl Workload for Ping {
    fn name(&self) -> &str {
        "ping"
    }

    fn about(&self) -> &str {
        "ping's times of 100 echoes, 2 ms apart, whole microseconds each; a kernel answers: a container's is the host's, wherever the container is pinned"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ping]
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn traffic(&self) -> Traffic {
        Traffic::Echoes
    }

    fn start(&self, ends: &Endpoints<'_>, _measure: &Measure) -> Launch {
        let (count, target) = (ECHOES.to_string(), ends.target.to_string());
        let size = ECHO.to_string();
        Launch {
            // Nothing has to serve; what is asked for proves that the system under test is there.
            serve: own_server(ends),
            drive: Ask::Exec {
                argv: line(&[
                    "ping",
                    family_flag(ends.family),
                    "-n",
                    "-c",
                    &count,
                    "-i",
                    INTERVAL,
                    "-s",
                    &size,
                    "-W",
                    "2",
                    &target,
                ]),
                folder: None,
                within: Duration::from_secs(5) + GRACE,
            },
        }
    }

    fn crossed(&self, samples: &Samples) -> Crossed {
        Crossed { packets: samples.crossed_operations, bytes: samples.crossed_bytes }
    }

    fn read(&self, answer: Answer) -> anyhow::Result<Samples> {
        let text = printed("ping", answer)?;
        let values = text
            .lines()
            .filter(|line| line.contains(" bytes from ") && !line.contains("DUP!"))
            .map(|line| {
                time_of(line).with_context(|| format!("ping did not tell a time: {}", words(line)))
            })
            .collect::<anyhow::Result<Vec<f64>>>()?;
        let [sent, received] = sent_and_received(&text)
            .with_context(|| format!("ping said no counts: {}", words(&text)))?;
        // Every answer of the account must have been shown.
        if values.is_empty() || received > sent || received != values.len() as u64 {
            bail!(
                "ping counted {received} answers of {sent} and showed {}: {}",
                values.len(),
                words(&text)
            );
        }
        let moments = values.iter().fold(Moments::default(), |before, value| {
            let count = before.count + 1;
            let mean = before.mean + (value - before.mean) / count as f64;
            Moments { count, mean, m2: before.m2 + (value - before.mean) * (value - mean) }
        });
        Ok(Samples {
            unit: Unit::Nanoseconds,
            moments,
            histogram: None,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(0.0, f64::max),
            windows: Vec::new(),
            began_monotonic_ns: 0,
            measured_ns: values.iter().sum::<f64>() as u64,
            crossed_operations: received,
            crossed_bytes: received * u64::from(ECHO),
            closed_view: None,
            loss: Some(Loss { sent, lost: sent - received }),
            raw: Some(text.chars().rev().take(400).collect::<String>().chars().rev().collect()),
            values,
        })
    }
}

/// The time of an answer, nanoseconds: `time=0.045 ms`.
fn time_of(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once(" time=")?;
    let ms = rest.strip_suffix(" ms")?;
    // Digits and a point: no sign, no exponent, no comma of another language.
    let plain = ms.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let ms = ms.parse::<f64>().ok().filter(|ms| plain && *ms <= 3_600_000.0)?;
    Some((ms * 1e6).round())
}

/// `5 packets transmitted, 5 received, ...`, or `5 packets received`.
fn sent_and_received(text: &str) -> Option<[u64; 2]> {
    let line = text.lines().find(|line| line.contains(" packets transmitted, "))?;
    let (sent, rest) = line.split_once(" packets transmitted, ")?;
    let (received, rest) = rest.split_once(' ')?;
    let rest = rest.strip_prefix("packets ").unwrap_or(rest);
    if !rest.starts_with("received, ") {
        return None;
    }
    Some([sent.parse().ok()?, received.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_agent::wire::Ran;
    use proptest::prelude::*;

    fn ran(code: i32, stdout: &str) -> Answer {
        let (stdout, stderr) = (stdout.to_owned(), String::new());
        Answer::Ran(Ran { code: Some(code), timed_out: false, stdout, stderr })
    }

    /// iputils 20221126.
    const IPUTILS: &str = "PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.
64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.114 ms
64 bytes from 127.0.0.1: icmp_seq=2 ttl=64 time=0.014 ms

--- 127.0.0.1 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 15ms
rtt min/avg/max/mdev = 0.014/0.034/0.114/0.040 ms
";

    /// busybox 1.35.
    const BUSYBOX: &str = "PING ::1 (::1): 56 data bytes
64 bytes from ::1: seq=0 ttl=64 time=0.063 ms
64 bytes from ::1: seq=1 ttl=64 time=0.023 ms
64 bytes from ::1: seq=2 ttl=64 time=0.023 ms

--- ::1 ping statistics ---
3 packets transmitted, 3 packets received, 0% packet loss
round-trip min/avg/max = 0.023/0.036/0.063 ms
";

    #[test]
    fn both_pings_are_read() {
        let samples = Ping.read(ran(0, IPUTILS)).unwrap();
        assert_eq!(samples.values, [114_000.0, 14_000.0]);
        assert_eq!((samples.moments.mean, samples.min), (64_000.0, 14_000.0));
        assert_eq!((samples.crossed_operations, samples.crossed_bytes), (2, 112));
        let samples = Ping.read(ran(0, BUSYBOX)).unwrap();
        assert_eq!(samples.values, [63_000.0, 23_000.0, 23_000.0]);
        assert_eq!(samples.loss, Some(Loss { sent: 3, lost: 0 }));
    }

    #[test]
    fn what_is_lost_is_counted_and_is_no_value() {
        let text = BUSYBOX.replace("3 packets transmitted", "5 packets transmitted");
        let samples = Ping.read(ran(0, &text)).unwrap();
        assert_eq!((samples.values.len(), samples.loss), (3, Some(Loss { sent: 5, lost: 2 })));
    }

    #[test]
    fn rubbish_is_no_number() {
        for (good, bad) in [
            ("0.114", "-0.114"),
            ("0.114", "-nan"),
            ("0.114", "0,114"),
            ("0.114", "1e3"),
            ("0.114", "inf"),
            (" time=0.114 ms", ""),
            ("time=0.114 ms", "Zeit=0.114 ms"),
            ("2 packets transmitted", "2 Pakete gesendet"),
            ("2 packets transmitted", "1 packets transmitted"),
            ("2 received", "-2 received"),
            ("2 received", "1 received"),
        ] {
            let text = IPUTILS.replace(good, bad);
            let error = Ping.read(ran(0, &text)).unwrap_err().to_string();
            assert!(error.starts_with("ping"), "{bad}: {error}");
        }
        for text in ["", "PING"] {
            assert!(Ping.read(ran(0, text)).is_err());
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_an_error_in_pings_words() {
        let text = "PING 198.18.0.9 (198.18.0.9) 56(84) bytes of data.\n\n--- 198.18.0.9 ping statistics ---\n\
            5 packets transmitted, 0 received, 100% packet loss, time 41ms\n\n";
        let error = Ping.read(ran(1, text)).unwrap_err().to_string();
        assert!(error.contains("code 1") && error.contains("100% packet loss"), "{error}");
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(text in "(64 bytes from |time=|[0-9.,-]| ms|\n| packets transmitted, | received, |x){0,40}") {
            if let Ok(samples) = Ping.read(ran(0, &text)) {
                prop_assert!(samples.values.iter().all(|value| value.is_finite() && *value >= 0.0));
            }
        }
    }
}

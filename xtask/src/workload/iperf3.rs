//! iperf3, as a cross-check of bandwidth in the same cell (JSON output).

use std::time::Duration;

use anyhow::Context as _;

use evenkeel_agent::samples::{Samples, Unit};
use evenkeel_agent::wire::{Answer, Ask};

use super::{
    Crossed, Endpoints, GRACE, Launch, PORTS, Workload, family_flag, line, printed, rate, seconds,
    single,
};
use crate::doctor::NeedName;
use crate::matrix::Measure;

/// iperf3's port.
const PORT: u16 = *PORTS.start() + 3;

/// The workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Iperf3;

impl Workload for Iperf3 {
    fn name(&self) -> &str {
        "iperf3-tcp"
    }

    fn about(&self) -> &str {
        "iperf3's bandwidth of one TCP connection, as the receiver counts it"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Iperf3]
    }

    fn programs(&self) -> &'static [&'static str] {
        &["iperf3"]
    }

    fn start(&self, ends: &Endpoints<'_>, measure: &Measure) -> Launch {
        let family = family_flag(ends.family);
        let (listen, target) = (ends.listen.to_string(), ends.target.to_string());
        let (port, length) = (PORT.to_string(), seconds(measure).to_string());
        let within = Duration::from_secs(seconds(measure)) + GRACE;
        Launch {
            serve: Ask::Daemon {
                argv: line(&["iperf3", "-s", family, "-B", &listen, "-p", &port]),
                folder: None,
                port: PORT,
                within: GRACE,
            },
            drive: Ask::Exec {
                argv: line(&["iperf3", family, "-c", &target, "-p", &port, "-t", &length, "-J"]),
                folder: None,
                within,
            },
        }
    }

    fn crossed(&self, samples: &Samples) -> Crossed {
        Crossed { packets: 0, bytes: samples.crossed_bytes }
    }

    fn read(&self, answer: Answer) -> anyhow::Result<Samples> {
        let text = printed("iperf3", answer)?;
        let json: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("iperf3 printed no JSON: {}", super::words(&text)))?;
        if let Some(error) = json["error"].as_str() {
            anyhow::bail!("iperf3: {error}");
        }
        let received = &json["end"]["sum_received"];
        let bits = rate("iperf3", "bits_per_second", received["bits_per_second"].as_f64(), &text)?;
        let elapsed = rate("iperf3", "seconds", received["seconds"].as_f64(), &text)?;
        Ok(single(Unit::BytesPerSecond, bits / 8.0, elapsed, json["end"].to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_agent::wire::Ran;

    fn ran(stdout: &str) -> Answer {
        Answer::Ran(Ran {
            code: Some(0),
            timed_out: false,
            stdout: stdout.to_owned(),
            stderr: String::new(),
        })
    }

    #[test]
    fn the_receivers_count_is_read() {
        let text = r#"{"end":{"sum_received":{"seconds":2.0,"bits_per_second":8e9}}}"#;
        let samples = Iperf3.read(ran(text)).unwrap();
        assert_eq!((samples.moments.mean, samples.crossed_bytes), (1e9, 2_000_000_000));
    }

    #[test]
    fn rubbish_is_no_number() {
        for text in [
            "",
            "{",
            "{}",
            r#"{"error":"unable to connect"}"#,
            r#"{"end":{"sum_received":{"seconds":0,"bits_per_second":1}}}"#,
        ] {
            let error = Iperf3.read(ran(text)).unwrap_err().to_string();
            assert!(error.starts_with("iperf3"), "{text}: {error}");
        }
    }
}

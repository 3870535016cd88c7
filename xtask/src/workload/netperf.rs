//! netperf's TCP_RR and TCP_STREAM, as a cross-check in the same cell (netperf 2.7, omni output selection).

use std::time::Duration;

use evenkeel_agent::samples::{Samples, Unit};
use evenkeel_agent::wire::{Answer, Ask};

use super::{
    Crossed, Endpoints, GRACE, Launch, PORTS, Workload, family_flag, line, printed, rate, seconds,
    single,
};
use crate::doctor::NeedName;
use crate::matrix::Measure;

/// Ports of netperf's control and data connections.
const CONTROL: u16 = *PORTS.start() + 1;
const DATA: u16 = *PORTS.start() + 2;

/// The two tests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Netperf {
    Rr,
    Stream,
}

impl Workload for Netperf {
    fn name(&self) -> &'static str {
        match self {
            Netperf::Rr => "netperf-tcp-rr",
            Netperf::Stream => "netperf-tcp-stream",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Netperf::Rr => "netperf's TCP_RR (`-r 1,1`): transactions a second",
            Netperf::Stream => "netperf's TCP_STREAM: bandwidth of one connection",
        }
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Netperf]
    }

    fn programs(&self) -> &'static [&'static str] {
        &["netserver"]
    }

    fn start(&self, ends: &Endpoints, measure: &Measure) -> Launch {
        let family = family_flag(ends.family);
        let (listen, target) = (ends.listen.to_string(), ends.target.to_string());
        let (control, data) = (CONTROL.to_string(), format!(",{DATA}"));
        let length = seconds(measure).to_string();
        let serve = line(&["netserver", "-D", family, "-L", &listen, "-p", &control]);
        let test = match self {
            Netperf::Rr => "TCP_RR",
            Netperf::Stream => "TCP_STREAM",
        };
        let mut drive = line(&[
            "netperf", family, "-H", &target, "-p", &control, "-t", test, "-l", &length, "-P", "0",
            "--", "-P", &data,
        ]);
        match self {
            Netperf::Rr => drive.extend(line(&["-r", "1,1"])),
            Netperf::Stream => {}
        }
        drive.extend(line(&[
            "-k",
            match self {
                Netperf::Rr => RR_OUTPUT,
                Netperf::Stream => "THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME",
            },
        ]));
        let within = Duration::from_secs(seconds(measure)) + GRACE;
        Launch {
            serve: Ask::Daemon { argv: serve, port: CONTROL, within: GRACE },
            drive: Ask::Exec { argv: drive, within },
        }
    }

    fn crossed(&self, samples: &Samples) -> Crossed {
        // Rates are told to a hundredth, times to a hundredth of a second: allow for both.
        let least = |count: u64| count - count / 50;
        Crossed { packets: least(samples.crossed_operations), bytes: least(samples.crossed_bytes) }
    }

    fn read(&self, answer: Answer) -> anyhow::Result<Samples> {
        let text = printed("netperf", answer)?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))
                .and_then(|value| value.trim().parse::<f64>().ok())
        };
        let throughput = rate("netperf", "THROUGHPUT", value("THROUGHPUT"), &text)?;
        let elapsed = rate("netperf", "ELAPSED_TIME", value("ELAPSED_TIME"), &text)?;
        Ok(match self {
            Netperf::Rr => single(Unit::TransactionsPerSecond, throughput, elapsed, text),
            // netperf's unit is 10^6 bits a second.
            Netperf::Stream => single(Unit::BytesPerSecond, throughput * 1e6 / 8.0, elapsed, text),
        })
    }
}

const RR_OUTPUT: &str = "THROUGHPUT,ELAPSED_TIME,MIN_LATENCY,P50_LATENCY,P90_LATENCY,P99_LATENCY,\
    MAX_LATENCY,MEAN_LATENCY,STDDEV_LATENCY";

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
    fn selected_output_is_read() {
        let text = "THROUGHPUT=39471.36\nELAPSED_TIME=1.00\nP50_LATENCY=24\nP99_LATENCY=41\n";
        let samples = Netperf::Rr.read(ran(text)).unwrap();
        assert_eq!(
            (samples.values.as_slice(), samples.crossed_operations),
            (&[39471.36][..], 39471)
        );
        let samples = Netperf::Stream.read(ran("THROUGHPUT=8.0\nELAPSED_TIME=2.0\n")).unwrap();
        assert_eq!((samples.moments.mean, samples.crossed_bytes), (1e6, 2_000_000));
    }

    #[test]
    fn rubbish_is_no_number() {
        for text in
            ["", "THROUGHPUT=-nan\nELAPSED_TIME=1.0", "THROUGHPUT=0.00\nELAPSED_TIME=1", "x"]
        {
            let error = Netperf::Rr.read(ran(text)).unwrap_err().to_string();
            assert!(error.starts_with("netperf"), "{text}: {error}");
        }
    }
}

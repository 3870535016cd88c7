//! netperf's RR, CRR and STREAM tests over TCP and UDP, as a cross-check in the same cell (netperf 2.7, omni output selection).

use std::time::Duration;

use anyhow::bail;
use evenkeel_agent::samples::{Loss, Samples, Unit};
use evenkeel_agent::wire::{Answer, Ask};

use super::{
    Crossed, Endpoints, GRACE, Launch, PORTS, Workload, count, datagram, family_flag, line,
    printed, rate, seconds, single, words,
};
use crate::doctor::NeedName;
use crate::matrix::Measure;

/// Ports of netperf's control and data connections.
const CONTROL: u16 = *PORTS.start() + 1;
const DATA: u16 = *PORTS.start() + 2;

/// The tests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Netperf {
    Rr,
    Crr,
    Stream,
    UdpRr,
    UdpStream,
}

impl Workload for Netperf {
    fn name(&self) -> &str {
        match self {
            Netperf::Rr => "netperf-tcp-rr",
            Netperf::Crr => "netperf-tcp-crr",
            Netperf::Stream => "netperf-tcp-stream",
            Netperf::UdpRr => "netperf-udp-rr",
            Netperf::UdpStream => "netperf-udp-stream",
        }
    }

    fn about(&self) -> &str {
        match self {
            Netperf::Rr => "netperf's TCP_RR (`-r 1,1`): transactions a second",
            Netperf::Crr => {
                "netperf's TCP_CRR (`-r 1,1`): connections of one transaction each a second"
            }
            Netperf::Stream => "netperf's TCP_STREAM: bandwidth of one connection",
            Netperf::UdpRr => {
                "netperf's UDP_RR (`-r 1,1`): transactions a second; it waits for ever for what is lost"
            }
            Netperf::UdpStream => {
                "netperf's UDP_STREAM (`-R 1 -m 1472`): bandwidth of one flow, as the receiver counts it"
            }
        }
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Netperf]
    }

    fn programs(&self) -> &'static [&'static str] {
        &["netserver"]
    }

    fn start(&self, ends: &Endpoints<'_>, measure: &Measure) -> Launch {
        let family = family_flag(ends.family);
        let (listen, target) = (ends.listen.to_string(), ends.target.to_string());
        let (control, data) = (CONTROL.to_string(), format!(",{DATA}"));
        let length = seconds(measure).to_string();
        let serve = line(&["netserver", "-D", family, "-L", &listen, "-p", &control]);
        let test = match self {
            Netperf::Rr => "TCP_RR",
            Netperf::Crr => "TCP_CRR",
            Netperf::Stream => "TCP_STREAM",
            Netperf::UdpRr => "UDP_RR",
            Netperf::UdpStream => "UDP_STREAM",
        };
        let mut drive = line(&[
            "netperf", family, "-H", &target, "-p", &control, "-t", test, "-l", &length, "-P", "0",
            "--", "-P", &data,
        ]);
        match self {
            Netperf::Rr | Netperf::Crr | Netperf::UdpRr => drive.extend(line(&["-r", "1,1"])),
            Netperf::Stream => {}
            Netperf::UdpStream => {
                // Without `-R 1` it asks the kernel not to route its datagrams.
                drive.extend(line(&["-R", "1", "-m", &datagram(ends.family).to_string()]));
            }
        }
        drive.extend(line(&[
            "-k",
            match self {
                Netperf::Rr | Netperf::Crr | Netperf::UdpRr => RR_OUTPUT,
                Netperf::Stream => "THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME",
                Netperf::UdpStream => UDP_STREAM_OUTPUT,
            },
        ]));
        let within = Duration::from_secs(seconds(measure)) + GRACE;
        Launch {
            serve: Ask::Daemon { argv: serve, folder: None, port: CONTROL, within: GRACE },
            drive: Ask::Exec { argv: drive, folder: None, within },
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
        // What the sender's kernel took of datagrams says nothing about what arrived.
        let name = match self {
            Netperf::UdpStream => "REMOTE_RECV_THROUGHPUT",
            Netperf::Rr | Netperf::Crr | Netperf::Stream | Netperf::UdpRr => "THROUGHPUT",
        };
        let throughput = rate("netperf", name, value(name), &text)?;
        let elapsed = rate("netperf", "ELAPSED_TIME", value("ELAPSED_TIME"), &text)?;
        Ok(match self {
            Netperf::UdpStream => {
                let count = |name| count("netperf", name, value(name), &text);
                let (sent, size) = (count("LOCAL_BYTES_SENT")?, count("LOCAL_SEND_SIZE")?);
                let (received, calls) = (count("REMOTE_BYTES_RECVD")?, count("LOCAL_SEND_CALLS")?);
                if received > sent || size == 0 {
                    bail!(
                        "netperf reported {received} bytes received of {sent} sent: {}",
                        words(&text)
                    );
                }
                let lost = calls.saturating_sub(received / size);
                let samples = single(Unit::BytesPerSecond, throughput * 1e6 / 8.0, elapsed, text);
                Samples {
                    crossed_bytes: received,
                    loss: Some(Loss { sent: calls, lost }),
                    ..samples
                }
            }
            Netperf::Rr | Netperf::Crr | Netperf::UdpRr => {
                single(Unit::TransactionsPerSecond, throughput, elapsed, text)
            }
            // netperf's unit is 10^6 bits a second.
            Netperf::Stream => single(Unit::BytesPerSecond, throughput * 1e6 / 8.0, elapsed, text),
        })
    }
}

const RR_OUTPUT: &str = "THROUGHPUT,ELAPSED_TIME,MIN_LATENCY,P50_LATENCY,P90_LATENCY,P99_LATENCY,\
    MAX_LATENCY,MEAN_LATENCY,STDDEV_LATENCY";

const UDP_STREAM_OUTPUT: &str = "REMOTE_RECV_THROUGHPUT,LOCAL_SEND_THROUGHPUT,THROUGHPUT_UNITS,\
    ELAPSED_TIME,LOCAL_BYTES_SENT,REMOTE_BYTES_RECVD,LOCAL_SEND_CALLS,LOCAL_SEND_SIZE";

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

    /// What netperf 2.7.0 printed over a pair of links.
    const UDP_STREAM: &str = "REMOTE_RECV_THROUGHPUT=2500.55\nLOCAL_SEND_THROUGHPUT=2541.94\nTHROUGHPUT_UNITS=10^6bits/s\n\
        ELAPSED_TIME=1.00\nLOCAL_BYTES_SENT=317768000\nREMOTE_BYTES_RECVD=312593920\nLOCAL_SEND_CALLS=215875\nLOCAL_SEND_SIZE=1472\n";

    #[test]
    fn of_datagrams_the_receivers_figure_is_read() {
        let samples = Netperf::UdpStream.read(ran(UDP_STREAM)).unwrap();
        assert_eq!(samples.moments.mean, 2500.55e6 / 8.0);
        assert_eq!(samples.crossed_bytes, 312_593_920);
        assert_eq!(samples.loss, Some(Loss { sent: 215_875, lost: 215_875 - 212_360 }));
        let text = "THROUGHPUT=20207.30\nELAPSED_TIME=1.00\nMIN_LATENCY=12\nP50_LATENCY=49\nSTDDEV_LATENCY=97.33\n";
        let samples = Netperf::UdpRr.read(ran(text)).unwrap();
        assert_eq!((samples.moments.mean, samples.crossed_operations), (20_207.3, 20_207));
    }

    #[test]
    fn rubbish_of_datagrams_is_no_number() {
        for (good, bad) in [
            ("2500.55", "-nan"),
            ("2500.55", "2500,55"),
            ("2500.55", "-1"),
            ("317768000", "-317768000"),
            ("312593920", "inf"),
            ("312593920", "999999999"),
            ("SIZE=1472", "SIZE=0"),
            ("CALLS=215875", "CALLS="),
        ] {
            let text = UDP_STREAM.replace(good, bad);
            let error = Netperf::UdpStream.read(ran(&text)).unwrap_err().to_string();
            assert!(error.starts_with("netperf"), "{bad}: {error}");
        }
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

//! iperf3's JSON (`iperf3 -J`), one document or several behind one another, each of which is a boot.
//!
//! The values are the rates of its intervals, those that `-O` omits left out: what the side that wrote the file saw. Of datagrams
//! that this side sent, only the receiver's total says what arrived: one value.

use anyhow::{Context as _, Result, bail, ensure};
use evenkeel_agent::samples::{Loss, Samples, Unit};
use serde_json::Value;

use super::{ForeignBoot, Import, Series, samples};
use crate::matrix::Cell;
use crate::record::check::LARGEST;

/// Characters of a document's end that are kept.
const KEPT: usize = 4000;

/// Reads the documents of a file into boots numbered from `first` on.
///
/// # Errors
/// Text that is no such document; says which one, and where.
pub fn read(text: &str, cell: &Cell, first: u32) -> Result<Import> {
    let text = text.trim_start_matches('\u{feff}');
    let mut import = Import { format: "iperf3", ..Import::default() };
    let mut started = u64::MAX;
    for (document, number) in serde_json::Deserializer::from_str(text).into_iter::<Value>().zip(1..)
    {
        let document = document.context("no JSON of iperf3")?;
        let place = || format!("document {number}");
        let boot = first.checked_add(number - 1).context("too many documents")?;
        import.boots.push(read_one(&document, cell, boot).with_context(place)?);
        let began = document.pointer("/start/timestamp/timesecs").and_then(Value::as_u64);
        started = started.min(began.unwrap_or(u64::MAX));
    }
    ensure!(!import.boots.is_empty(), "the file is empty");
    import.started_unix = if started == u64::MAX { 0 } else { started };
    Ok(import)
}

fn read_one(document: &Value, cell: &Cell, boot: u32) -> Result<ForeignBoot> {
    if let Some(error) = document["error"].as_str() {
        bail!("iperf3 failed: {error}");
    }
    let end = &document["end"];
    ensure!(end.is_object(), "no result of iperf3: `end` is missing");
    let protocol = document.pointer("/start/test_start/protocol").and_then(Value::as_str);
    let udp = protocol == Some("UDP");
    let intervals: Vec<&Value> = document["intervals"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|interval| &interval["sum"])
        .filter(|sum| sum["omitted"].as_bool() != Some(true))
        .collect();
    let sent_here = intervals.iter().any(|sum| sum["sender"].as_bool() != Some(false));
    let values = match intervals.is_empty() || (udp && sent_here) {
        false => {
            intervals.iter().map(|sum| rate(sum, "an interval")).collect::<Result<Vec<_>>>()?
        }
        true => vec![received(end)?],
    };
    let seconds = ["sum_received", "sum"].iter().find_map(|sum| end[*sum]["seconds"].as_f64());
    let counted = |name: &str| end["sum"][name].as_u64();
    let loss = counted("packets").zip(counted("lost_packets")).filter(|(sent, lost)| lost <= sent);
    let workload = if udp { "iperf3-udp" } else { "iperf3-tcp" };
    Ok(ForeignBoot {
        series: Series { cell: cell.clone(), workload: workload.to_owned(), foreign: None },
        boot,
        accelerator: None,
        samples: Samples {
            measured_ns: (seconds.unwrap_or(0.0).max(0.0) * 1e9) as u64,
            loss: udp.then_some(loss).flatten().map(|(sent, lost)| Loss { sent, lost }),
            raw: Some(end.to_string().chars().take(KEPT).collect()),
            ..samples(Unit::BytesPerSecond, values)
        },
    })
}

/// The whole test's rate at the receiver. Before iperf3 3.7, datagrams have one sum, of what was sent.
fn received(end: &Value) -> Result<f64> {
    if end["sum_received"].is_object() {
        return rate(&end["sum_received"], "`sum_received`");
    }
    let lost = end["sum"]["lost_percent"].as_f64().unwrap_or(0.0);
    ensure!((0.0..100.0).contains(&lost), "`lost_percent` {lost} leaves nothing");
    Ok(rate(&end["sum"], "`sum`")? * (1.0 - lost / 100.0))
}

/// Bytes a second. Nothing may have come in an interval, which is a rate of 0.
fn rate(sum: &Value, what: &str) -> Result<f64> {
    let bits = sum["bits_per_second"].as_f64();
    let bits = bits.with_context(|| format!("{what} has no number `bits_per_second`"))?;
    ensure!(
        (0.0..=LARGEST * 8.0).contains(&bits),
        "{what} has {bits:e} bits a second, which is no rate"
    );
    Ok(bits / 8.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::import::series_of;

    fn read(text: &str) -> Result<Import> {
        super::read(text, &series_of("x").cell, 0)
    }

    /// The shape of what iperf3 3.12 wrote over loopback.
    const TCP: &str = r#"{"start": {"timestamp": {"timesecs": 1795592529}, "test_start": {"protocol": "TCP"}},
        "intervals": [{"sum": {"seconds": 0.5, "bits_per_second": 8e10, "omitted": true, "sender": true}},
            {"sum": {"seconds": 1, "bits_per_second": 2e10, "omitted": false, "sender": true}},
            {"sum": {"seconds": 1, "bits_per_second": 1e10, "omitted": false, "sender": true}}],
        "end": {"sum_sent": {"seconds": 2, "bits_per_second": 1.6e10}, "sum_received": {"seconds": 2, "bits_per_second": 1.5e10}}}"#;
    const UDP: &str = r#"{"start": {"test_start": {"protocol": "UDP"}},
        "intervals": [{"sum": {"bits_per_second": 1e8, "omitted": false, "sender": true}}],
        "end": {"sum": {"bits_per_second": 1e8, "lost_packets": 2, "packets": 8, "lost_percent": 25},
            "sum_received": {"seconds": 2, "bits_per_second": 7.5e7}}}"#;

    #[test]
    fn intervals_of_streams_and_the_receivers_total_of_datagrams() {
        let import = read(&format!("\u{feff}{TCP}\r\n{UDP}")).unwrap();
        assert_eq!(import.started_unix, 1_795_592_529);
        let [tcp, udp] = &import.boots[..] else { panic!("two boots") };
        assert_eq!((tcp.series.workload.as_str(), tcp.boot), ("iperf3-tcp", 0));
        assert_eq!(tcp.samples.values, [2.5e9, 1.25e9]);
        assert_eq!((udp.series.workload.as_str(), udp.boot), ("iperf3-udp", 1));
        assert_eq!(udp.samples.values, [7.5e7 / 8.0]);
        assert_eq!(udp.samples.loss, Some(Loss { sent: 8, lost: 2 }));
        let older = UDP.replace("sum_received", "nothing");
        assert_eq!(read(&older).unwrap().boots[0].samples.values, [7.5e7 / 8.0]);
        // Received here: each interval is what arrived.
        let here = UDP.replace("\"sender\": true", "\"sender\": false");
        assert_eq!(read(&here).unwrap().boots[0].samples.values, [1e8 / 8.0]);
    }

    #[test]
    fn rubbish_is_no_number() {
        let error = |text: &str| format!("{:#}", read(text).unwrap_err());
        insta::assert_snapshot!(
            [
                error(""),
                error("iperf3: error"),
                error("{}"),
                error("{\"error\": \"unable to connect\"}"),
                error(&TCP[..200]),
                error(&TCP.replace("1e10", "-1")),
                error(&TCP.replace("1e10", "\"nan\"")),
                error(&format!("{TCP}{}", UDP.replace("7.5e7", "1e300"))),
            ]
            .join("\n"),
            @r"
        the file is empty
        no JSON of iperf3: expected value at line 1 column 1
        document 1: no result of iperf3: `end` is missing
        document 1: iperf3 failed: unable to connect
        no JSON of iperf3: EOF while parsing a value at line 3 column 7
        document 1: an interval has -1e0 bits a second, which is no rate
        document 1: an interval has no number `bits_per_second`
        document 2: `sum_received` has 1e300 bits a second, which is no rate
        "
        );
    }
}

//! netperf's omni output, by name: `-k` (a line `THROUGHPUT=...` for each figure) and `-o` (a line of names, a line of values). A file may
//! hold several results, each of which is a boot: a fresh start of netperf is all that is known to be fresh.

use evenkeel_agent::samples::{Samples, Unit};

use super::csv::Wrong;
use super::{ForeignBoot, Import, Series, samples, unit};
use crate::matrix::{Cell, quoted};
use crate::record::check::LARGEST;

/// Characters of a result's own words that are kept.
const KEPT: usize = 4000;

/// Names of `-k` and of `-o` for what is read here.
const THROUGHPUT: [&str; 2] = ["THROUGHPUT", "Throughput"];
const UNITS: [&str; 2] = ["THROUGHPUT_UNITS", "Throughput Units"];
const ELAPSED: [&str; 2] = ["ELAPSED_TIME", "Elapsed Time (sec)"];
const PROTOCOL: [&str; 2] = ["PROTOCOL", "Protocol"];
const RECEIVED: [&str; 2] = ["REMOTE_RECV_THROUGHPUT", "Remote Recv Throughput"];
const DIRECTION: [&str; 2] = ["DIRECTION", "Direction"];

/// Reads the results of a file into boots numbered from `first` on.
///
/// # Errors
/// A line that is no result, or no result at all.
pub fn read(text: &str, cell: &Cell, first: u32) -> Result<Import, Wrong> {
    let results = results(text)?;
    if results.is_empty() {
        let what = "no result: neither a line THROUGHPUT=... (netperf ... -- -k) nor a line of names with Throughput (netperf ... -- -o)";
        return Err(Wrong { line: 1, what: what.to_owned() });
    }
    let boots = results.iter().zip(first..).map(|(result, boot)| result.boot(cell, boot));
    let boots = boots.collect::<Result<Vec<_>, _>>()?;
    Ok(Import { format: "netperf", boots, ..Import::default() })
}

/// One result.
struct Found {
    /// Where it begins.
    line: u64,
    /// The test that the line above it names, such as `UDP STREAM`.
    test: String,
    fields: Vec<(String, String)>,
}

fn results(text: &str) -> Result<Vec<Found>, Wrong> {
    let mut found: Vec<Found> = Vec::new();
    let (mut test, mut pairs): (String, Option<Found>) = (String::new(), None);
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1u64..);
    while let Some((text, line)) = lines.next() {
        let text = text.trim();
        if text.contains(" TEST from ") {
            found.extend(pairs.take());
            test = text.split(" TEST from ").next().unwrap_or_default().to_owned();
        } else if let Some((name, value)) = pair(text) {
            // A name that comes again begins the next result.
            if pairs
                .as_ref()
                .is_some_and(|result| result.fields.iter().any(|(known, _)| known == name))
            {
                found.extend(pairs.take());
            }
            let result =
                pairs.get_or_insert_with(|| Found { line, test: test.clone(), fields: Vec::new() });
            result.fields.push((name.to_owned(), value.to_owned()));
        } else if text.split(',').any(|name| name == THROUGHPUT[1]) {
            let values = lines.next().map(|(values, _)| values.trim()).unwrap_or_default();
            let (names, values) = (fields(text), fields(values));
            if names.len() != values.len() {
                let what = format!("{} names, but {} values below them", names.len(), values.len());
                return Err(Wrong { line, what });
            }
            found.push(Found {
                line,
                test: test.clone(),
                fields: names.into_iter().zip(values).collect(),
            });
        }
    }
    found.extend(pairs);
    // Other key=value lines are no result.
    found.retain(|result| result.value(THROUGHPUT).is_some());
    Ok(found)
}

/// `NAME=VALUE` with a name as omni has them.
fn pair(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let inner = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    (!name.is_empty() && name.bytes().all(inner)).then_some((name, value.trim()))
}

/// Fields of a line of comma-separated values.
fn fields(line: &str) -> Vec<String> {
    let mut row = ::csv::StringRecord::new();
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    // Text in memory, already UTF-8: nothing can fail, and an empty row is no field.
    match reader.read_record(&mut row) {
        Ok(_) => row.iter().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

impl Found {
    fn value(&self, names: [&str; 2]) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    }

    fn boot(&self, cell: &Cell, boot: u32) -> Result<ForeignBoot, Wrong> {
        let wrong = |what: String| Wrong { line: self.line, what };
        let number = |names: [&str; 2]| -> Result<f64, Wrong> {
            let written =
                self.value(names).ok_or_else(|| wrong(format!("a result without {}", names[0])))?;
            let value =
                written.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
            value.ok_or_else(|| {
                wrong(format!("{} {} is not a number above 0", names[0], quoted(written)))
            })
        };
        let written = self.value(UNITS).ok_or_else(|| {
            wrong(
                "a result without THROUGHPUT_UNITS: ask netperf for it beside THROUGHPUT"
                    .to_owned(),
            )
        })?;
        let (unit, factor) = unit::unit(written)
            .filter(|(unit, _)| *unit != Unit::Nanoseconds)
            .ok_or_else(|| wrong(format!("unknown THROUGHPUT_UNITS {}", quoted(written))))?;
        let udp = self.says(PROTOCOL, "UDP");
        // What the sender's kernel took of datagrams says nothing about what arrived.
        let sends = udp && unit == Unit::BytesPerSecond && !self.says(DIRECTION, "Recv");
        let value = match sends && self.value(RECEIVED).is_some() {
            true => number(RECEIVED)?,
            false => number(THROUGHPUT)?,
        };
        let value = value * factor;
        if value > LARGEST {
            return Err(wrong(format!("{value:e} {} is more than {LARGEST:e}", unit.symbol())));
        }
        let seconds = match self.value(ELAPSED) {
            Some(_) => number(ELAPSED)?,
            None => 0.0,
        };
        let protocol = if udp { "udp" } else { "tcp" };
        let kind = if unit == Unit::TransactionsPerSecond { "rr" } else { "stream" };
        let raw: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(ForeignBoot {
            series: Series {
                cell: cell.clone(),
                workload: format!("netperf-{protocol}-{kind}"),
                foreign: None,
            },
            boot,
            accelerator: None,
            samples: Samples {
                measured_ns: (seconds * 1e9) as u64,
                raw: Some(raw.join("\n").chars().take(KEPT).collect()),
                ..samples(unit, vec![value])
            },
        })
    }

    /// Whether a field, or else the title above the result, has this word.
    fn says(&self, names: [&str; 2], word: &str) -> bool {
        match self.value(names) {
            Some(value) => value == word,
            None => self.test.split(' ').any(|known| known == word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::import::series_of;

    fn shown(text: &str) -> Vec<String> {
        let import = read(text, &series_of("x").cell, 0).unwrap();
        let boots = import.boots.iter();
        boots
            .map(|boot| {
                let of = &boot.samples;
                format!(
                    "{} {} {} {}",
                    boot.boot,
                    boot.series.workload,
                    of.values[0],
                    of.unit.symbol()
                )
            })
            .collect()
    }

    /// What netperf 2.7.0 printed over loopback.
    const O: &str = "OMNI Send|Recv TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 0 AF_INET : demo\n\
        Throughput,Throughput Units,Elapsed Time (sec),Protocol,Direction,99th Percentile Latency Microseconds,Remote Recv Throughput,Command Line\n\
        48299.72,Trans/s,1.00,TCP,Send|Recv,23,0.39,\"netperf -H 127.0.0.1 -- -d rr -o THROUGHPUT,THROUGHPUT_UNITS\"\n";
    const K: &str = "MIGRATED TCP STREAM TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 0 AF_INET : demo\n\
        LSS_SIZE_END=4194304\nELAPSED_TIME=1.00\nTHROUGHPUT=2093.38\nTHROUGHPUT_UNITS=MBytes/s\n";
    const UDP: &str = "MIGRATED UDP STREAM TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 0 AF_INET : demo\n\
        PROTOCOL=UDP\nDIRECTION=Send\nELAPSED_TIME=1.00\nTHROUGHPUT=44934.73\nTHROUGHPUT_UNITS=10^6bits/s\nREMOTE_RECV_THROUGHPUT=24712.35\n";

    #[test]
    fn both_outputs_and_several_results_are_read() {
        assert_eq!(shown(O), ["0 netperf-tcp-rr 48299.72 transactions/s"]);
        assert_eq!(shown(UDP), ["0 netperf-udp-stream 3089043750 bytes/s"]);
        // Keys alone, twice: the second begins where a name comes again.
        let keys =
            "THROUGHPUT=1\nTHROUGHPUT_UNITS=Trans/s\nTHROUGHPUT=2\nTHROUGHPUT_UNITS=Trans/s\n";
        assert_eq!(
            shown(keys),
            ["0 netperf-tcp-rr 1 transactions/s", "1 netperf-tcp-rr 2 transactions/s"]
        );
        assert_eq!(
            shown(&format!("{O}{K}{O}").replace('\n', "\r\n")),
            [
                "0 netperf-tcp-rr 48299.72 transactions/s",
                "1 netperf-tcp-stream 2195068026.88 bytes/s",
                "2 netperf-tcp-rr 48299.72 transactions/s"
            ]
        );
    }

    #[test]
    fn rubbish_is_no_number_and_has_its_line() {
        let error = |text: &str| read(text, &series_of("x").cell, 0).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                error(""),
                error("Recv   Send\nbytes  bytes\n131072  16384 1.00 16437.93\n"),
                error(&K.replace("2093.38", "-nan")),
                error(&K.replace("2093.38", "0.00")),
                error(&K.replace("MBytes/s", "furlongs")),
                error(&K.replace("THROUGHPUT_UNITS=MBytes/s\n", "")),
                error(&K.replace("2093.38", "1e300")),
                error(&O.replace("48299.72,", "")),
                error(&O[..O.rfind("48299").unwrap()]),
            ]
            .join("\n"),
            @r"
        1: no result: neither a line THROUGHPUT=... (netperf ... -- -k) nor a line of names with Throughput (netperf ... -- -o)
        1: no result: neither a line THROUGHPUT=... (netperf ... -- -k) nor a line of names with Throughput (netperf ... -- -o)
        2: THROUGHPUT `-nan` is not a number above 0
        2: THROUGHPUT `0.00` is not a number above 0
        2: unknown THROUGHPUT_UNITS `furlongs`
        2: a result without THROUGHPUT_UNITS: ask netperf for it beside THROUGHPUT
        2: 1.048576e306 bytes/s is more than 1e15
        2: 8 names, but 7 values below them
        2: 8 names, but 0 values below them
        "
        );
    }
}

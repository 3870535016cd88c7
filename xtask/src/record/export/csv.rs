//! `series,run,boot,value,unit,time,commit`: one row an observation, as `import csv` reads it. A run with guests has an eighth column,
//! `accelerator`: what was emulated must not come back as if it had not been.
//!
//! A transaction is written as the value that its bucket in the histogram stands for, three digits of it, and as often as the bucket
//! counts: other readers of the file need not know of buckets. What only the histogram or the clock knew (windows, exact moments) does not travel.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use evenkeel_agent::samples::Unit;

use super::{Found, series};
use crate::record::figures::histogram;
use crate::record::import::csv::FORMULA;
use crate::record::import::{ACCELERATOR, COMMIT};
use crate::record::{CANDIDATE, Record, Run};

/// Writes every measured observation of a run.
///
/// # Errors
/// Samples that cannot be decoded, or a sink that takes no more.
pub fn write(run: &Run, records: &[Record], out: &mut dyn Write) -> Result<()> {
    let accelerated = |record: &Record| record.instrument.contains_key(ACCELERATOR);
    let guests = records.iter().any(accelerated);
    writeln!(
        out,
        "series,run,boot,value,unit,time,commit{}",
        if guests { ",accelerator" } else { "" }
    )?;
    let records: Vec<&Record> = records.iter().collect();
    let commit = run.facts.get(COMMIT).map_or("", String::as_str);
    for (name, boots) in series(&records) {
        for Found { record, samples } in boots {
            let of_run = match record.side.as_str() {
                CANDIDATE => run.tag.clone(),
                side => format!("{}:{side}", run.tag),
            };
            let begin = format!("{},{},{},", field(&name), field(&of_run), record.boot);
            let time = match run.started_unix {
                0 => String::new(),
                unix => unix.to_string(),
            };
            let accelerator = record.instrument.get(ACCELERATOR).map_or("", String::as_str);
            let accelerator = match guests {
                true => format!(",{}", field(accelerator)),
                false => String::new(),
            };
            let commit = field(commit);
            let end = format!(",{},{time},{commit}{accelerator}\n", unit(samples.unit));
            let place = || format!("boot {} of `{name}`", record.boot);
            match histogram(samples).with_context(place)? {
                Some(histogram) => {
                    for bucket in histogram.iter_recorded() {
                        let value = histogram.median_equivalent(bucket.value_iterated_to());
                        let row = format!("{begin}{value}{end}");
                        repeat(out, row.as_bytes(), bucket.count_at_value())?;
                    }
                }
                // The shortest text that reads as the same number.
                None => samples
                    .values
                    .iter()
                    .try_for_each(|value| write!(out, "{begin}{value}{end}"))?,
            }
        }
    }
    Ok(())
}

fn unit(unit: Unit) -> &'static str {
    unit.symbol()
}

fn repeat(out: &mut dyn Write, row: &[u8], times: u64) -> io::Result<()> {
    (0..times).try_for_each(|_| out.write_all(row))
}

/// A field, quoted where it must be (RFC 4180), and no formula.
fn field(text: &str) -> String {
    let text = if text.starts_with(FORMULA) { &format!("'{text}") } else { text };
    let special = |c: char| matches!(c, ',' | '"' | '\r' | '\n');
    match text.contains(special) || text.trim() != text {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Measured;
    use crate::record::import::{ForeignBoot, Import, csv::read, series_of};
    use crate::record::testing::{cell, latencies, rates, record, run};

    fn written(run: &Run, records: &[Record]) -> String {
        let mut text = Vec::new();
        write(run, records, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn observations_are_rows() {
        let cell = cell("netns", "stock");
        let mut both = record(&cell, 0, "tcp-rr", latencies(&[100, 100, 205, 12_345]));
        both.workloads
            .push(Measured { workload: "tcp-stream".into(), samples: rates(&[1.25e9, 0.1]) });
        let base = Record { side: "base".into(), ..record(&cell, 0, "tcp-rr", latencies(&[7])) };
        let mut run = run(&[cell]);
        run.facts.insert(COMMIT.into(), "a,b".into());
        insta::assert_snapshot!(written(&run, &[both, base]), @r#"
series,run,boot,value,unit,time,commit,accelerator
running/netns/bridge/stock/idle:tcp-rr,ek0000:base,0,7,ns,1,"a,b",none
running/netns/bridge/stock/idle:tcp-rr,ek0000,0,100,ns,1,"a,b",none
running/netns/bridge/stock/idle:tcp-rr,ek0000,0,100,ns,1,"a,b",none
running/netns/bridge/stock/idle:tcp-rr,ek0000,0,205,ns,1,"a,b",none
running/netns/bridge/stock/idle:tcp-rr,ek0000,0,12348,ns,1,"a,b",none
running/netns/bridge/stock/idle:tcp-stream,ek0000,0,1250000000,bytes/s,1,"a,b",none
running/netns/bridge/stock/idle:tcp-stream,ek0000,0,0.1,bytes/s,1,"a,b",none
"#);
    }

    #[test]
    fn a_damaged_histogram_is_an_error_that_names_its_boot() {
        let cell = cell("netns", "stock");
        let mut broken = record(&cell, 4, "tcp-rr", latencies(&[1, 2]));
        broken.workloads[0].samples.histogram = Some("!".into());
        let error = write(&run(&[cell]), &[broken], &mut Vec::new()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "boot 4 of `running/netns/bridge/stock/idle:tcp-rr`: histogram is not base64: Invalid symbol 33, offset 0."
        );
    }

    fn any_import() -> impl Strategy<Value = Import> {
        let name = "[a-z ,\"'A-Z0-9:/;=+@\u{e9}-]{0,12}[a-z]";
        let series = (
            name,
            0..3usize,
            prop::collection::btree_map(0..50u32, prop::collection::vec(0.0..1e15f64, 1..4), 1..4),
            prop::option::of("kvm|tcg"),
        );
        let commit = prop::option::of("[0-9a-f\",=']{0,7}[a-f]");
        (
            name,
            0..4_000_000_000u64,
            commit,
            prop::collection::btree_map("[a-z]{0,3}x", series, 1..4),
        )
            .prop_map(|(run, started_unix, commit, series)| {
                let boots =
                    series.into_iter().flat_map(|(key, (name, unit, boots, accelerator))| {
                        let unit =
                            [Unit::Nanoseconds, Unit::BytesPerSecond, Unit::TransactionsPerSecond]
                                [unit];
                        let series = series_of(&format!("{key} {}", name.trim()));
                        boots.into_iter().map(move |(boot, values)| ForeignBoot {
                            series: series.clone(),
                            boot,
                            accelerator: accelerator.clone(),
                            samples: crate::record::import::samples(unit, values),
                        })
                    });
                let boots = boots.collect();
                Import { run: run.trim().to_owned(), format: "csv", started_unix, commit, boots }
            })
    }

    proptest! {
        #[test]
        fn what_is_exported_is_imported_again(import in any_import()) {
            let (run, records) = import.into_run("m", "0");
            let text = written(&run, &records);
            let again = read(text.as_bytes()).unwrap();
            prop_assert_eq!(again.len(), 1);
            let (same, read) = again.into_iter().next().unwrap().into_run("m", "0");
            prop_assert_eq!(&same, &run);
            prop_assert_eq!(&read, &records);
            prop_assert_eq!(written(&same, &read), text);
        }

        #[test]
        fn of_transactions_counts_and_three_digits_come_back(ns in prop::collection::vec(1..1_000_000_000u64, 1..50)) {
            let cell = cell("netns", "stock");
            let records = [record(&cell, 0, "tcp-rr", latencies(&ns))];
            let text = written(&run(&[cell]), &records);
            let mut values = read(text.as_bytes()).unwrap()[0].boots[0].samples.values.clone();
            let mut exact: Vec<f64> = ns.iter().map(|&ns| ns as f64).collect();
            values.sort_by(f64::total_cmp);
            exact.sort_by(f64::total_cmp);
            prop_assert_eq!(values.len(), exact.len());
            for (value, exact) in values.iter().zip(exact) {
                prop_assert!((value - exact).abs() <= exact * 0.001, "{} {}", value, exact);
            }
        }
    }
}

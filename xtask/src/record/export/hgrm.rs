//! HdrHistogram's percentile text (`.hgrm`), one for each latency workload of each cell, its boots merged. Layout after
//! `AbstractHistogram.outputPercentileDistribution` of HdrHistogram 2.1, with five ticks for each halving of what is left; values in nanoseconds.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use evenkeel_agent::samples::Samples;
use hdrhistogram::Histogram;

use super::series;
use crate::record::figures::histogram;
use crate::record::{CANDIDATE, Record};

/// Steps for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// Each series with its text; series without a histogram (rates, imported values) have none.
///
/// # Errors
/// Samples that cannot be decoded.
pub fn texts(records: &[Record]) -> Result<Vec<(String, Option<String>)>> {
    let records: Vec<&Record> = records.iter().filter(|record| record.side == CANDIDATE).collect();
    let mut texts = Vec::new();
    for (name, boots) in series(&records) {
        let mut all = Merged::default();
        for boot in boots {
            let place = || format!("boot {} of `{name}`", boot.record.boot);
            all.take(boot.samples).with_context(place)?;
        }
        texts.push((name, all.text()));
    }
    Ok(texts)
}

/// The text of boots of one cell; nothing where they have no histogram.
///
/// # Errors
/// Samples that cannot be decoded.
pub(crate) fn of_boots(boots: &[&Samples]) -> Result<Option<String>> {
    let mut all = Merged::default();
    boots.iter().try_for_each(|samples| all.take(samples))?;
    Ok(all.text())
}

/// Histograms of boots as one.
#[derive(Default)]
struct Merged(Option<Histogram<u64>>);

impl Merged {
    fn take(&mut self, samples: &Samples) -> Result<()> {
        let Some(one) = histogram(samples)? else { return Ok(()) };
        match &mut self.0 {
            None => self.0 = Some(one),
            Some(all) => {
                all.auto(true);
                all.add(&one)?;
            }
        }
        Ok(())
    }

    fn text(self) -> Option<String> {
        self.0.map(|all| text(&all))
    }
}

/// The percentile text of a histogram.
fn text(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut counted = 0;
    for step in histogram.iter_quantiles(TICKS) {
        counted += step.count_since_last_iteration();
        let (value, q) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        let line = match q < 1.0 {
            true => writeln!(text, "{value:12.3} {q:.12} {counted:10} {:14.2}", 1.0 / (1.0 - q)),
            false => writeln!(text, "{value:12.3} {q:.12} {counted:10}"),
        };
        line.expect("a string takes all that is written");
    }
    let (mean, sd) = (histogram.mean(), histogram.stdev());
    let (max, count, buckets) = (histogram.max() as f64, histogram.len(), histogram.buckets());
    let sub_buckets = 2 * 10u64.pow(histogram.sigfig().into()).next_power_of_two();
    write!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {sd:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {count:12}]\n\
         #[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]\n"
    )
    .expect("a string takes all that is written");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{cell, latencies, rates, record};

    #[test]
    fn boots_are_merged_and_rates_have_none() {
        let cell = cell("netns", "stock");
        let first = record(&cell, 0, "tcp-rr", latencies(&[100, 200, 300, 400]));
        let second = record(&cell, 1, "tcp-rr", latencies(&[100, 50_000]));
        let rate = record(&cell, 2, "tcp-stream", rates(&[1.0]));
        let texts = texts(&[first, second, rate]).unwrap();
        assert_eq!((texts.len(), &texts[1].1), (2, &None));
        assert_eq!(texts[0].0, "running/netns/bridge/stock/idle:tcp-rr");
        insta::assert_snapshot!(texts[0].1.as_deref().unwrap(), @r"
               Value     Percentile TotalCount 1/(1-Percentile)

             100.000 0.000000000000          2           1.00
             100.000 0.100000000000          2           1.11
             100.000 0.200000000000          2           1.25
             100.000 0.300000000000          2           1.43
             200.000 0.400000000000          3           1.67
             200.000 0.500000000000          3           2.00
             300.000 0.550000000000          4           2.22
             300.000 0.600000000000          4           2.50
             300.000 0.650000000000          4           2.86
             400.000 0.700000000000          5           3.33
             400.000 0.750000000000          5           4.00
             400.000 0.775000000000          5           4.44
             400.000 0.800000000000          5           5.00
             400.000 0.825000000000          5           5.71
           50015.000 0.850000000000          6           6.67
           50015.000 1.000000000000          6
        #[Mean    =     8516.667, StdDeviation   =    18552.216]
        #[Max     =    50015.000, Total count    =            6]
        #[Buckets =            6, SubBuckets     =         2048]
        ");
    }
}

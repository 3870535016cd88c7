//! What the thesis published, as far as the report shows it: the figures of `reports/thesis/`, typed. Its facts are data files, read
//! off its text and its plots (within 3 Mbit/s and 0.1 µs), so that nobody has to look for numbers in code.

use anyhow::{Context, bail, ensure};

use crate::report::format::Quantity;

const BOXES: &str = include_str!("../../../../../reports/thesis/boxplots.csv");
const HEADLINES: &str = include_str!("../../../../../reports/thesis/headlines.csv");

/// Runs behind each of its boxes and standard deviations.
pub(super) const RUNS: u32 = 20;

/// A system that it measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Kvm,
    Docker,
}

impl System {
    /// The system that a kind of virtualization stands for.
    pub(super) fn of(virtualization: &str) -> Option<System> {
        match virtualization {
            "qemu" => Some(System::Kvm),
            "docker" => Some(System::Docker),
            _ => None,
        }
    }

    fn read(name: &str) -> anyhow::Result<System> {
        match name {
            "kvm" => Ok(System::Kvm),
            "docker" => Ok(System::Docker),
            other => bail!("unknown system `{other}`"),
        }
    }

    /// As it is called there.
    pub(super) fn name(self) -> &'static str {
        match self {
            System::Kvm => "KVM",
            System::Docker => "Docker",
        }
    }
}

/// A workload of which it published figures that we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    TcpStream,
    TcpRr,
}

impl Metric {
    /// The metric that a workload of ours measures, by our engine or by its tool.
    pub(super) fn of(workload: &str) -> Option<Metric> {
        match workload {
            "tcp-stream" | "netperf-tcp-stream" => Some(Metric::TcpStream),
            "tcp-rr" | "netperf-tcp-rr" => Some(Metric::TcpRr),
            _ => None,
        }
    }

    fn read(name: &str) -> anyhow::Result<Metric> {
        match name {
            "tcp_stream" => Ok(Metric::TcpStream),
            "tcp_rr" => Ok(Metric::TcpRr),
            other => bail!("unknown workload `{other}`"),
        }
    }

    /// As it is called there.
    pub(super) fn name(self) -> &'static str {
        match self {
            Metric::TcpStream => "TCP_STREAM",
            Metric::TcpRr => "TCP_RR",
        }
    }

    pub(super) fn quantity(self) -> Quantity {
        match self {
            Metric::TcpStream => Quantity::Rate,
            Metric::TcpRr => Quantity::Time,
        }
    }
}

/// Its two kernels, with all that it tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    Standard,
    Realtime,
}

impl Kernel {
    fn read(name: &str) -> anyhow::Result<Kernel> {
        match name {
            "standard" => Ok(Kernel::Standard),
            "realtime" => Ok(Kernel::Realtime),
            other => bail!("unknown kernel `{other}`"),
        }
    }
}

/// A box of its plots, of the means of 20 runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Box {
    system: System,
    bridged: bool,
    metric: Metric,
    kernel: Kernel,
    median: f64,
    /// Minimum, quartiles and maximum, in nanoseconds or bytes a second, where the plot was read.
    pub(super) five: Option<[f64; 5]>,
}

/// A figure that its abstract compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Median,
    Sd,
}

/// A change that it states.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Headline {
    system: System,
    bridged: bool,
    metric: Metric,
    figure: Figure,
    /// As it states it: 0.108 is +10.8 %.
    change: f64,
}

/// A published change against both bases, as shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    /// Divided by the standard figure; `None` where only the other is known.
    pub(super) of_standard: Option<f64>,
    /// Divided by the tuned figure.
    pub(super) of_tuned: Option<f64>,
    /// Whether the text states it; otherwise it comes from the plots.
    pub(super) stated: bool,
}

/// All that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Study {
    boxes: Vec<Box>,
    headlines: Vec<Headline>,
}

impl Study {
    /// Reads the embedded files.
    pub(super) fn read() -> anyhow::Result<Study> {
        let boxes = rows(BOXES, "system,network,workload,unit,kernel,min,q1,median,q3,max")
            .map(|row| read_box(row?))
            .collect::<anyhow::Result<Vec<_>>>()
            .context("reports/thesis/boxplots.csv")?;
        let header = "system,network,metric,figure,published_change_percent,direction";
        let headlines = rows(HEADLINES, header)
            .map(|row| read_headline(row?))
            .collect::<anyhow::Result<Vec<_>>>()
            .context("reports/thesis/headlines.csv")?;
        Ok(Study { boxes, headlines })
    }

    /// The standard and the realtime box of a system behind a network of ours.
    pub(super) fn boxes(&self, system: System, network: &str, metric: Metric) -> Option<[&Box; 2]> {
        let find = |kernel| {
            self.boxes.iter().find(|b| {
                (b.system, b.metric, b.kernel) == (system, metric, kernel)
                    && b.bridged == (network == "bridge")
            })
        };
        Some([find(Kernel::Standard)?, find(Kernel::Realtime)?])
    }

    /// What it says of a figure. Only bridged systems have a counterpart here.
    pub(super) fn change(&self, system: System, metric: Metric, figure: Figure) -> Option<Change> {
        let stated = self.headlines.iter().find(|line| {
            (line.system, line.metric, line.figure) == (system, metric, figure) && line.bridged
        });
        let stated = stated.map(|line| line.change);
        match figure {
            // No standard deviation is more than its whole smaller: these are shares of the standard one.
            Figure::Sd => {
                let change = stated?;
                Some(Change {
                    of_standard: Some(change),
                    of_tuned: Some(of_tuned(change)),
                    stated: true,
                })
            }
            Figure::Median => {
                let [standard, realtime] = self.boxes(system, "bridge", metric)?;
                let (from, to) = (standard.median, realtime.median);
                Some(Change {
                    of_standard: Some((to - from) / from),
                    // Its text divides by the tuned median, and rounds.
                    of_tuned: Some(stated.unwrap_or((to - from) / to)),
                    stated: stated.is_some(),
                })
            }
        }
    }
}

/// The change as a share of what it leads to, from the change as a share of what it starts from.
pub(super) fn of_tuned(of_standard: f64) -> f64 {
    of_standard / (1.0 + of_standard)
}

/// Fields of each line below a header that must be this one.
fn rows<'a>(
    text: &'a str,
    header: &'a str,
) -> impl Iterator<Item = anyhow::Result<Vec<&'a str>>> + 'a {
    let wanted = header.split(',').count();
    text.lines().enumerate().filter_map(move |(n, line)| {
        let fields: Vec<&str> = line.split(',').collect();
        match n {
            0 if line == header => None,
            0 => Some(Err(anyhow::anyhow!("line 1 is not `{header}`"))),
            _ if fields.len() != wanted => {
                Some(Err(anyhow::anyhow!("line {} has not {wanted} fields", n + 1)))
            }
            _ => Some(Ok(fields)),
        }
    })
}

fn read_box(row: Vec<&str>) -> anyhow::Result<Box> {
    let [system, network, metric, unit, kernel, five @ ..] = &row[..] else {
        bail!("a box lacks fields")
    };
    let size = match *unit {
        "Mbit/s" => 1e6 / 8.0,
        "us" => 1e3,
        other => bail!("unknown unit `{other}`"),
    };
    let five = five
        .iter()
        .map(|field| match *field {
            "" => Ok(None),
            field => Ok(Some(number(field)? * size)),
        })
        .collect::<anyhow::Result<Vec<Option<f64>>>>()?;
    let five: [Option<f64>; 5] = five.try_into().ok().context("a box has not five numbers")?;
    let [min, q1, median, q3, max] = five;
    let whole = || Some([min?, q1?, median?, q3?, max?]);
    let found = Box {
        system: System::read(system)?,
        bridged: bridged(network)?,
        metric: Metric::read(metric)?,
        kernel: Kernel::read(kernel)?,
        median: median.context("a box has no median")?,
        five: whole(),
    };
    ensure!(found.five.is_none_or(|five| five.is_sorted()), "a box does not rise: {five:?}");
    Ok(found)
}

fn read_headline(row: Vec<&str>) -> anyhow::Result<Headline> {
    let [system, network, metric, figure, change, direction] = row[..] else {
        bail!("a headline has not six fields")
    };
    let sign = match direction {
        "increase" => 1.0,
        "decrease" => -1.0,
        other => bail!("unknown direction `{other}`"),
    };
    Ok(Headline {
        system: System::read(system)?,
        bridged: bridged(network)?,
        metric: Metric::read(metric)?,
        figure: match figure {
            "median" => Figure::Median,
            "standard_deviation" => Figure::Sd,
            other => bail!("unknown figure `{other}`"),
        },
        change: sign * number(change)? / 100.0,
    })
}

fn bridged(network: &str) -> anyhow::Result<bool> {
    match network {
        "bridge" => Ok(true),
        "physical" => Ok(false),
        other => bail!("unknown network `{other}`"),
    }
}

fn number(text: &str) -> anyhow::Result<f64> {
    let value: f64 = text.parse().with_context(|| format!("`{text}` is no number"))?;
    ensure!(value.is_finite() && value >= 0.0, "`{text}` is no figure");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_files_are_read_whole() {
        let study = Study::read().expect("the embedded files");
        assert_eq!((study.boxes.len(), study.headlines.len()), (12, 6));
        let [standard, realtime] =
            study.boxes(System::Docker, "bridge", Metric::TcpRr).expect("boxes");
        let rounded = standard.five.map(|five| five.map(f64::round));
        assert_eq!(rounded, Some([41_700.0, 44_300.0, 44_600.0, 62_300.0, 64_100.0]));
        assert_eq!(realtime.median.round(), 47_100.0);
        let [standard, _] = study.boxes(System::Kvm, "veth", Metric::TcpRr).expect("physical ones");
        assert_eq!(standard.five, None);
    }

    #[test]
    fn its_medians_are_divided_by_the_tuned_one() {
        let study = Study::read().expect("the embedded files");
        for (system, standard) in [(System::Kvm, 0.121), (System::Docker, 0.097)] {
            let change = study.change(system, Metric::TcpStream, Figure::Median).expect("stated");
            let of_standard = change.of_standard.expect("from the boxes");
            assert!(change.stated && (of_standard - standard).abs() < 5e-4, "{change:?}");
            let stated = change.of_tuned.expect("stated");
            assert!((of_tuned(of_standard) - stated).abs() < 1e-3, "{change:?}");
        }
        // The price of determinism, which the text does not put into a number.
        let change = study.change(System::Docker, Metric::TcpRr, Figure::Median).expect("boxes");
        assert!(!change.stated && change.of_standard.is_some_and(|c| (c - 0.056).abs() < 1e-3));
    }

    #[test]
    fn its_standard_deviations_are_shares_of_the_standard_one() {
        let study = Study::read().expect("the embedded files");
        let change = study.change(System::Docker, Metric::TcpRr, Figure::Sd).expect("stated");
        assert!(change.of_standard.is_some_and(|c| (c + 0.979).abs() < 1e-9), "{change:?}");
        assert!(change.of_tuned.is_some_and(|c| (c + 46.6).abs() < 0.1), "{change:?}");
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let header = "a,b";
        assert!(rows("b,a\n", header).next().is_some_and(|row| row.is_err()));
        assert!(rows("a,b\n1\n", header).next().is_some_and(|row| row.is_err()));
        for row in [
            "docker,bridge,tcp_rr,us,standard,5,4,3,2,1",
            "docker,bridge,tcp_rr,us,standard,1,2,,4,5",
            "docker,bridge,tcp_rr,s,standard,1,2,3,4,5",
            "docker,bridge,tcp_rr,us,standard,1,2,nan,4,5",
            "docker,bridge,tcp_rr,us,standard,1,2,3",
        ] {
            assert!(read_box(row.split(',').collect()).is_err(), "{row}");
        }
        let row = "docker,bridge,tcp_rr,median,1,sideways";
        assert!(read_headline(row.split(',').collect()).is_err());
    }
}

//! Programs of the user's, as `[command.NAME]` of a matrix has them: how they are started, and which numbers of what they print are read.
//!
//! Nothing is known of what they do, so the least that must have crossed the path is one packet, and only where the client is told where the
//! server is. What they print is read strictly: a word that is no number, a sign, a comma, no number at all, and the workload has
//! failed, in the program's words. Times are held as the transactions of our own engine are, in a histogram, whatever their count: boots of one
//! workload must be of one kind, and a program does not print as many numbers each time. Rates are held as they are.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::engine::{LONGEST_NS, timed_by_others};
use evenkeel_agent::samples::{Samples, Unit};
use evenkeel_agent::wire::{Answer, Ask, MOST_OUTPUT};

use super::{
    Crossed, Endpoints, GRACE, Launch, PORTS, Workload, own_server, printed, seconds, words,
};
use crate::doctor::NeedName;
use crate::matrix::{COMMAND, Command, Measure, Reads, is_of_repository, placeholder};
use crate::record::check::LARGEST;
use crate::record::import::{samples, unit};

/// The most rates that are read: each of them is kept.
const MOST_RATES: usize = 10_000;

impl Workload for Command {
    fn name(&self) -> &str {
        &self.workload
    }

    fn about(&self) -> &str {
        "a program of the repository's: what it prints"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[]
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn start(&self, ends: &Endpoints<'_>, measure: &Measure) -> Launch {
        let port = port_of(&self.workload, measure);
        let (listen, target) = (ends.listen.to_string(), ends.target.to_string());
        let (number, length) = (port.to_string(), seconds(measure).to_string());
        let values =
            [("listen", &*listen), ("target", &target), ("port", &number), ("seconds", &length)];
        Launch {
            serve: match self.serve.as_slice() {
                // Nothing has to serve; what is asked for proves that the system under test is there.
                [] => own_server(ends),
                words => Ask::Daemon {
                    argv: argv(words, ends.folders.sut, &values),
                    folder: Some(ends.folders.sut.to_owned()),
                    port,
                    within: GRACE,
                },
            },
            drive: Ask::Exec {
                argv: argv(&self.drive, ends.folders.peer, &values),
                folder: Some(ends.folders.peer.to_owned()),
                within: self.within,
            },
        }
    }

    fn crossed(&self, _samples: &Samples) -> Crossed {
        Crossed { packets: u64::from(self.is_told_target()), bytes: 0 }
    }

    fn read(&self, answer: Answer) -> anyhow::Result<Samples> {
        let name = &self.workload;
        let text = printed(name, answer)?;
        ensure!(
            text.len() < MOST_OUTPUT,
            "{name} printed {MOST_OUTPUT} bytes or more, beyond which nothing is read"
        );
        let (unit, factor) = unit::unit(&self.unit)
            .with_context(|| format!("{name}: unknown unit `{}`", self.unit))?;
        let values = numbers(&self.reads, &text).with_context(|| format!("output of {name}"))?;
        ensure!(!values.is_empty(), "{name} printed no number: {}", words(&text));
        let values: Vec<f64> = values.into_iter().map(|value| value * factor).collect();
        let raw = Some(words(&text));
        if unit != Unit::Nanoseconds {
            let count = values.len();
            ensure!(count <= MOST_RATES, "{name} printed {count} rates, more than {MOST_RATES}");
            if let Some(wrong) = values.iter().find(|value| **value > LARGEST) {
                bail!("{name} printed a rate of {wrong:e} {}: none is so large", unit.symbol());
            }
            return Ok(Samples { raw, ..samples(unit, values) });
        }
        if let Some(wrong) = values.iter().find(|ns| **ns < 1.0 || **ns > LONGEST_NS as f64) {
            bail!(
                "{name} printed a time of {wrong:e} ns, which is not from a nanosecond to an hour"
            );
        }
        let timed = timed_by_others(values.into_iter().map(|ns| ns.round() as u64))?;
        let timed = timed.with_context(|| format!("{name} printed no number"))?;
        Ok(Samples { raw, ..timed })
    }
}

/// How many ports beyond [`PORTS`] commands listen on.
pub fn ports(commands: &[Command]) -> u16 {
    u16::try_from(commands.len()).unwrap_or(u16::MAX)
}

/// The port of a command: those of a boot come behind all others, in the order in which they are measured, so that both sides of a comparison
/// have the same.
fn port_of(workload: &str, measure: &Measure) -> u16 {
    let commands = measure.workloads.iter().filter(|name| name.starts_with(COMMAND));
    let before = commands.take_while(|name| *name != workload).count();
    PORTS.end() + 1 + u16::try_from(before).unwrap_or(0)
}

/// A command line with its values. A program of the repository lies in `folder`.
fn argv(words: &[String], folder: &str, values: &[(&str, &str)]) -> Vec<String> {
    let filled = words.iter().map(|word| placeholder::filled(word, values));
    let mut argv: Vec<String> = filled.collect();
    if let Some(program) = argv.first_mut().filter(|program| is_of_repository(program)) {
        *program = Path::new(folder).join(&*program).to_string_lossy().into_owned();
    }
    argv
}

/// The numbers of an output.
fn numbers(reads: &Reads, text: &str) -> anyhow::Result<Vec<f64>> {
    match reads {
        Reads::Lines => lines(text),
        Reads::Json(name) => json(text, name.as_deref()),
        Reads::Csv(column) => csv(text, column),
    }
}

/// Each line that is not empty.
fn lines(text: &str) -> anyhow::Result<Vec<f64>> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let numbers = numbered.map(|(at, line)| {
        number(line.trim()).with_context(|| format!("line {}: {}", at + 1, no_number(line)))
    });
    numbers.collect()
}

/// An array of numbers, or one number.
fn json(text: &str, name: Option<&str>) -> anyhow::Result<Vec<f64>> {
    let document: serde_json::Value =
        serde_json::from_str(text).with_context(|| format!("no JSON: {}", words(text)))?;
    let found = match name {
        None => &document,
        Some(name) => document
            .get(name)
            .with_context(|| format!("no `{name}` at the top: {}", words(text)))?,
    };
    let all = match found {
        serde_json::Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let numbers = all.iter().map(|value| {
        let found = value.as_f64().filter(|value| is_measured(*value));
        found.with_context(|| no_number(&value.to_string()))
    });
    numbers.collect()
}

/// The column of this name.
fn csv(text: &str, column: &str) -> anyhow::Result<Vec<f64>> {
    let mut reader =
        ::csv::ReaderBuilder::new().trim(::csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().context("no CSV")?;
    let mut places = header.iter().enumerate().filter(|(_, name)| *name == column);
    let Some((place, _)) = places.next() else {
        bail!("no column `{column}` in its first line: {}", words(text));
    };
    ensure!(places.next().is_none(), "column `{column}` is there twice");
    let numbers = reader.records().map(|row| {
        let row = row.context("no CSV")?;
        let line = row.position().map_or(0, ::csv::Position::line);
        let field = row.get(place).unwrap_or_default();
        number(field).with_context(|| format!("line {line}: {}", no_number(field)))
    });
    numbers.collect()
}

fn no_number(text: &str) -> String {
    format!("`{}` is no number above zero", words(text).chars().take(80).collect::<String>())
}

/// A number above zero: digits, a point, an exponent. No sign, no words for what is no number, no comma of another language.
fn number(text: &str) -> Option<f64> {
    let plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let value = text.parse::<f64>().ok().filter(|_| begins && text.bytes().all(plain))?;
    is_measured(value).then_some(value)
}

fn is_measured(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_agent::wire::Ran;
    use proptest::prelude::*;

    use super::*;
    use crate::matrix::Family;
    use crate::record::check::check;
    use crate::record::figures::per_boot;
    use crate::record::testing::{cell, record};

    fn command(reads: Reads, unit: &str) -> Command {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Command {
            workload: "command-echo".into(),
            build: Vec::new(),
            serve: argv(&["echo/server", "--listen", "{listen}:{port}"]),
            drive: argv(&["echo-client", "{target}", "{port}", "{seconds}"]),
            programs: Vec::new(),
            files: Vec::new(),
            reads,
            unit: unit.into(),
            within: Duration::from_secs(7),
        }
    }

    fn ran(stdout: &str) -> Answer {
        let (stdout, stderr) = (stdout.to_owned(), "its words".to_owned());
        Answer::Ran(Ran { code: Some(0), timed_out: false, stdout, stderr })
    }

    #[test]
    fn a_command_is_started_where_it_lies_with_its_values() {
        let measure = Measure {
            workloads: ["tcp-rr", "command-a", "command-echo"].map(str::to_owned).to_vec(),
            ..Measure::default()
        };
        let address = |text: &str| text.parse().unwrap();
        let ends = Endpoints {
            target: address("198.18.1.1"),
            listen: address("198.18.0.2"),
            family: Family::Ipv4,
            folders: super::super::Folders { sut: "/command/1f", peer: "/cache/1f" },
        };
        let mut command = command(Reads::Lines, "us");
        let launch = command.start(&ends, &measure);
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(
            launch.serve,
            Ask::Daemon {
                argv: argv(&["/command/1f/echo/server", "--listen", "198.18.0.2:5206"]),
                folder: Some("/command/1f".into()),
                port: 5206,
                within: GRACE,
            }
        );
        assert_eq!(
            launch.drive,
            Ask::Exec {
                argv: argv(&["echo-client", "198.18.1.1", "5206", "1"]),
                folder: Some("/cache/1f".into()),
                within: Duration::from_secs(7),
            }
        );
        command.serve.clear();
        assert_eq!(command.start(&ends, &measure).serve, own_server(&ends));
    }

    #[test]
    fn each_form_is_read_in_its_unit() {
        let lines = command(Reads::Lines, "us").read(ran("20.5\n\n 30 \n2.5e1")).unwrap();
        assert_eq!((lines.unit, lines.moments.count), (Unit::Nanoseconds, 3));
        assert_eq!((lines.min, lines.max), (20_500.0, 30_000.0));
        let named = command(Reads::Json(Some("p".into())), "ms");
        assert_eq!(named.read(ran(r#"{"p":[1,2.5],"q":["x"]}"#)).unwrap().max, 2.5e6);
        assert_eq!(named.read(ran(r#"{"p":4}"#)).unwrap().moments.mean, 4e6);
        let bare = command(Reads::Json(None), "Mbit/s");
        assert_eq!(bare.read(ran("[8, 16]")).unwrap().values, [1e6, 2e6]);
        let csv = command(Reads::Csv("rate".into()), "1/s");
        let samples = csv.read(ran("time,rate\n1,\"10\"\n2, 20\n")).unwrap();
        assert_eq!((samples.unit, samples.values), (Unit::TransactionsPerSecond, vec![10.0, 20.0]));
    }

    #[test]
    fn what_is_read_can_be_stored_and_has_figures() {
        let text: String =
            (1..=20_000).map(|at| format!("{}\n", 20.0 + f64::from(at % 97))).collect();
        for (unit, text) in [("us", &*text), ("1/s", "10\n30\n20\n"), ("s", "0.25")] {
            let samples = command(Reads::Lines, unit).read(ran(text)).unwrap();
            check(&record(&cell("netns", "stock"), 0, "command-echo", samples.clone())).unwrap();
            let median = per_boot(&samples).unwrap().median.unwrap();
            assert!((samples.min..=samples.max).contains(&median), "{unit}: {median}");
        }
    }

    #[test]
    fn rubbish_is_no_number() {
        let named = Reads::Json(Some("p".into()));
        for (reads, text) in [
            (Reads::Lines, ""),
            (Reads::Lines, "\n\n"),
            (Reads::Lines, "-nan"),
            (Reads::Lines, "nan"),
            (Reads::Lines, "inf"),
            (Reads::Lines, "0"),
            (Reads::Lines, "0.0"),
            (Reads::Lines, "-1"),
            (Reads::Lines, "+1"),
            (Reads::Lines, "0,5"),
            (Reads::Lines, "1 2"),
            (Reads::Lines, "1\nus"),
            (Reads::Lines, "1e999"),
            (Reads::Lines, "1e-999"),
            (Reads::Lines, "1_000"),
            (Reads::Lines, "0x10"),
            (Reads::Lines, "1e20"),
            (Reads::Lines, "0.0001"),
            (named.clone(), ""),
            (named.clone(), "{\"p\":[1,2"),
            (named.clone(), "{\"q\":[1]}"),
            (named.clone(), "[1]"),
            (named.clone(), "{\"p\":[]}"),
            (named.clone(), "{\"p\":[null]}"),
            (named.clone(), "{\"p\":[\"1\"]}"),
            (named.clone(), "{\"p\":[-1]}"),
            (named, "{\"p\":{\"a\":1}}"),
            (Reads::Csv("a".into()), ""),
            (Reads::Csv("a".into()), "a\n"),
            (Reads::Csv("a".into()), "b\n1\n"),
            (Reads::Csv("a".into()), "a,a\n1,2\n"),
            (Reads::Csv("a".into()), "a,b\n1\n"),
            (Reads::Csv("a".into()), "a;b\n1;2\n"),
            (Reads::Csv("a".into()), "a,b\n0,5,2\n"),
        ] {
            let error = command(reads.clone(), "us").read(ran(text)).unwrap_err();
            assert!(format!("{error:#}").contains("command-echo"), "{text}: {error:#}");
        }
        let many = "1\n".repeat(MOST_RATES + 1);
        assert!(command(Reads::Lines, "1/s").read(ran(&many)).is_err());
        let long = "1\n".repeat(MOST_OUTPUT / 2);
        let error = command(Reads::Lines, "us").read(ran(&long)).unwrap_err().to_string();
        assert!(error.contains("beyond which nothing is read"), "{error}");
    }

    #[test]
    fn a_client_that_fails_is_told_in_its_words() {
        let text = "1\n2\n".to_owned();
        let of = |code, timed_out| {
            let (stdout, stderr) = (text.clone(), "no route".to_owned());
            let ran = Ran { code, timed_out, stdout, stderr };
            command(Reads::Lines, "us").read(Answer::Ran(ran)).unwrap_err().to_string()
        };
        assert_eq!(of(Some(3), false), "command-echo failed with code 3: no route 1\n2");
        assert_eq!(of(None, false), "command-echo was killed: no route");
        assert_eq!(of(None, true), "command-echo did not end in time");
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(text in "([0-9.,e+-]|nan|inf|\n|a|\"|\\[|\\]|\\{|:){0,40}") {
            for reads in [Reads::Lines, Reads::Json(None), Reads::Json(Some("a".into())), Reads::Csv("a".into())] {
                if let Ok(samples) = command(reads, "us").read(ran(&text)) {
                    let record = record(&cell("netns", "stock"), 0, "command-echo", samples);
                    prop_assert!(check(&record).is_ok());
                }
            }
        }
    }
}

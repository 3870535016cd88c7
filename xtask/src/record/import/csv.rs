//! Comma-separated values: `series,run,boot,value,unit`, optional `time`, `commit` and `accelerator`, in any order, by the names in the first line.
//!
//! A row is an observation. `series` is `CELL:WORKLOAD` or any name, `run` any name, `boot` a whole number (a fresh start within the run),
//! `value` a number that is not negative, `unit` as `unit.rs` lists them, `accelerator` what ran a guest's processors: `kvm`, `none`, or `tcg`, an
//! emulator, whose figures inform. Rows may come in any order. A file with several runs becomes several
//! runs. Nothing but the values is held in memory: eight bytes a row.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use ::csv::{ByteRecord, ReaderBuilder, Trim};
use evenkeel_agent::samples::Unit;

use super::{ForeignBoot, Import, Series, read_time, samples, series_of, unit};
use crate::matrix::{Cell, quoted, suggestion};
use crate::record::check::LARGEST;

/// Bytes of a name; a longer one is a mistake, such as a quote that is not closed.
const LONGEST: usize = 200;

/// The columns that must be there, and those that may.
const COLUMNS: [&str; 8] =
    ["series", "run", "boot", "value", "unit", "time", "commit", "accelerator"];
const NEEDED: usize = 5;

/// What may have run a guest's processors. Any other word could be an emulator's, and would gate.
const ACCELERATORS: [&str; 3] = ["kvm", "tcg", "none"];

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// 1-based line in which the row begins.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// Reads runs, in the order in which the file names them.
///
/// # Errors
/// The first row that is wrong.
pub fn read(source: impl Read) -> Result<Vec<Import>, Wrong> {
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(source);
    let mut row = ByteRecord::new();
    let mut line = 1;
    let mut next = |row: &mut ByteRecord, line: &mut u64| -> Result<bool, Wrong> {
        let more = reader
            .read_byte_record(row)
            .map_err(|error| Wrong { line: *line, what: format!("cannot be read: {error}") })?;
        *line = row.position().map_or(*line, ::csv::Position::line);
        Ok(more)
    };
    if !next(&mut row, &mut line)? {
        return Err(Wrong { line: 1, what: "the file is empty".to_owned() });
    }
    let columns = Columns::of(&row).map_err(|what| Wrong { line, what })?;
    let mut runs = Runs::default();
    while next(&mut row, &mut line)? {
        runs.take(&row, &columns).map_err(|what| Wrong { line, what })?;
    }
    if runs.runs.is_empty() {
        return Err(Wrong {
            line,
            what: "there is no row below the names of the columns".to_owned(),
        });
    }
    Ok(runs.into_imports())
}

/// Where each of [`COLUMNS`] is.
struct Columns {
    places: [Option<usize>; COLUMNS.len()],
    count: usize,
}

impl Columns {
    fn of(header: &ByteRecord) -> Result<Columns, String> {
        let mut places = [None; COLUMNS.len()];
        for (at, name) in header.iter().enumerate() {
            let name = text(name, "the name of a column")?;
            let Some(known) = COLUMNS.iter().position(|known| *known == name) else {
                let help = suggestion(name, COLUMNS).unwrap_or_default();
                return Err(format!("unknown column {}: {help}", quoted(name)));
            };
            if places[known].replace(at).is_some() {
                return Err(format!("column `{name}` is there twice"));
            }
        }
        let missing: Vec<&str> = COLUMNS
            .iter()
            .zip(places)
            .take(NEEDED)
            .filter(|(_, at)| at.is_none())
            .map(|(name, _)| *name)
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "missing columns: {}; the first line must be: {}",
                missing.join(", "),
                COLUMNS[..NEEDED].join(",")
            ));
        }
        Ok(Columns { places, count: header.len() })
    }

    /// The field of a column; empty where the file has no such column.
    fn field<'r>(&self, row: &'r ByteRecord, column: usize) -> &'r [u8] {
        self.places[column].and_then(|at| row.get(at)).unwrap_or_default()
    }
}

/// What was read so far.
#[derive(Default)]
struct Runs {
    runs: Vec<RunRead>,
    by_name: HashMap<Vec<u8>, usize>,
    /// Where the last row went: most rows go to the same place.
    last: Option<Last>,
}

/// The first columns of a row, and where its value belongs.
struct Last {
    series: Vec<u8>,
    run: Vec<u8>,
    boot: Vec<u8>,
    at: (usize, usize, usize),
}

#[derive(Default)]
struct RunRead {
    name: String,
    started_unix: Option<u64>,
    commit: Option<String>,
    /// By cell and boot, of which every series makes one record.
    accelerators: HashMap<(Cell, u32), Vec<u8>>,
    series: Vec<SeriesRead>,
    by_name: HashMap<Vec<u8>, usize>,
}

struct SeriesRead {
    series: Series,
    /// As written, so that a row like the one before it is known by its bytes.
    unit_name: Vec<u8>,
    unit: Unit,
    factor: f64,
    boots: Vec<BootRead>,
    by_number: HashMap<u32, usize>,
}

#[derive(Default)]
struct BootRead {
    number: u32,
    accelerator: Vec<u8>,
    values: Vec<f64>,
}

impl BootRead {
    /// Takes what a row says of the processors: all rows of a boot say the same.
    fn learn(&mut self, accelerator: &[u8]) -> Result<(), String> {
        if self.accelerator == accelerator {
            return Ok(());
        }
        if !self.values.is_empty() {
            return Err(two_accelerators(self.number, [&self.accelerator, accelerator]));
        }
        let name = text(accelerator, "accelerator")?;
        if !ACCELERATORS.contains(&name) {
            let near = suggestion(name, ACCELERATORS).map(|near| format!(": {near}"));
            let near = near.unwrap_or_default();
            return Err(format!(
                "unknown accelerator {}{near}; leave it empty where it is another",
                quoted(name)
            ));
        }
        self.accelerator = accelerator.to_owned();
        Ok(())
    }
}

fn two_accelerators(boot: u32, both: [&[u8]; 2]) -> String {
    let [was, is] = both.map(|of| quoted(&String::from_utf8_lossy(of)));
    format!("boot {boot} has accelerator {was} and accelerator {is}: a boot has one")
}

impl Runs {
    fn take(&mut self, row: &ByteRecord, columns: &Columns) -> Result<(), String> {
        if row.len() != columns.count {
            return Err(format!("{} fields, but {} columns", row.len(), columns.count));
        }
        let [series, run, boot, value, unit_name, time, commit, accelerator] =
            std::array::from_fn(|column| columns.field(row, column));
        let same = self
            .last
            .take()
            .filter(|last| last.series == series && last.run == run && last.boot == boot);
        let last = match same {
            Some(last) => last,
            None => Last {
                at: self.place(series, run, boot, unit_name)?,
                series: series.to_owned(),
                run: run.to_owned(),
                boot: boot.to_owned(),
            },
        };
        let (run_at, series_at, boot_at) = last.at;
        let run = &mut self.runs[run_at];
        run.learn(time, commit)?;
        let of = &mut run.series[series_at];
        let factor = of.factor_of(unit_name)?;
        let boot = &mut of.boots[boot_at];
        boot.learn(accelerator)?;
        if boot.values.is_empty() && !accelerator.is_empty() {
            let of_record = run.accelerators.entry((of.series.cell.clone(), boot.number));
            let known = of_record.or_insert_with(|| accelerator.to_owned());
            if known != accelerator {
                return Err(two_accelerators(boot.number, [known, accelerator]));
            }
        }
        let scaled = number(value)? * factor;
        boot.values.push(scaled);
        if !(0.0..=LARGEST).contains(&scaled) {
            let unit = of.unit.symbol();
            return Err(format!("value {scaled:e} {unit} is not between 0 and {LARGEST:e} {unit}"));
        }
        self.last = Some(last);
        Ok(())
    }

    /// Where values of this series, run and boot go.
    fn place(
        &mut self,
        series: &[u8],
        run: &[u8],
        boot: &[u8],
        unit_name: &[u8],
    ) -> Result<(usize, usize, usize), String> {
        let run_at = match self.by_name.get(run) {
            Some(&at) => at,
            None => {
                let name = named(run, "run")?;
                self.runs.push(RunRead { name, ..RunRead::default() });
                self.by_name.insert(run.to_owned(), self.runs.len() - 1);
                self.runs.len() - 1
            }
        };
        let of = &mut self.runs[run_at];
        let series_at = match of.by_name.get(series) {
            Some(&at) => at,
            None => {
                let (unit, factor) = unit_of(unit_name)?;
                of.series.push(SeriesRead {
                    series: series_of(&named(series, "series")?),
                    unit_name: unit_name.to_owned(),
                    unit,
                    factor,
                    boots: Vec::new(),
                    by_number: HashMap::new(),
                });
                of.by_name.insert(series.to_owned(), of.series.len() - 1);
                of.series.len() - 1
            }
        };
        let boots = &mut of.series[series_at];
        let number: u32 = text(boot, "boot")?.parse().map_err(|_| {
            let shown = quoted(&String::from_utf8_lossy(boot));
            format!("boot {shown} is no whole number from 0 to {}", u32::MAX)
        })?;
        let boot_at = *boots.by_number.entry(number).or_insert_with(|| {
            boots.boots.push(BootRead { number, ..BootRead::default() });
            boots.boots.len() - 1
        });
        Ok((run_at, series_at, boot_at))
    }

    fn into_imports(self) -> Vec<Import> {
        let of_series = |of: SeriesRead| {
            let (series, unit) = (of.series, of.unit);
            of.boots.into_iter().map(move |boot| ForeignBoot {
                series: series.clone(),
                boot: boot.number,
                // It was read from a name, which is text.
                accelerator: String::from_utf8(boot.accelerator).ok().filter(|of| !of.is_empty()),
                samples: samples(unit, boot.values),
            })
        };
        let of_run = |run: RunRead| Import {
            run: run.name,
            format: "csv",
            started_unix: run.started_unix.unwrap_or(0),
            commit: run.commit,
            boots: run.series.into_iter().flat_map(of_series).collect(),
        };
        self.runs.into_iter().map(of_run).collect()
    }
}

impl RunRead {
    /// Takes the time and the commit of a row: the run began with its first row, and has one commit.
    fn learn(&mut self, time: &[u8], commit: &[u8]) -> Result<(), String> {
        if !time.is_empty() {
            let written = text(time, "time")?;
            let seconds = read_time(written).ok_or_else(|| {
                format!(
                    "time {} is neither seconds since 1970 nor as in 2026-11-01T10:42:00Z",
                    quoted(written)
                )
            })?;
            self.started_unix = Some(self.started_unix.map_or(seconds, |known| known.min(seconds)));
        }
        if commit.is_empty() {
            return Ok(());
        }
        let commit = named(commit, "commit")?;
        match &self.commit {
            Some(known) if *known == commit => Ok(()),
            Some(known) => Err(format!(
                "run {} has commit {} and commit {}: give each its own run",
                quoted(&self.name),
                quoted(known),
                quoted(&commit)
            )),
            None => {
                self.commit = Some(commit);
                Ok(())
            }
        }
    }
}

impl SeriesRead {
    /// What a value in this unit is taken times; a series has one kind of unit.
    fn factor_of(&self, name: &[u8]) -> Result<f64, String> {
        if self.unit_name == name {
            return Ok(self.factor);
        }
        let (unit, factor) = unit_of(name)?;
        if unit == self.unit {
            return Ok(factor);
        }
        Err(format!(
            "series {} is in {} and in {}: a series has one unit",
            quoted(&self.series.to_string()),
            quoted(&String::from_utf8_lossy(&self.unit_name)),
            quoted(&String::from_utf8_lossy(name))
        ))
    }
}

fn unit_of(name: &[u8]) -> Result<(Unit, f64), String> {
    let name = text(name, "unit")?;
    unit::unit(name).ok_or_else(|| {
        let near = suggestion(name, unit::names()).map(|near| format!(": {near}")).unwrap_or_default();
        format!("unknown unit {}{near}; ns, us, ms, s, bytes/s, Mbit/s and transactions/s are some that are known", quoted(name))
    })
}

/// A finite number, not negative.
fn number(field: &[u8]) -> Result<f64, String> {
    let written = text(field, "value")?;
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value.abs()),
        Ok(_) => Err(format!("value {} is not a finite number from 0 on", quoted(written))),
        Err(_) => Err(format!("value {} is no number", quoted(written))),
    }
}

/// How a text may begin that a spreadsheet would take for a formula and compute. An apostrophe before it makes it a text; so one that is there already
/// gets another.
pub(in crate::record) const FORMULA: [char; 5] = ['=', '+', '-', '@', '\''];

/// A name: not empty, not endless, without control characters, and without the apostrophe that an export writes before [`FORMULA`].
fn named(field: &[u8], what: &str) -> Result<String, String> {
    let written = text(field, what)?;
    let written =
        written.strip_prefix('\'').filter(|of| of.starts_with(FORMULA)).unwrap_or(written);
    if written.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if written.len() > LONGEST || written.chars().any(char::is_control) {
        return Err(format!(
            "{what} {} is no name: at most {LONGEST} bytes in one line",
            quoted(written)
        ));
    }
    Ok(written.to_owned())
}

fn text<'f>(field: &'f [u8], what: &str) -> Result<&'f str, String> {
    std::str::from_utf8(field).map_err(|_| format!("{what} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn rows_in_any_order_with_bom_crlf_and_quotes_are_runs() {
        let text = "\u{feff}unit,\"series\",run,boot,value,time,commit\r\n\
            us,\"a, \"\"b\"\"\",r1,1,2.5,1793529800,abc\r\n\
            ns,x,r2,0, 7 ,,\r\n\
            us,\"a, \"\"b\"\"\",r1,0,1,1793529720,abc\r\n\
            \r\n\
            ns,\"a, \"\"b\"\"\",r1,1,500,,";
        let runs = read(text.as_bytes()).unwrap();
        assert_eq!(runs.len(), 2);
        let (first, second) = (&runs[0], &runs[1]);
        assert_eq!(
            (first.run.as_str(), first.started_unix, first.commit.as_deref()),
            ("r1", 1_793_529_720, Some("abc"))
        );
        let boots: Vec<_> = first
            .boots
            .iter()
            .map(|boot| (boot.series.to_string(), boot.boot, boot.samples.values.clone()))
            .collect();
        let series = "a, \"b\"".to_owned();
        assert_eq!(boots, [(series.clone(), 1, vec![2500.0, 500.0]), (series, 0, vec![1000.0])]);
        assert_eq!((second.commit.as_deref(), second.boots[0].samples.values[0]), (None, 7.0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let of = |rows: &str| error(&format!("series,run,boot,value,unit\n{rows}"));
        let cell = "running/qemu/tap/stock/idle";
        let two = format!(
            "series,run,boot,value,unit,accelerator\n\
             {cell}:tcp-rr,r,0,1,ns,tcg\n{cell}:udp-rr,r,0,1,ns,kvm\n"
        );
        let all = [
            error(""),
            error("series,run,boot,value\na,r,0,1\n"),
            error("series,run,boot,valeu,unit\n"),
            error("series,run,run,boot,value,unit\n"),
            error("series,run,boot,value,unit\n"),
            of("a,r,0,1,ns\na,r,0,1\n"),
            of("a,r,0,1,ns\na,r,0,nan,ns\n"),
            of("a,r,0,inf,ns"),
            of("a,r,0,-1,ns"),
            of("a,r,0,1e300,ns"),
            of("a,r,0,1e12,s"),
            of("a,r,0,1 000,ns"),
            of("a,r,-1,1,ns"),
            of("a,r,x,1,ns"),
            of("a,r,0,1,nz"),
            of("a,r,0,1,ns\na,r,0,1,bytes/s"),
            of(",r,0,1,ns"),
            of("a,,0,1,ns"),
            of("\"a\nb\",r,0,1,ns"),
            of("a,r,0,1,ns\n\"a,r,0,1,ns\na,r,0,1,ns\n"),
            error("series,run,boot,value,unit,time\na,r,0,1,ns,noon\n"),
            error("series,run,boot,value,unit,commit\na,r,0,1,ns,x\na,r,0,1,ns,y\n"),
            error("series,run,boot,value,unit,accelerator\na,r,0,1,ns,tcg\na,r,0,1,ns,\n"),
            error("series,run,boot,value,unit,accelerator\na,r,0,1,ns,TCG\n"),
            error("series,run,boot,value,unit,accelerator\na,r,0,1,ns,qemu-emulated\n"),
            error(&two),
        ]
        .join("\n");
        insta::assert_snapshot!(all, @r"
1: the file is empty
1: missing columns: unit; the first line must be: series,run,boot,value,unit
1: unknown column `valeu`: did you mean `value`? known: series, run, boot, value, unit, time, commit, accelerator
1: column `run` is there twice
2: there is no row below the names of the columns
3: 4 fields, but 5 columns
3: value `nan` is not a finite number from 0 on
2: value `inf` is not a finite number from 0 on
2: value `-1` is not a finite number from 0 on
2: value 1e300 ns is not between 0 and 1e15 ns
2: value 1e21 ns is not between 0 and 1e15 ns
2: value `1 000` is no number
2: boot `-1` is no whole number from 0 to 4294967295
2: boot `x` is no whole number from 0 to 4294967295
2: unknown unit `nz`: did you mean `ns`?; ns, us, ms, s, bytes/s, Mbit/s and transactions/s are some that are known
3: series `a` is in `ns` and in `bytes/s`: a series has one unit
2: series is empty
2: run is empty
2: series `a�b` is no name: at most 200 bytes in one line
3: 1 fields, but 5 columns
2: time `noon` is neither seconds since 1970 nor as in 2026-11-01T10:42:00Z
3: run `r` has commit `x` and commit `y`: give each its own run
3: boot 0 has accelerator `tcg` and accelerator ``: a boot has one
2: unknown accelerator `TCG`: did you mean `tcg`? known: kvm, tcg, none; leave it empty where it is another
2: unknown accelerator `qemu-emulated`: known: kvm, tcg, none; leave it empty where it is another
3: boot 0 has accelerator `tcg` and accelerator `kvm`: a boot has one
");
        let bytes = b"series,run,boot,value,unit\na,r,0,1,ns\n\xff,r,0,1,ns\n";
        assert_eq!(read(&bytes[..]).unwrap_err().to_string(), "3: series is not UTF-8");
    }
}

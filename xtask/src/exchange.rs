//! `import` and `export`: other people's measurements in, ours out. The only part of either that touches files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::{self, ExportFormat, ImportFormat};
use crate::command::Exit;
use crate::matrix::{printable, quoted};
use crate::record::export::{csv, figures, hgrm};
use crate::record::figures::results;
use crate::record::figures::run::Better;
use crate::record::import::{self, Import, cell_of};
use crate::record::store::{self, Store};
use crate::record::{Record, Run};
use crate::streams::{print, print_by, say};
use crate::wrong::wrong;

/// Bytes of a netperf or iperf3 file; a longer one is something else.
const LONGEST: u64 = 64 << 20;

/// `import`. Prints the folder of each run.
///
/// # Errors
/// Wrong input, or a folder that cannot be written.
pub fn import(told: &cli::Import) -> anyhow::Result<Exit> {
    let imports = match told.format {
        ImportFormat::Csv => csv_files(told)?,
        ImportFormat::Netperf | ImportFormat::Iperf3 => vec![tool_files(told)?],
    };
    let folders = folders(&told.out, &imports)?;
    let name = told.files.first().and_then(|file| file.file_stem());
    let name = printable(&name.unwrap_or_default().to_string_lossy());
    // Nothing can be added to a run, so nothing is written where one of several is there.
    if let Some(there) = folders.iter().find(|folder| folder.join(store::RUN).exists()) {
        return Err(wrong(format!(
            "`{}` holds a run already, and an import adds to none: choose another --out",
            there.display()
        )));
    }
    for (import, folder) in imports.into_iter().zip(folders) {
        let (run, records) = import.into_run(&name, env!("CARGO_PKG_VERSION"));
        let mut store = Store::create(&folder, &run)?;
        store.append_all(&records)?;
        store::write_results(&folder, &results(&run, &records)?)?;
        print(format_args!("{}\n", folder.display()))?;
    }
    Ok(Exit::Fine)
}

/// Runs of comma-separated files; a run may lie in several of them.
fn csv_files(told: &cli::Import) -> anyhow::Result<Vec<Import>> {
    if told.cell.is_some() {
        return Err(wrong(
            "--cell is for files of tools: the rows of a csv file name their series",
        ));
    }
    let [file] = &told.files[..] else {
        return Err(wrong("`import csv` takes one file: put all rows into it"));
    };
    let source = BufReader::with_capacity(1 << 16, open(file)?);
    let read = import::csv::read(source);
    read.map_err(|error| wrong(format!("{}:{error}", file.display())))
}

/// One run of a tool's files, whose results are its boots.
fn tool_files(told: &cli::Import) -> anyhow::Result<Import> {
    let cell = match &told.cell {
        None => import::unknown_cell(),
        Some(id) => cell_of(id).ok_or_else(|| {
            wrong(format!("{} is no cell: as in running/docker/bridge/stock/idle", quoted(id)))
        })?,
    };
    let mut all = Import::default();
    for file in &told.files {
        let text = text(file)?;
        let first = u32::try_from(all.boots.len()).unwrap_or(u32::MAX);
        let name = file.display();
        let one = match told.format {
            ImportFormat::Netperf => import::netperf::read(&text, &cell, first)
                .map_err(|error| wrong(format!("{name}:{error}")))?,
            _ => import::iperf3::read(&text, &cell, first)
                .map_err(|error| wrong(format!("{name}: {error:#}")))?,
        };
        all.format = one.format;
        if all.started_unix == 0 || (1..all.started_unix).contains(&one.started_unix) {
            all.started_unix = one.started_unix;
        }
        all.boots.extend(one.boots);
    }
    Ok(all)
}

/// Where each run is written: one run into the folder itself, several into folders of their names below it.
fn folders(out: &Path, imports: &[Import]) -> anyhow::Result<Vec<PathBuf>> {
    if imports.len() == 1 {
        return Ok(vec![out.to_owned()]);
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for import in imports {
        let name: String = import
            .run
            .chars()
            .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' })
            .collect();
        let name = name.trim_start_matches('.');
        let mut folder = out.join(if name.is_empty() { "run" } else { name });
        for number in 2.. {
            if !folders.contains(&folder) {
                break;
            }
            folder = out.join(format!("{name}-{number}"));
        }
        folders.push(folder);
    }
    Ok(folders)
}

fn open(file: &Path) -> anyhow::Result<File> {
    let opened = File::open(file).and_then(|opened| {
        let folder = opened.metadata()?.is_dir();
        if folder { Err(std::io::Error::other("it is a folder")) } else { Ok(opened) }
    });
    opened.map_err(|error| wrong(format!("failed to read file `{}`: {error}", file.display())))
}

fn text(file: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    open(file)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("failed to read file `{}`", file.display()))?;
    let name = file.display();
    if bytes.len() as u64 > LONGEST {
        return Err(wrong(format!("`{name}` is larger than {} MiB", LONGEST >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        wrong(format!("`{name}`: byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1))
    })
}

/// `export`.
///
/// # Errors
/// The run cannot be read, or the output not be written.
pub fn export(told: &cli::Export) -> anyhow::Result<Exit> {
    let (run, records, warnings) = store::read(&told.run)?;
    warnings.iter().for_each(say);
    match told.format {
        ExportFormat::Csv => put(told, |out| csv::write(&run, &records, out))?,
        ExportFormat::Bmf => {
            let text = figures::bmf(&run, &records)?;
            put(told, |out| Ok(out.write_all(text.as_bytes())?))?;
        }
        ExportFormat::GithubActionBenchmark => action(told, &run, &records, Better::Lower)?,
        ExportFormat::GithubActionBenchmarkBigger => action(told, &run, &records, Better::Higher)?,
        ExportFormat::Hgrm => percentiles(told, &records)?,
    }
    Ok(Exit::Fine)
}

fn action(told: &cli::Export, run: &Run, records: &[Record], better: Better) -> anyhow::Result<()> {
    let (text, others) = figures::github_action_benchmark(run, records, better)?;
    if others > 0 {
        let (which, format) = match better {
            Better::Lower => ("higher", ExportFormat::GithubActionBenchmarkBigger),
            Better::Higher => ("lower", ExportFormat::GithubActionBenchmark),
        };
        say(format_args!("{others} figures are better {which}: export {format} has them"));
    }
    put(told, |out| Ok(out.write_all(text.as_bytes())?))
}

/// Percentiles: one text to standard output, or a file for each series in a folder.
fn percentiles(told: &cli::Export, records: &[Record]) -> anyhow::Result<()> {
    let (texts, without): (Vec<_>, Vec<_>) =
        hgrm::texts(records)?.into_iter().partition(|(_, text)| text.is_some());
    let texts: Vec<(String, String)> =
        texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    for (name, _) in without {
        say(format_args!("{name} has no histogram: it is left out"));
    }
    match (&told.out, &texts[..]) {
        (_, []) => Err(wrong(format!("no series of `{}` has a histogram", told.run.display()))),
        (None, [(_, text)]) => print(text),
        (None, _) => {
            let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
            Err(wrong(format!(
                "the format holds one series and the run has {}: give a folder with --out; {}",
                names.len(),
                names.join(", ")
            )))
        }
        (Some(out), _) => {
            std::fs::create_dir_all(out)
                .with_context(|| format!("failed to make folder `{}`", out.display()))?;
            for (name, text) in texts {
                let file = out.join(file_name(&name));
                std::fs::write(&file, text)
                    .with_context(|| format!("failed to write file `{}`", file.display()))?;
                print(format_args!("{}\n", file.display()))?;
            }
            Ok(())
        }
    }
}

/// A series' file: `running_docker_bridge_stock_idle_tcp-rr.hgrm`.
fn file_name(series: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
    format!("{}.hgrm", series.chars().map(plain).collect::<String>())
}

/// Writes to `--out`, or to standard output.
fn put(
    told: &cli::Export,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(path) = &told.out else {
        let mut failed = Ok(());
        print_by(|out| match write(out) {
            Ok(()) => Ok(()),
            Err(error) => match error.downcast::<std::io::Error>() {
                Ok(error) => Err(error),
                Err(other) => {
                    failed = Err(other);
                    Ok(())
                }
            },
        })?;
        return failed;
    };
    if path.is_dir() {
        return Err(wrong(format!("`{}` is a folder: name a file", path.display())));
    }
    let failed = || format!("failed to write file `{}`", path.display());
    let mut out = BufWriter::new(File::create(path).with_context(failed)?);
    write(&mut out)?;
    out.flush().with_context(failed)?;
    print(format_args!("{}\n", path.display()))
}

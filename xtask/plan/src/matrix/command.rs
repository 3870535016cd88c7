//! The `[command.NAME]` tables: programs of the user's that print numbers. Pure: nothing is built or looked for here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::parse::check_name;
use super::placeholder;
use super::problem::{Problems, quoted};
use super::read::Table;
use super::{Measure, Vocabulary};

/// How the name of such a workload begins.
pub const PREFIX: &str = "command-";

/// Keys of `[command.NAME]`.
const KEYS: [&str; 9] =
    ["build", "serve", "drive", "programs", "files", "reads", "unit", "better", "within"];

/// How many a matrix may have: each has a port of its own.
const MOST: usize = 16;

/// Placeholders of a server's and of a client's command line.
const OF_SERVE: [&str; 2] = ["listen", "port"];
const OF_DRIVE: [&str; 3] = ["target", "port", "seconds"];

/// A program of the user's that prints numbers.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The workload's name: `command-NAME`.
    pub workload: String,
    /// What makes it, in the folder of the revision; empty where nothing has to be made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<String>,
    /// What the system under test runs; empty where nothing serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serve: Vec<String>,
    /// What the peer runs.
    pub drive: Vec<String>,
    /// Programs of the host that they run, brought along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Files and folders of the repository that they need, brought along at the same relative place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What of the client's output are numbers.
    pub reads: Reads,
    /// The unit of these, by its name.
    pub unit: String,
    /// The longest that a client may take.
    pub within: Duration,
}

/// What of an output are numbers.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// Each line is one.
    Lines,
    /// The output is JSON: an array of numbers or one number, under this name if there is one.
    Json(Option<String>),
    /// The output is CSV: the column of this name.
    Csv(String),
}

impl Reads {
    /// `lines`, `json`, `json:NAME` or `csv:COLUMN`.
    fn of(text: &str) -> Option<Reads> {
        match text.split_once(':') {
            None if text == "lines" => Some(Reads::Lines),
            None if text == "json" => Some(Reads::Json(None)),
            Some(("json", name)) if !name.is_empty() => Some(Reads::Json(Some(name.to_owned()))),
            Some(("csv", column)) if !column.is_empty() => Some(Reads::Csv(column.to_owned())),
            _ => None,
        }
    }
}

impl Command {
    /// Its table's name.
    pub fn name(&self) -> &str {
        self.workload.strip_prefix(PREFIX).unwrap_or(&self.workload)
    }

    /// Whether its client is told where the server is.
    pub fn is_told_target(&self) -> bool {
        self.drive.iter().flat_map(|word| placeholder::names(word)).any(|name| name == "target")
    }
}

/// Whether a program is a file of the repository: it is named with a folder. Others are programs of the host.
pub fn is_of_repository(program: &str) -> bool {
    program.contains('/')
}

/// Reads the commands, by name.
pub(super) fn read(
    top: &Table<'_>,
    words: &Vocabulary,
    problems: &mut Problems<'_>,
) -> Vec<Command> {
    let tables = top.named_tables("command", &KEYS, problems);
    if let Some((name, _)) = tables.get(MOST) {
        let message = format!("a matrix has at most {MOST} commands");
        problems.add_with_help(name.span(), message, "split the matrix");
    }
    let commands = tables.into_iter().map(|(name, table)| {
        check_name(&name, "command name", problems);
        command(name.get_ref(), &table, words, problems)
    });
    commands.collect()
}

/// Reports tables of commands that nothing measures: a name that is mistyped in both places would be silence.
pub(super) fn check_measured(top: &Table<'_>, measure: &Measure, problems: &mut Problems<'_>) {
    // What is wrong in the tables was told when they were read.
    let names = top.names("command");
    for name in names {
        let workload = format!("{PREFIX}{}", name.get_ref());
        if !measure.workloads.contains(&workload) {
            let message = format!("command {} is not measured", quoted(name.get_ref()));
            let help = format!("add \"{workload}\" to `workloads`, or take the table away");
            problems.add_with_help(name.span(), message, help);
        }
    }
}

fn command(
    name: &str,
    table: &Table<'_>,
    words: &Vocabulary,
    problems: &mut Problems<'_>,
) -> Command {
    table.require("drive", "drive = [\"bench/client\", \"{target}\", \"{port}\"]", problems);
    table.require("unit", "unit = \"us\"", problems);
    let [build, serve, drive] = [("build", &[][..]), ("serve", &OF_SERVE), ("drive", &OF_DRIVE)]
        .map(|(key, known)| argv(table, key, known, problems));
    if !serve.is_empty() && !has(&serve, "port") {
        let message =
            "a server without `{port}` could not be told apart from one that is not ready";
        let help = "give it the placeholder {port}, on which it has to listen or be bound";
        problems.add_with_help(table.span_of("serve"), message, help);
    }
    let mut brought = |key| table.strings(key, problems).unwrap_or_default();
    let (programs, files) = (brought("programs"), brought("files"));
    for program in programs.iter().filter(|program| is_of_repository(program.get_ref())) {
        let message = format!("{} is no program of the host", quoted(program.get_ref()));
        let help = "`programs` are found on PATH, without a folder; `files` are of the repository";
        problems.add_with_help(program.span(), message, help);
    }
    files.iter().for_each(|file| check_place(file, problems));
    let seconds = Duration::from_secs;
    Command {
        workload: format!("{PREFIX}{name}"),
        build,
        serve,
        drive,
        programs: owned(programs),
        files: owned(files),
        reads: reads(table, problems).unwrap_or(Reads::Lines),
        unit: unit(table, words, problems).unwrap_or_default(),
        within: table
            .duration("within", seconds(1)..=seconds(600), problems)
            .unwrap_or(seconds(30)),
    }
}

/// The words of a command line, which may hold these placeholders.
fn argv(table: &Table<'_>, key: &str, known: &[&str], problems: &mut Problems<'_>) -> Vec<String> {
    if table.is_empty_array(key) {
        let help = match key {
            "drive" => "its first word is a program",
            _ => "its first word is a program; leave the key out where there is none",
        };
        problems.add_with_help(table.span_of(key), format!("`{key}` has no words"), help);
    }
    let words = table.words(key, problems).unwrap_or_default();
    if let Some(program) = words.first().filter(|program| is_of_repository(program.get_ref())) {
        check_place(program, problems);
    }
    for word in &words {
        for name in placeholder::names(word.get_ref()).filter(|name| !known.contains(name)) {
            let message =
                format!("unknown placeholder {} in `{key}`", quoted(&format!("{{{name}}}")));
            let near = super::suggestion(name, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("{near}; "));
            let help = format!("{near}for the text itself write {{{{{name}}}}}");
            problems.add_with_help(word.span(), message, help);
        }
    }
    owned(words)
}

fn has(argv: &[String], wanted: &str) -> bool {
    argv.iter().flat_map(|word| placeholder::names(word)).any(|name| name == wanted)
}

/// Reports a path that is not below the folder of the revision.
fn check_place(path: &Spanned<&str>, problems: &mut Problems<'_>) {
    let text = *path.get_ref();
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let help = match (text.starts_with('/'), parts.contains(&"..")) {
        (true, _) => {
            "write its path from the repository; a program of the host is named without a folder"
        }
        (_, true) => "write its path without `..`",
        _ if parts.is_empty() => "name what is needed: all of it would be copied for each side",
        _ => return,
    };
    problems.add_with_help(
        path.span(),
        format!("{} is no file of the repository", quoted(text)),
        help,
    );
}

fn reads(table: &Table<'_>, problems: &mut Problems<'_>) -> Option<Reads> {
    let text = table.string("reads", problems)?;
    let found = Reads::of(text.get_ref());
    if found.is_none() {
        let message = format!("unknown form of an output: {}", quoted(text.get_ref()));
        let help = "write \"lines\" (a number a line), \"json\" (an array), \"json:NAME\" (an array under that name) or \"csv:COLUMN\"";
        problems.add_with_help(text.span(), message, help);
    }
    found
}

/// The unit, which tells what is better; what a matrix says of that must agree.
fn unit(table: &Table<'_>, words: &Vocabulary, problems: &mut Problems<'_>) -> Option<String> {
    let better = table.string("better", problems);
    if let Some(better) = better.as_ref().filter(|b| !["lower", "higher"].contains(b.get_ref())) {
        problems.unknown(better.span(), "direction", better.get_ref(), ["lower", "higher"]);
        return None;
    }
    let unit = table.string("unit", problems)?;
    let Some(found) = words.units.iter().find(|known| known.name == *unit.get_ref()) else {
        let known = words.units.iter().map(|known| known.name.as_str());
        let near = super::nearest(unit.get_ref(), known);
        let near = near.map_or(String::new(), |near| format!("did you mean {}? ", quoted(near)));
        let help =
            format!("{near}times: ns, us, ms, s; rates: 1/s, B/s, kB/s, MB/s, bit/s, Mbit/s, ...");
        let message = format!("unknown unit {}", quoted(unit.get_ref()));
        problems.add_with_help(unit.span(), message, help);
        return None;
    };
    if let Some(better) = better.filter(|better| *better.get_ref() != found.better) {
        let message =
            format!("{} is a unit of which {} is better", quoted(&found.name), found.better);
        problems.add_with_help(better.span(), message, "leave `better` out, or correct the unit");
    }
    Some(found.name.clone())
}

fn owned(words: Vec<Spanned<&str>>) -> Vec<String> {
    words.into_iter().map(|word| word.into_inner().to_owned()).collect()
}

//! The command line, nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::plan::{Filter, Shard};

const EXIT_CODES: &str = "\
Exit codes:
  0    fine
  2    wrong input
  4    the host failed us: nothing was measured, or a change was not undone
  130  interrupted; the host is as it was";

/// Measures the network performance of containers and virtual machines over a matrix, and tells whether it stays deterministic.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Say less: only what goes wrong, and the end.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: every phase of every boot, where there are boots.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show what this host can run, why not the rest, and what would help.
    #[command(after_help = "Examples:
  cargo xtask doctor                       look, change nothing
  cargo xtask doctor --provision           install what is missing with apt and start a Docker engine")]
    Doctor(Doctor),
    /// Show the cells of a matrix: runnable, skipped with a reason, or not applicable.
    #[command(after_help = "Examples:
  cargo xtask plan
  cargo xtask plan smoke --format json
  cargo xtask plan --update-kernels        pin the newest kernels that apt has
  cargo xtask plan --explain running/docker/bridge/isolated/noisy")]
    Plan(Plan),
    /// Measure a matrix on this host and write a report.
    #[command(after_help = "Examples:
  cargo xtask bench --provision            install what is missing, then measure the default matrix
  cargo xtask bench smoke --out D          one cell of every virtualization, into D
  cargo xtask bench --only docker,netns    some cells of the default matrix
  cargo xtask bench --resume D             go on with a run that was stopped")]
    Bench(Bench),
    /// Write the report of a run again, from its records alone. Needs no root.
    #[command(after_help = "Example:
  cargo xtask report out/default-1767268800")]
    Report(Report),
    /// Say whether determinism got worse from one run to another, or between the two sides of one run. Needs no root.
    #[command(after_help = "\
Exit codes: 0 nothing was flagged; 1 a regression in a run that measured both sides interleaved, or a cell that only the candidate fails
altogether; 2 wrong input; 3 inconclusive, where --require-conclusive asks, or flagged in a run that drifted.

Two runs that were measured one after the other inform: what they say has its verdict, but the exit code is 0.

Examples:
  cargo xtask compare out/before out/after              two runs
  cargo xtask compare out/against-main                  both sides of one run
  cargo xtask compare A B --format json | jq .overall
  cargo xtask compare A B --policy strict.toml --require-conclusive")]
    Compare(Compare),
    /// Bring this host back after a run that could not do so itself.
    #[command(after_help = "\
Runs write down every change before they make it, in /var/lib/evenkeel/journal (without root
$XDG_STATE_HOME/evenkeel). Whatever a killed run left is undone from there: links, namespaces, rules,
settings, control groups and processes of that run, and nothing else. It is safe to run at any time, and twice.
A run that stops by itself or by Ctrl-C needs none.

Example:
  sudo cargo xtask restore")]
    Restore,
    /// Measure how fast the tool itself is: the table of its speeds, as ratios from one run.
    Benchmark(Benchmark),
    /// Run every check of the project.
    #[command(after_help = "Examples:
  cargo xtask test --provision             what has to pass before a change is merged; starts containers and guests
  cargo xtask test --long                  the labs and a hundred random kills too")]
    Test(Test),
    /// One boot, told on standard input.
    #[command(hide = true)]
    Boot(Boot),
    /// The boots of a lab, asked for on standard input.
    #[command(hide = true)]
    Lab,
    /// An agent on standard input and output.
    #[command(hide = true)]
    Agent,
}

/// `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Install what is missing, after listing it.
    #[arg(long)]
    pub provision: bool,
}

/// Which cells, in which order.
#[derive(Args, Debug)]
pub struct Selection {
    /// A name in ./matrices, a built-in name, or a path.
    #[arg(default_value = "default")]
    pub matrix: String,
    /// Seed of the order of boots.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only some cells, by patterns with commas between: an id with `*`, a value (`docker`) or `axis=value`. A cell is taken if one of
    /// them fits, and not if one with `!` in front does: `docker,!noisy`.
    #[arg(long, value_name = "FILTER")]
    pub only: Option<Filter>,
    /// Part I of N; cells that are compared stay together.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Fresh starts of every cell, instead of the matrix's number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub boots: Option<u32>,
    /// Fewest boots and windows that still give every figure; marked as such.
    #[arg(long)]
    pub quick: bool,
}

/// `plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// Which cells.
    #[command(flatten)]
    pub selection: Selection,
    /// First pin the newest versions that apt has of the kernels that the matrix names, in matrices/kernels.lock.
    #[arg(long)]
    pub update_kernels: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Print every step of this cell and what undoes it. Needs no root.
    #[arg(long, value_name = "CELL")]
    pub explain: Option<String>,
    /// As `bench --lab` would measure it.
    #[arg(long)]
    pub lab: bool,
}

/// How a plan is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `bench`.
#[derive(Args, Debug)]
pub struct Bench {
    /// Which cells.
    #[command(flatten)]
    pub selection: Selection,
    /// Where the run is written; `out/NAME-SECONDS` if not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "matrix", "seed", "only", "shard", "boots", "quick"])]
    pub resume: Option<PathBuf>,
    /// Install what is missing first, after listing it.
    #[arg(long)]
    pub provision: bool,
    /// Measure containers under kernels that this host does not run, each in a virtual machine that boots it.
    #[arg(long)]
    pub lab: bool,
}

/// `report`.
#[derive(Args, Debug)]
pub struct Report {
    /// The run's directory.
    pub run: PathBuf,
    /// Where the report is written; the run's directory if not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// The run to compare with; alone, a run that holds both sides.
    pub base: PathBuf,
    /// The run that is judged.
    pub candidate: Option<PathBuf>,
    /// The policy. If not given: the base's that a run of two sides holds, ./matrices/policy.toml, or the built-in one.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// How verdicts are printed.
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    pub format: Shape,
    /// Exit with 3 where something that gates cannot be told, or is missing.
    #[arg(long)]
    pub require_conclusive: bool,
    /// Compare what different instruments measured, too; it is said beside every verdict. Never emulated with real processors.
    #[arg(long)]
    pub allow_different_host: bool,
}

/// How verdicts are printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For a comment.
    Markdown,
}

/// `benchmark`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask benchmark               # every row but those of the verdicts\n  cargo xtask benchmark guest build   # some of them\n  cargo xtask benchmark verdicts      # what the gate finds, simulated: a few minutes"
)]
pub struct Benchmark {
    /// Only these groups of rows.
    #[arg(value_name = "GROUP")]
    pub only: Vec<crate::benchmark::group::Group>,
    /// Print the rows as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `test`.
#[derive(Args, Debug)]
pub struct Test {
    /// Install what is missing first, after listing it.
    #[arg(long)]
    pub provision: bool,
    /// The long checks too: random kills of real runs.
    #[arg(long)]
    pub long: bool,
}

/// `boot`.
#[derive(Args, Debug)]
pub struct Boot {
    /// Only enter the namespaces of an ordinary user's boot, to see whether they can be had.
    #[arg(long)]
    pub enter_only: bool,
}

//! The command line, nothing else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::plan::{Filter, Shard};

const EXIT_CODES: &str = "\
Exit codes:
  0    fine
  1    determinism regressed against a base, or a cell fails that the base measured
  2    wrong input
  3    it cannot be told, where --require-conclusive asks; or flagged in a run that drifted, or on a host not calibrated to gate
  4    the host failed us: nothing was measured, or a change was not undone
  125  with --bisect: it cannot be told, or an error; `git bisect run` skips the commit
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

impl Cli {
    /// The command line as it was typed. Help calls the program as it was started: `cargo xtask` in a checkout, else by the name of its file.
    pub fn of_this_process() -> Cli {
        let name = called(std::env::args_os().next().as_deref());
        let command = Cli::of_a_program(&name);
        <Cli as clap::FromArgMatches>::from_arg_matches(&command.get_matches())
            .unwrap_or_else(|error| error.exit())
    }

    /// The definition of the command line of a program that is called so.
    pub fn of_a_program(name: &str) -> clap::Command {
        let command = renamed(<Cli as clap::CommandFactory>::command(), name);
        command.display_name(name.to_owned()).bin_name(name.to_owned())
    }
}

/// The program's name in a checkout, as all texts of help have it.
pub(crate) const IN_CHECKOUT: &str = "cargo xtask";

/// What a user calls the program that was started by this path.
pub fn called(path: Option<&std::ffi::OsStr>) -> String {
    let name = path.map(std::path::Path::new).and_then(std::path::Path::file_name);
    match name.and_then(std::ffi::OsStr::to_str) {
        None | Some("xtask") => IN_CHECKOUT.to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Help with another name of the program, also of what is below.
fn renamed(command: clap::Command, name: &str) -> clap::Command {
    let after = command.get_after_help().map(|text| text.to_string().replace(IN_CHECKOUT, name));
    let command = match after {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(|below| renamed(below, name))
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
  cargo xtask plan --format github --shards 4       the matrix of a workflow's jobs
  cargo xtask plan --format gitlab --shards 4       a child pipeline
  cargo xtask plan --format slurm --shards 4 > evenkeel.sh && sh evenkeel.sh      job arrays
  cargo xtask plan --update-kernels        pin the newest kernels that apt has
  cargo xtask plan --explain running/docker/bridge/isolated/noisy")]
    Plan(Plan),
    /// Measure a matrix on this host and write a report.
    #[command(after_help = "Examples:
  cargo xtask bench --provision            install what is missing, then measure the default matrix
  cargo xtask bench smoke --out D          one cell of every virtualization, into D
  cargo xtask bench --only docker,netns    some cells of the default matrix
  cargo xtask bench --against origin/main --boots 12   did what is changed here make determinism worse?
  cargo xtask bench --resume D             go on with a run that was stopped")]
    Bench(Bench),
    /// Write the report of a run again, from its records alone. Needs no root.
    #[command(after_help = "\
Exit codes: 0 whatever it tells, regressions too (`compare` and `publish` judge); 4 where nothing was measured.

Example:
  cargo xtask report out/default-1767268800")]
    Report(Report),
    /// Say whether determinism got worse from one run to another, or between the two sides of one run. Needs no root.
    #[command(after_help = "\
Exit codes: 0 nothing was flagged; 1 a regression in a run that measured both sides interleaved, or a cell that only the candidate fails
altogether; 2 wrong input; 3 inconclusive, where --require-conclusive asks, or flagged in a run that drifted.

Two runs that were measured one after the other inform: their figures have verdicts and fail nothing. A cell that fails altogether, and
--require-conclusive, count as ever.

Examples:
  cargo xtask compare out/before out/after              two runs
  cargo xtask compare out/against-main                  both sides of one run
  cargo xtask compare A B --format json | jq .overall
  cargo xtask compare A B --policy strict.toml --require-conclusive")]
    Compare(Compare),
    /// Join the shards of a plan, which several hosts measured, into one run, and write its report. Needs no root.
    #[command(after_help = "\
Shards are measured with `bench MATRIX --shard I/N`. What is no shard of the same plan (matrix, profiles, seed, revision, policy, version of the
tool), is there twice or is missing is named, and ends with exit code 2. Each host's facts are kept.

Shards are read with bounds, and nothing of them but the records is believed: verdicts and report are made again. Those of a stranger are judged by
the policy that is found here: --untrusted.

Examples:
  cargo xtask merge out/shard-1 out/shard-2 --out out/whole
  cargo xtask merge artifacts/ --out out/whole --partial      the runs right below a folder, and whatever is missing is told")]
    Merge(Merge),
    /// Make runs of other tools' measurements: `report` and the other commands read them.
    #[command(after_help = "Examples:
  cargo xtask import csv rows.csv --out D              columns series,run,boot,value,unit and, if known, time,commit,accelerator
  cargo xtask import netperf rr.txt --out D            what `netperf ... -- -k` or `-o` printed; each result is a boot
  cargo xtask import iperf3 1.json 2.json --out D --cell running/docker/bridge/stock/idle
  cargo xtask export csv out/default-1767268800 | cargo xtask import csv /dev/stdin --out D

A csv file with several runs becomes a folder for each in D. accelerator is what ran a guest's processors: figures of tcg, and of guests that do not
say, inform. Units: ns, us, ms, s; bytes/s, MB/s, MiB/s, bits/s, Mbit/s, Gbit/s; transactions/s.")]
    Import(Import),
    /// Write a run for other tools.
    #[command(after_help = "Examples:
  cargo xtask export csv out/default-1767268800 --out rows.csv      every observation; `import csv` reads it
  cargo xtask export hgrm out/default-1767268800 --out percentiles  HdrHistogram's text, a file a series
  cargo xtask export bmf out/default-1767268800                     Bencher Metric Format
  cargo xtask export github-action-benchmark out/default-1767268800 --out smaller.json")]
    Export(Export),
    /// Runs over time: add one, or find what changed.
    #[command(subcommand)]
    History(History),
    /// Measure how often this runner flags what has not changed: a matrix against itself, again and again.
    #[command(after_help = "\
Every repetition measures the matrix as it lies here on both sides, in fresh boots, in an order of its own, and is judged by the policy and the
code that judge `bench --against`. A flag is a false alarm. The counts are kept on this host and add up; every report of a comparison made
here tells them. `[calibrate]` of the policy can make them a condition of gating.

Examples:
  cargo xtask calibrate smoke --budget 2h
  cargo xtask calibrate --only docker,netns --runs 20 --out D
  cargo xtask calibrate smoke --only docker,netns --boots 12 --inject dispersion=300ns,tail=50us/64 --into docker

Faults, which are real and go with the boot:
  location=2us      every reply of our server is so much later
  dispersion=300ns  every reply is later by another amount, lognormal about this median
  tail=50us/64      one of 64 replies is so much later
  stall=50ms/1s     the server stands still for so long, once in so much time
  modes=20us/30%    so many replies are so much later
  contention=50%    others want the CPUs of the system under test for this share of the time
  quota=20%         a container may have this share of one CPU (cgroup)
  rate=100mbit      what the peer sends is held to a rate (tc tbf)
  netem=20us~5us    what the peer sends is later, give or take (tc netem, on the host's side of the link also for guests)")]
    Calibrate(Calibrate),
    /// Tell a run where people look: a comment, a check, a job's summary and outputs, a site.
    #[command(subcommand)]
    Publish(Publish),
    /// Write the files by which a repository is measured: a workflow and a first matrix.
    #[command(subcommand)]
    Init(Init),
    /// Bring this host back after a run that could not do so itself.
    #[command(after_help = "\
Runs write down every change before they make it, in /var/lib/evenkeel/journal (without root
$XDG_STATE_HOME/evenkeel). Whatever a killed run left is undone from there: links, namespaces, rules,
settings, control groups and processes of that run, and nothing else. It is safe to run at any time, and twice.
A run that stops by itself or by Ctrl-C needs none.

Examples:
  sudo cargo xtask restore
  sudo cargo xtask restore --end-holder RUNNER_NAME=bench-1      in a runner's hook: what a cancelled job left running ends before")]
    Restore(Restore),
    /// Print the completions of a shell.
    #[command(after_help = "Examples:
  cargo xtask completions bash | sudo tee /usr/share/bash-completion/completions/evenkeel
  cargo xtask completions zsh > ~/.zfunc/_evenkeel

They are those of the installed program, by the name of its file; of one in a checkout, of `evenkeel`.")]
    Completions(Completions),
    /// Print the manual page, or write it and those of all commands.
    #[command(after_help = "Examples:
  cargo xtask man > evenkeel.1 && man ./evenkeel.1
  sudo cargo xtask man --out /usr/local/share/man/man1")]
    Man(Man),
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

/// `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// Of which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Args, Debug)]
pub struct Man {
    /// A folder, for a page of each command.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
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
    #[arg(long, value_parser = count)]
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
    #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
    pub format: PlanFormat,
    /// Jobs that a CI system or a cluster measures it in; as many as there are kinds of runners that its kernels need, if not given.
    #[arg(long, value_name = "N", conflicts_with_all = ["shard", "explain"], value_parser = count)]
    pub shards: Option<u32>,
    /// Labels that every runner of these jobs has (GitLab: tags, Slurm: features of nodes), with commas between. If not given:
    /// `self-hosted,linux,evenkeel` for GitHub, `evenkeel` for GitLab, none for Slurm.
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub runner: Option<Vec<String>>,
    /// Labels that runners have besides which measure guests, with commas between: `kvm`.
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub guest_runner: Vec<String>,
    /// Tell it as a gate: what `bench --against` another revision takes, and the jobs that do so.
    #[arg(long)]
    pub gate: bool,
    /// Tell it as a gate, and leave out the cells that a gate of this time does not carry: `90s`, `30m`, `2h`.
    #[arg(long, value_name = "TIME", value_parser = crate::matrix::duration::parse, conflicts_with_all = ["boots", "quick"])]
    pub budget: Option<Duration>,
    /// Print every step of this cell and what undoes it. Needs no root.
    #[arg(long, value_name = "CELL")]
    pub explain: Option<String>,
    /// As `bench --lab` would measure it.
    #[arg(long)]
    pub lab: bool,
}

/// How a plan is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// The jobs of a GitHub workflow's matrix.
    Github,
    /// The child pipeline of a GitLab pipeline.
    Gitlab,
    /// A script that submits the shards to Slurm.
    Slurm,
}

impl PlanFormat {
    /// Labels that runners usually have, of a format that is about runners.
    pub fn runners(self) -> Option<&'static [&'static str]> {
        match self {
            PlanFormat::Table | PlanFormat::Json => None,
            PlanFormat::Github => Some(&["self-hosted", "linux", "evenkeel"]),
            PlanFormat::Gitlab => Some(&["evenkeel"]),
            PlanFormat::Slurm => Some(&[]),
        }
    }
}

/// How an answer is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `bench`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("compared").args(["against", "resume"]))]
pub struct Bench {
    /// Which cells.
    #[command(flatten)]
    pub selection: Selection,
    /// Where the run is written; `out/NAME-SECONDS` if not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure this revision's inputs too (matrix, profiles, kernels' images, programs), a boot of one beside a boot of the other, and judge
    /// what changed by its policy: few boots of every cell, then fresh ones of those that look worse. With --boots, that many of each.
    /// Exits with 1 where determinism regressed.
    #[arg(long, value_name = "REV", conflicts_with = "lab")]
    pub against: Option<String>,
    /// Of a run against a base: stop asking for boots where the next ones would not end in this time (`90s`, `30m`, `2h`), and leave out
    /// cells that it does not carry. With --resume, a time from now on, and the cells stay.
    #[arg(long, value_name = "TIME", value_parser = crate::matrix::duration::parse, requires = "compared", conflicts_with_all = ["boots", "quick"])]
    pub budget: Option<Duration>,
    /// Of a run against a base, exit with 3 where something that gates cannot be told, or is missing.
    #[arg(long)]
    pub require_conclusive: bool,
    /// For `git bisect run`: exit with 125 where it cannot be told, and for every error.
    #[arg(long)]
    pub bisect: bool,
    /// Go on with the run in this directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["against", "out", "matrix", "seed", "only", "shard", "boots", "quick"])]
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

/// `merge`.
#[derive(Args, Debug)]
pub struct Merge {
    /// The shards' directories, or folders with some right below them.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Where the whole is written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Merge also where shards are missing: their cells are told as skipped, and of a run against a base as missing.
    #[arg(long)]
    pub partial: bool,
    /// The shards are a stranger's: judge by the policy that is found here, not by the one that they carry.
    #[arg(long)]
    pub untrusted: bool,
}

/// `import`.
#[derive(Args, Debug)]
pub struct Import {
    /// What the files are.
    #[arg(value_enum)]
    pub format: ImportFormat,
    /// The files; results of several become boots of one run.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the run is written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The cell that a tool's results are of.
    #[arg(long, value_name = "CELL")]
    pub cell: Option<String>,
}

/// What can be imported.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// Rows of values.
    Csv,
    /// netperf's omni output, `-k` or `-o`.
    Netperf,
    /// iperf3's JSON.
    Iperf3,
}

/// `export`.
#[derive(Args, Debug)]
pub struct Export {
    /// How it is written.
    #[arg(value_enum)]
    pub format: ExportFormat,
    /// The run's directory.
    pub run: PathBuf,
    /// The file that is written, of percentiles the folder; standard output if not given.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// What can be exported.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Rows of values, one an observation.
    Csv,
    /// HdrHistogram's percentile text of latencies.
    Hgrm,
    /// Bencher Metric Format.
    Bmf,
    /// github-action-benchmark's customSmallerIsBetter.
    GithubActionBenchmark,
    /// Its customBiggerIsBetter: rates.
    GithubActionBenchmarkBigger,
}

impl std::fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No format is hidden, so each has its value.
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// `history`.
#[derive(Subcommand, Debug)]
pub enum History {
    /// Add a run, or the runs below a folder, to a history. A run that is there already is not added again.
    #[command(after_help = "Example:
  cargo xtask history add out/default-1767268800 --history history/

The history is a file of lines that is only added to; several may add at once. Beyond --keep lines, of the older half every second one is dropped,
the oldest first; lines with a --mark stay.")]
    Add(HistoryAdd),
    /// Find the changes of level and steadiness of every series, and name the commits between.
    #[command(after_help = "Examples:
  cargo xtask history check --history history/
  cargo xtask history check --history history/ --accept accepted.toml --against v1.0 --drift 5

Exit code 1: a change for the worse that is not accepted, or a series beyond the drift budget. A file of accepted changes:
  schema = 1
  [[accept]]
  series = \"*/docker/*:tcp-rr\"            # CELL:WORKLOAD, * for any letters
  commit = \"1a2b3c4d\"                     # that made the change
  scope = [\"location\"]                    # location, dispersion, tail, stall, between-boot, all
  reason = \"the bridge filters now\"
  expires = \"2027-01-31\"")]
    Check(HistoryCheck),
    /// Write the history as a page: every series over its runs, what changed and between which commits
    #[command(after_help = "\
Example:
  cargo xtask history page --history history/ --out history.html")]
    Page(HistoryPage),
}

/// `init`.
#[derive(Subcommand, Debug)]
pub enum Init {
    /// For GitHub, for pushes to the repository's default branch. A second run changes nothing, and a file that differs is named, not overwritten.
    #[command(after_help = "Example:
  cargo xtask init github --tool OWNER/evenkeel@0123456789012345678901234567890123456789")]
    Github(InitGithub),
    /// For GitLab. A second run changes nothing. A pipeline that is there already stays as it is: ours is written beside it, and the lines that include it are
    /// told.
    #[command(after_help = "Example:
  cargo xtask init gitlab --tool https://example.org/me/evenkeel@0123456789012345678901234567890123456789")]
    Gitlab(InitGitlab),
}

/// `init gitlab`.
#[derive(Args, Debug)]
pub struct InitGitlab {
    /// Where the pipeline finds Evenkeel: the address of its repository and a commit.
    #[arg(long, value_name = "URL@COMMIT")]
    pub tool: String,
    /// The repository's top folder.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Overwrite files that differ.
    #[arg(long)]
    pub force: bool,
}

/// `init github`.
#[derive(Args, Debug)]
pub struct InitGithub {
    /// Where the workflow finds Evenkeel: its repository and a commit.
    #[arg(long, value_name = "OWNER/NAME@COMMIT")]
    pub tool: String,
    /// The repository's top folder.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Measure pull requests of forks, too, in two stages. Read ci/github/README.md before.
    #[arg(long)]
    pub forks: bool,
    /// Overwrite files that differ.
    #[arg(long)]
    pub force: bool,
}

/// `publish`.
#[derive(Subcommand, Debug)]
pub enum Publish {
    /// GitHub: a comment on the pull request, a check of the commit, the summary and the outputs of the job. Ends as the run's verdict does.
    #[command(after_help = "\
Verdict and texts are made of the run's records. Repository, commit and pull request are those of the workflow's event, never of the run. The token is
read from GITHUB_TOKEN. What cannot be told somewhere is a warning, and changes neither verdict nor exit code.

Examples:
  cargo xtask publish github out/whole --dry-run          as a comment on the commit and the repository of this checkout
  cargo xtask publish github out/whole --report-url https://me.github.io/mine/pr/7/")]
    Github(PublishGithub),
    /// GitLab: a note on the merge request, and figures as a metrics report. Ends as the run's verdict does.
    #[command(after_help = "\
Verdict and texts are made of the run's records. Project, merge request and commit are those of the job, never of the run. The token is read from
EVENKEEL_TOKEN. What cannot be told somewhere is a warning, and changes neither verdict nor exit code.

Examples:
  cargo xtask publish gitlab out/whole --dry-run --project 1 --merge-request 7
  cargo xtask publish gitlab out/whole --metrics metrics.txt")]
    Gitlab(PublishGitlab),
    /// A site in a folder, as Pages serves it: reports, the newest first, and those of pull requests apart; and the history of runs.
    #[command(after_help = "Examples:
  cargo xtask publish pages out/whole --site site/ --commit 1a2b3c4d      the main site and its history
  cargo xtask publish pages out/whole --site site/ --pull 7               a pull request's, beside it
  cargo xtask publish pages out/whole --branch evenkeel-pages             a branch that Pages serves")]
    Pages(PublishPages),
}

/// `publish github`.
#[derive(Args, Debug)]
pub struct PublishGithub {
    /// The run's directory.
    pub run: PathBuf,
    /// Show what would go where; ask nobody, change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only there; with commas between. Everywhere that the job has, if not given.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHERE")]
    pub to: Vec<crate::publish::github::Where>,
    /// Where the report can be read.
    #[arg(long, value_name = "URL")]
    pub report_url: Option<String>,
    /// The repository, instead of the workflow's, or of `origin` outside of one.
    #[arg(long, value_name = "OWNER/NAME")]
    pub repository: Option<String>,
    /// The commit that was measured, instead of the event's, or of this checkout's outside of a workflow.
    #[arg(long, value_name = "COMMIT")]
    pub sha: Option<String>,
    /// The pull request, instead of the event's.
    #[arg(long, value_name = "NUMBER")]
    pub pull: Option<u64>,
    /// Who the token is: only this author's comment is changed.
    #[arg(long, value_name = "LOGIN", default_value = "github-actions[bot]")]
    pub author: String,
    /// The matrix in the repository, for annotations; matrices/NAME.toml if not given.
    #[arg(long, value_name = "PATH")]
    pub matrix_file: Option<String>,
    /// Exit with 3 where something that gates cannot be told, or is missing.
    #[arg(long)]
    pub require_conclusive: bool,
}

/// `publish gitlab`.
#[derive(Args, Debug)]
pub struct PublishGitlab {
    /// The run's directory.
    pub run: PathBuf,
    /// Show what would go where; ask nobody, change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Write all figures there, as `artifacts:reports:metrics` takes them.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Where the report can be read.
    #[arg(long, value_name = "URL")]
    pub report_url: Option<String>,
    /// The project, instead of the job's.
    #[arg(long, value_name = "ID")]
    pub project: Option<u64>,
    /// The merge request, instead of the job's.
    #[arg(long, value_name = "NUMBER")]
    pub merge_request: Option<u64>,
    /// The commit that was measured, instead of the job's.
    #[arg(long, value_name = "COMMIT")]
    pub sha: Option<String>,
    /// Exit with 3 where something that gates cannot be told, or is missing.
    #[arg(long)]
    pub require_conclusive: bool,
}

/// `publish pages`.
#[derive(Args, Debug)]
pub struct PublishPages {
    /// The run's directory.
    pub run: PathBuf,
    /// The site's folder.
    #[arg(long, value_name = "DIR", required_unless_present = "branch", conflicts_with = "branch")]
    pub site: Option<PathBuf>,
    /// The branch of this repository's `origin` that holds the site. It has one commit, which each run replaces: it grows no further than the site.
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// The repository that has this branch, instead of `origin`.
    #[arg(long, value_name = "URL", requires = "branch")]
    pub remote: Option<String>,
    /// The pull request that it is of: its report lies apart, and is in no history.
    #[arg(long, value_name = "NUMBER")]
    pub pull: Option<u64>,
    /// What was measured.
    #[arg(long, value_name = "COMMIT")]
    pub commit: Option<String>,
    /// Reports that are kept of each kind.
    #[arg(long, default_value_t = 50, value_parser = kept_reports)]
    pub keep: u32,
    /// Show what would be written; change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `history add`.
#[derive(Args, Debug)]
pub struct HistoryAdd {
    /// The run's directory, or one with runs below it.
    pub run: PathBuf,
    /// The history: a file, or a folder with a history.jsonl.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub history: PathBuf,
    /// What was measured; the commit of the repository that the run was made in, if not given.
    #[arg(long, value_name = "COMMIT")]
    pub commit: Option<String>,
    /// There were changes beside the commit.
    #[arg(long)]
    pub dirty: bool,
    /// A name of the run, such as that of a release.
    #[arg(long, value_name = "NAME")]
    pub mark: Option<String>,
    /// Lines that are kept.
    #[arg(long, default_value_t = 1000, value_parser = kept_lines)]
    pub keep: u32,
}

/// `history check`.
#[derive(Args, Debug)]
pub struct HistoryCheck {
    /// The history: a file, or a folder with a history.jsonl.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub history: PathBuf,
    /// Changes that were reviewed and accepted.
    #[arg(long, value_name = "FILE")]
    pub accept: Option<PathBuf>,
    /// The commit or mark from which no series may slide further than the drift budget.
    #[arg(long, value_name = "COMMIT|MARK")]
    pub against: Option<String>,
    /// How far a location may slide for the worse, percent.
    #[arg(long, value_name = "PERCENT", default_value_t = crate::history::check::BUDGET[0], value_parser = percent, requires = "against")]
    pub drift: f64,
    /// How far any other figure may.
    #[arg(long, value_name = "PERCENT", default_value_t = crate::history::check::BUDGET[1], value_parser = percent, requires = "against")]
    pub drift_of_others: f64,
    /// Share of checks of an unchanged history that find something.
    #[arg(long, value_name = "SHARE", default_value_t = crate::history::check::FALSE_ALARMS, value_parser = share)]
    pub false_alarms: f64,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Exit code 3 where a series has too few points to tell.
    #[arg(long)]
    pub require_conclusive: bool,
}

/// `history page`.
#[derive(Args, Debug)]
pub struct HistoryPage {
    /// The history: a file, or a folder with a history.jsonl.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub history: PathBuf,
    /// Changes that were reviewed and accepted.
    #[arg(long, value_name = "FILE")]
    pub accept: Option<PathBuf>,
    /// The page.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// A whole number between these.
fn whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| match most {
        u32::MAX => format!("it is a whole number, at least {least}"),
        _ => format!("it is a whole number from {least} to {most}"),
    })
}

fn count(text: &str) -> Result<u32, String> {
    whole(text, 1, 10_000)
}

fn kept_reports(text: &str) -> Result<u32, String> {
    whole(text, 1, 1000)
}

fn kept_lines(text: &str) -> Result<u32, String> {
    whole(text, 40, u32::MAX)
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    number
        .filter(|number| (0.0..=1e6).contains(number))
        .ok_or_else(|| "it is a number of percent, from 0 on".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 0.5);
    number.ok_or_else(|| "it is a number above 0, at most 0.5".to_owned())
}

/// `calibrate`.
#[derive(Args, Debug)]
pub struct Calibrate {
    /// A name in ./matrices, a built-in name, or a path.
    #[arg(default_value = "default")]
    pub matrix: String,
    /// Repetitions; as many as the budget carries where that is given, else 12, and 4 of each fault.
    #[arg(long, value_name = "N", value_parser = count)]
    pub runs: Option<u32>,
    /// Begin no repetition that is not expected to end within this time of the start: 90s, 10m, 2h. One is always made.
    #[arg(long, value_name = "TIME", value_parser = crate::matrix::duration::parse)]
    pub budget: Option<std::time::Duration>,
    /// Only some cells, as `bench` takes it.
    #[arg(long, value_name = "FILTER")]
    pub only: Option<Filter>,
    /// Give the candidate's boots these faults, one after the other, and tell as what they are found: this host's power. With commas between.
    #[arg(long, value_name = "FAULT=SIZE", value_delimiter = ',')]
    pub inject: Vec<crate::calibrate::fault::Fault>,
    /// Only in these cells, as --only takes them.
    #[arg(long, value_name = "FILTER", requires = "inject")]
    pub into: Option<Filter>,
    /// Where the repetitions are written, a run each; `out/calibrate-NAME-SECONDS` if not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Fresh starts of every cell a side, instead of as many as the policy asks for.
    #[arg(long, value_parser = count)]
    pub boots: Option<u32>,
    /// Seed of the order of boots in the first repetition; each further one has the next. The clock's if not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Fewest windows that still give every figure; marked as such.
    #[arg(long)]
    pub quick: bool,
}

/// `restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// Ask a run under way to end before, if it was started with this variable: that of a job which was cancelled. Any other run is left
    /// alone, and its host is not restored.
    #[arg(long, value_name = "NAME=VALUE")]
    pub end_holder: Option<evenkeel_agent::holder::Whose>,
}

/// `benchmark`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask benchmark               # every row but those of the verdicts\n  cargo xtask benchmark guest build   # some of them\n  cargo xtask benchmark verdicts      # what the gate and the history check find, simulated: a few minutes\n  cargo xtask benchmark verdicts-speed verdicts-history   # parts of it"
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

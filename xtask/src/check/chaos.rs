//! Random kills of real runs: whatever dies at whatever time, `restore` brings the host back to the inventory that was taken
//! before, and `bench --resume` ends with every planned boot there once.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::command;

use super::inventory::{Inventory, SETTLES};
use crate::record::store;

/// Cells of every virtualization, tuned and not, some by every knob that a profile has, with and without load.
const MATRIX: &str = r#"
schema = 1
name = "chaos"

[axes]
kernel = ["running"]
virtualization = ["netns", "runc", "docker"]
network = ["bridge"]
tuning = ["stock", "isolated"]

[[include]]
kernel = "running"
virtualization = "docker"
network = "nat"
tuning = "realtime"
load = "noisy"

[[include]]
kernel = "running"
virtualization = "netns"
network = "nat"
tuning = "stock"
load = "noisy"

[[include]]
kernel = "running"
virtualization = "qemu"
network = "bridge"
tuning = "realtime"
load = "idle"

[[include]]
kernel = "running"
virtualization = "podman"
network = "veth"
tuning = "isolated"
load = "idle"

[[include]]
kernel = "running"
virtualization = "nspawn"
network = "bridge"
tuning = "isolated"
load = "idle"

[[include]]
kernel = "running"
virtualization = "netns"
network = "ovs"
tuning = "isolated"
load = "idle"

[[include]]
kernel = "running"
virtualization = "docker"
network = "macvlan"
tuning = "isolated"
load = "idle"

[measure]
workloads = ["tcp-rr", "tcp-stream"]
boots = 1
warmup = "20ms"
window = "20ms"
windows = 10
"#;

/// How many rounds one run is killed in before it may end.
const ROUNDS_OF_A_RUN: u32 = 12;
/// Deadline of a whole run and of a restore.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The run; its boot is left to undo itself.
    Bench,
    /// The boot; its run has to bring the host back and go on. Then the run is asked to stop.
    Boot,
    /// The run and the boot.
    Both,
    /// The run with everything below it, at once.
    Tree,
}

const VICTIMS: [Victim; 4] = [Victim::Bench, Victim::Boot, Victim::Both, Victim::Tree];

/// Kills real runs `kills` times, at times and with victims drawn from `seed`. Answers what was done, in a sentence.
///
/// # Errors
/// Something was left on the host, a restore failed, or a resumed run is not whole: says which kill did it. The host may need
/// `cargo xtask restore`.
pub fn run(kills: u32, seed: u64) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    run_with(&program, kills, seed)
}

/// Like [`run`], of another program than this one.
///
/// # Errors
/// As [`run`].
pub fn run_with(program: &Path, kills: u32, seed: u64) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
    let mut chaos = Chaos {
        program: program.to_string_lossy().into_owned(),
        folder: folder.path().to_owned(),
        random: fastrand::Rng::with_seed(seed),
        tally: Tally::default(),
    };
    let matrix = folder.path().join("chaos.toml");
    std::fs::write(&matrix, MATRIX).context("failed to write the matrix of chaos")?;
    // What a first run leaves on purpose (its cache, its state folder) is there before the inventory.
    ensure!(chaos.to_end(&["restore"])?, "this host cannot be restored: see above");
    let mut number = 0;
    while chaos.tally.kills < kills {
        number += 1;
        chaos.one_run(&matrix, number, kills)?;
    }
    Ok(chaos.tally.to_string())
}

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    restores_killed: u32,
    runs: u32,
    boots: usize,
    by_victim: [u32; VICTIMS.len()],
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let victims = VICTIMS.iter().zip(self.by_victim);
        let victims: Vec<String> = victims.map(|(who, n)| format!("{who:?} {n}")).collect();
        write!(
            f,
            "{} kills ({}), {} restores killed as well: nothing left each time; {} runs resumed to their end, {} boots, each there once",
            self.kills,
            victims.join(", "),
            self.restores_killed,
            self.runs,
            self.boots
        )
    }
}

struct Chaos {
    program: String,
    folder: PathBuf,
    random: fastrand::Rng,
    tally: Tally,
}

impl Chaos {
    /// One run, killed again and again, resumed each time, and at last left to end.
    fn one_run(&mut self, matrix: &Path, number: u32, kills: u32) -> anyhow::Result<()> {
        let out = self.folder.join(format!("run-{number}"));
        let (matrix, dir) = (matrix.to_string_lossy(), out.to_string_lossy());
        let seed = number.to_string();
        let first = ["--verbose", "bench", &matrix, "--out", &dir, "--seed", &seed];
        let resume = ["--verbose", "bench", "--resume", &dir];
        for _ in 0..ROUNDS_OF_A_RUN {
            if self.tally.kills >= kills {
                break;
            }
            let words: &[&str] = if out.join(store::RUN).exists() { &resume } else { &first };
            if self.round(words)? {
                break;
            }
        }
        let words: &[&str] = if out.join(store::RUN).exists() { &resume } else { &first };
        let before = Inventory::take()?;
        ensure!(self.to_end(words)?, "the run did not end well: {}", self.last_words());
        self.is_clean(&before, "a run that was resumed to its end")?;
        self.tally.boots += whole(&out)?;
        self.tally.runs += 1;
        Ok(())
    }

    /// Starts a run, kills, restores, and compares. Answers whether the run ended before it was killed.
    fn round(&mut self, words: &[&str]) -> anyhow::Result<bool> {
        let began = Instant::now();
        let before = Inventory::take()?;
        let at = self.random.usize(0..VICTIMS.len());
        let victim = VICTIMS[at];
        // Most kills come while things are made; guests need longer until they are measured.
        let longest = if self.random.u8(0..4) == 0 { 9_000 } else { 3_000 };
        let after = Duration::from_micros(self.random.u64(0..longest * 1000));
        let mut bench = self.start(words)?;
        if command::ended_within(&mut bench, after)?.is_some() {
            return Ok(true);
        }
        let name =
            format!("kill {} ({victim:?} after {} ms)", self.tally.kills + 1, after.as_millis());
        self.kill(victim, &mut bench)?;
        self.tally.kills += 1;
        self.tally.by_victim[at] += 1;
        while self.random.u8(0..3) == 0 {
            let mut restore = self.start(&["restore"])?;
            let soon = Duration::from_micros(self.random.u64(0..400_000));
            if command::ended_within(&mut restore, soon)?.is_none() {
                kill_now(&[pid_of(&restore)])?;
                restore.wait()?;
                self.tally.restores_killed += 1;
            }
        }
        ensure!(self.to_end(&["restore"])?, "{name}: restore failed: {}", self.last_words());
        self.is_clean(&before, &name)?;
        eprintln!("{name}: nothing left, {:.1} s", began.elapsed().as_secs_f64());
        Ok(false)
    }

    fn kill(&mut self, victim: Victim, bench: &mut Child) -> anyhow::Result<()> {
        let run = pid_of(bench);
        let boots: Vec<i32> = children(run)?.into_iter().filter(|child| is_boot(*child)).collect();
        match victim {
            Victim::Bench => kill_now(&[run])?,
            Victim::Both => kill_now(&[&boots[..], &[run]].concat())?,
            Victim::Tree => {
                let mut all = vec![run];
                let mut next = 0;
                while let Some(&one) = all.get(next) {
                    all.extend(children(one)?);
                    next += 1;
                }
                kill_now(&all)?;
            }
            Victim::Boot => {
                kill_now(&boots)?;
                let on = Duration::from_micros(self.random.u64(0..1_500_000));
                if command::ended_within(bench, on)?.is_none() {
                    signal(run, nix::sys::signal::Signal::SIGTERM)?;
                }
            }
        }
        let ended = command::ended_within(bench, PATIENCE)?;
        let code = ended.context("a run that was killed or asked to stop does not end")?.code();
        let well = victim != Victim::Boot || matches!(code, Some(0 | 4 | 130) | None);
        ensure!(well, "a run whose boot was killed ended with {code:?}: {}", self.last_words());
        Ok(())
    }

    fn start(&self, words: &[&str]) -> anyhow::Result<Child> {
        let log = self.log();
        let file = std::fs::File::create(&log)
            .with_context(|| format!("failed to make {}", log.display()))?;
        let mut argv = vec![self.program.as_str()];
        argv.extend(words);
        command::start(None, &argv, file)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("words")
    }

    /// Runs the program to its end; answers whether it ended with 0.
    fn to_end(&self, words: &[&str]) -> anyhow::Result<bool> {
        let mut child = self.start(words)?;
        let ended = command::ended_within(&mut child, PATIENCE)?;
        Ok(ended.with_context(|| format!("`{}` does not end", words.join(" ")))?.success())
    }

    /// The end of what the last program printed.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    fn is_clean(&self, before: &Inventory, name: &str) -> anyhow::Result<()> {
        let left = before.differs(SETTLES)?;
        if !left.is_empty() {
            bail!("{name} left the host changed:\n{}\n{}", left.join("\n"), self.last_words());
        }
        Ok(())
    }
}

/// The number of boots in a run's directory, each planned one of which must be there once.
fn whole(dir: &Path) -> anyhow::Result<usize> {
    let (run, records, warnings) = store::read(dir)?;
    let runnable = run.cells.iter().filter(|cell| cell.status == crate::record::Status::Runnable);
    let mut planned: Vec<(String, u32)> = runnable
        .flat_map(|cell| (0..run.matrix.measure.boots).map(|boot| (cell.cell.id(), boot)))
        .collect();
    let mut there: Vec<(String, u32)> =
        records.iter().map(|record| (record.cell.clone(), record.boot)).collect();
    planned.sort();
    there.sort();
    ensure!(planned == there, "planned {planned:?}\nthere {there:?}\n{}", warnings.join("\n"));
    ensure!(planned.len() >= 4, "only {} boots could be planned on this host", planned.len());
    Ok(there.len())
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(i32::MAX)
}

/// Processes that this one started and that have not ended.
fn children(pid: i32) -> anyhow::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").context("failed to list /proc")?;
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter(|child| parent(*child) == Some(pid)).collect())
}

/// The parent of a process; nothing if that ended while it was looked at.
fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): behind the name in parentheses come the state and the parent.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn is_boot(pid: i32) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|&byte| byte == 0).nth(1) == Some(b"boot")
}

/// Kills processes that were just listed as those of a run that we started.
fn kill_now(pids: &[i32]) -> anyhow::Result<()> {
    pids.iter().try_for_each(|pid| signal(*pid, nix::sys::signal::Signal::SIGKILL))
}

fn signal(pid: i32, signal: nix::sys::signal::Signal) -> anyhow::Result<()> {
    match nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to send {signal} to {pid}")),
    }
}

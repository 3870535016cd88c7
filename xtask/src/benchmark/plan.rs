//! How long a million cells take to plan: the whole command, with what it prints thrown away.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evenkeel_agent::command;

use super::runs::Runs;
use super::table::{Must, Row};

/// Seconds for the whole command.
const MOST_S: f64 = 1.0;

/// Long: it is measured, not judged, by its deadline.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often it is measured.
const TIMES: usize = 5;

/// All combinations of the other axes' 48 with as many kernels as make a million.
fn million() -> Result<String, std::fmt::Error> {
    const KERNELS: usize = 1_000_000_usize.div_ceil(48);
    let mut text = "schema = 1\nname = \"million\"\n[axes]\nkernel = [".to_owned();
    for kernel in 0..KERNELS {
        write!(text, "\"k{kernel}\",")?;
    }
    text.push_str(
        "]\nvirtualization = [\"netns\", \"runc\", \"docker\", \"qemu\"]\n\
         network = [\"veth\", \"bridge\", \"nat\"]\ntuning = [\"stock\", \"isolated\"]\nload = [\"idle\", \"noisy\"]\n",
    );
    for kernel in 0..KERNELS {
        writeln!(text, "[kernel.k{kernel}]\ndeb = \"linux-image-{kernel}\"")?;
    }
    Ok(text)
}

/// The row.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let file = runs.folder().join("million.toml");
    std::fs::write(&file, million()?)
        .with_context(|| format!("failed to write {}", file.display()))?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let (program, file) = (program.to_string_lossy(), file.to_string_lossy());
    let silent = "exec \"$0\" plan \"$1\" --format json > /dev/null";
    let argv = ["sh", "-c", silent, &program, &file];
    let mut seconds = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        command::output(&argv, DEADLINE)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    let note = "`plan --format json`, its output thrown away".to_owned();
    Ok(vec![Row::mean("plan of a million cells", "s", &seconds, Must::AtMost(MOST_S), note)])
}

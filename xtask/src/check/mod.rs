//! Every check of the project, as `cargo xtask test` runs them: formatting, lints, tests with real containers and guests,
//! documentation, and the example matrices. Works in a checkout only.

pub mod chaos;
pub mod inventory;
pub mod pages;
pub mod workflows;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use evenkeel_agent::command;
use xshell::cmd;

use crate::artifact::cache::Cache;
use crate::cli;
use crate::command::{Exit, install};
use crate::doctor::provision::For;
use crate::matrix;

/// The longest that one check may take; a hung one must not hang the machine that runs it. On this machine the longest takes a fifth of it.
const CHECK: Duration = Duration::from_secs(85 * 60);

/// Kills of the long checks.
const KILLS: u32 = 100;

/// `test`: every check in turn; the first that fails ends it.
///
/// # Errors
/// A check failed, or this is no checkout.
pub fn test(told: &cli::Test) -> anyhow::Result<Exit> {
    let root = root()?;
    if told.provision {
        install(&Cache::open()?, For::All)?;
    }
    let shell = command::shell()?;
    shell.change_dir(&root);
    let began = Instant::now();
    let check = |name: &str, line: xshell::Cmd<'_>| -> anyhow::Result<()> {
        eprintln!("== {name}");
        let since = Instant::now();
        if !command::stream(line.quiet(), CHECK)? {
            bail!("check `{name}` failed: see above");
        }
        eprintln!("== {name}: fine, {:.0} s", since.elapsed().as_secs_f64());
        Ok(())
    };
    check("formatting", cmd!(shell, "cargo fmt --all --check"))?;
    check(
        "lints",
        cmd!(shell, "cargo clippy --quiet --workspace --all-targets -- --deny warnings"),
    )?;
    // A test of the library opens them.
    for missing in pages::missing()? {
        eprintln!("note: {missing}: a part of the check of pages is skipped");
    }
    check("tests, built", cmd!(shell, "cargo test --quiet --workspace --no-run"))?;
    check("tests", cmd!(shell, "cargo test --quiet --workspace --no-fail-fast"))?;
    check(
        "documentation",
        cmd!(shell, "cargo doc --quiet --workspace --no-deps --document-private-items")
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    eprintln!("== workflows");
    let since = Instant::now();
    for skipped in workflows::check(&root)? {
        eprintln!("note: {skipped}");
    }
    eprintln!("== workflows: fine, {:.0} s", since.elapsed().as_secs_f64());
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    for (name, _) in matrix::EMBEDDED {
        check(&format!("matrix {name}"), cmd!(shell, "{own} plan {name}"))?;
    }
    let out = tempfile::tempdir().context("failed to make a temporary folder")?;
    let run = out.path().join("run");
    check("the smoke matrix, measured", cmd!(shell, "{own} bench smoke --out {run}"))?;
    let summary = std::fs::read_to_string(run.join("summary.md"))?;
    let sentence = summary.lines().next().unwrap_or_default();
    if !sentence.starts_with("**4 of 4 cells measured") {
        bail!("the smoke matrix was not measured whole: {sentence}");
    }
    if told.long {
        check(
            "a fault at each effect of containers and guests",
            cmd!(shell, "cargo test --quiet --package xtask --test faults -- --ignored"),
        )?;
        check(
            "labs: containers under kernels of their own",
            cmd!(shell, "cargo test --quiet --package xtask --test lab -- --ignored"),
        )?;
        check(
            "fleets: a cluster that loses a node, a pipeline from plan to site, GitHub from an empty repository on",
            cmd!(
                shell,
                "cargo test --quiet --package xtask --test slurm --test gitlab --test github --test workflow -- --ignored --nocapture"
            ),
        )?;
        check(
            "guides: every command, and a kind that is added",
            cmd!(shell, "cargo test --quiet --package xtask --test guides -- --ignored"),
        )?;
        eprintln!("== chaos: {KILLS} random kills of real runs");
        eprintln!("{}", chaos::run(KILLS, 1)?);
    }
    eprintln!("== all checks passed, {:.0} s", began.elapsed().as_secs_f64());
    Ok(Exit::Fine)
}

/// The top of the checkout that the working directory lies in.
fn root() -> anyhow::Result<PathBuf> {
    let argv = ["cargo", "locate-project", "--workspace", "--message-format", "plain"];
    let manifest = command::output(&argv, Duration::from_secs(60))
        .context("`test` checks the project itself: run it in a checkout of it")?;
    let manifest = PathBuf::from(manifest.trim());
    Ok(manifest.parent().context("the manifest has no folder")?.to_owned())
}

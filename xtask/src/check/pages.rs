//! Pages as people open them: a browser reads them in light and dark, on a phone, without scripts and by keyboard (`pages.cjs`, with axe-core), and
//! the validator of the W3C reads their HTML (vnu). What is not installed skips its part, and is told; `.ci/run` installs it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::command;

/// What opens the pages.
const SCRIPT: &str = include_str!("pages.cjs");

/// Deadline of everything that a browser does here: seconds on a machine that does nothing else.
const SOON: Duration = Duration::from_secs(15 * 60);

/// Deadline of a question to a tool.
const AT_ONCE: Duration = Duration::from_secs(60);

/// Names that browsers of this kind go by.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Opens pages with every tool that is there. Answers what was skipped and why.
///
/// # Errors
/// A tool finds something wrong with a page.
pub fn check(pages: &[&Path]) -> anyhow::Result<Vec<String>> {
    let pages: Vec<String> = pages.iter().map(|page| page.to_string_lossy().into_owned()).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let mut skipped = Vec::new();
    match browser()? {
        Err(why) => skipped.push(format!("{why}: no page is opened in a browser")),
        Ok(browser) => {
            let place = tempfile::tempdir().context("failed to make a temporary folder")?;
            let script = place.path().join("pages.cjs");
            std::fs::write(&script, SCRIPT)?;
            let script = script.to_string_lossy();
            done(&[&["node", &script, &browser][..], &pages].concat())?;
        }
    }
    match validator()? {
        Err(why) => skipped.push(format!("{why}: no page is validated")),
        Ok(jar) => done(&[&["java", "-jar", &jar, "--errors-only"][..], &pages].concat())?,
    }
    Ok(skipped)
}

/// What is missing to check pages, in words.
///
/// # Errors
/// A tool that is there cannot be asked.
pub fn missing() -> anyhow::Result<Vec<String>> {
    Ok([browser()?.err(), validator()?.err()].into_iter().flatten().collect())
}

/// The browser, where everything is there that drives it; else what is not.
fn browser() -> anyhow::Result<Result<String, String>> {
    let Some(browser) = BROWSERS.into_iter().find_map(command::which) else {
        return Ok(Err("chromium is not installed".to_owned()));
    };
    for package in ["puppeteer-core", "axe-core"] {
        if module(package)?.is_none() {
            return Ok(Err(format!("{package} is not installed for node")));
        }
    }
    Ok(Ok(browser.to_string_lossy().into_owned()))
}

/// The validator's file; else what is not there.
fn validator() -> anyhow::Result<Result<String, String>> {
    if command::which("java").is_none() {
        return Ok(Err("java is not installed".to_owned()));
    }
    let main = module("vnu-jar")?;
    let jar = main.and_then(|main| Some(Path::new(&main).parent()?.join("build/dist/vnu.jar")));
    Ok(jar
        .filter(|jar| jar.is_file())
        .map(|jar| jar.to_string_lossy().into_owned())
        .ok_or_else(|| "vnu-jar is not installed for node".to_owned()))
}

/// Where node finds a package.
fn module(package: &str) -> anyhow::Result<Option<String>> {
    if command::which("node").is_none() {
        return Ok(None);
    }
    let ask = "process.stdout.write(require.resolve(process.argv[1]))";
    let ended = command::run(&["node", "-e", ask, package], AT_ONCE)?;
    Ok((ended.code == Some(0)).then(|| String::from_utf8_lossy(&ended.stdout).into_owned()))
}

fn done(argv: &[&str]) -> anyhow::Result<()> {
    let ended = command::run(argv, SOON)?;
    if ended.code != Some(0) {
        let said = [&ended.stdout[..], &ended.stderr].concat();
        bail!("`{}`:\n{}", argv.join(" "), String::from_utf8_lossy(&said));
    }
    Ok(())
}

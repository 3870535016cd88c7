//! Versions of the programs that cells use: facts that only the host can tell.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_agent::command;

/// Time for a program to say its version.
const WITHIN: Duration = Duration::from_secs(5);

/// A program, and what makes it say its version.
const TOOLS: [(&str, &str); 11] = [
    ("docker", "--version"),
    ("ip", "-V"),
    ("iperf3", "--version"),
    ("netperf", "-V"),
    ("nft", "--version"),
    ("ovs-vswitchd", "--version"),
    ("ping", "-V"),
    ("podman", "--version"),
    ("qemu-system-x86_64", "--version"),
    ("runc", "--version"),
    ("systemd-nspawn", "--version"),
];

/// Versions of the programs that are installed here, by fact name (`tool-runc`).
pub fn tools() -> BTreeMap<String, String> {
    let versions = TOOLS.iter().filter_map(|&(program, _)| {
        version(program).map(|version| (format!("tool-{program}"), version))
    });
    versions.collect()
}

/// What an installed program says of its version: its first line, shortened. `None` if it is not
/// installed, says nothing in time, or is not among those that are known.
pub(super) fn version(program: &str) -> Option<String> {
    let (_, flag) = TOOLS.iter().find(|(name, _)| *name == program)?;
    command::which(program)?;
    // An ordinary user's makes folders below /tmp to say it, and leaves them; no cell of theirs uses it.
    if program == "podman" && !nix::unistd::geteuid().is_root() {
        return None;
    }
    let ended = command::run(&[program, flag], WITHIN).ok()?;
    // netperf says it on its standard error, and ends with 1 in some of its versions.
    [ended.stdout, ended.stderr]
        .iter()
        .find_map(|bytes| first_line(&String::from_utf8_lossy(bytes)))
}

/// The first line that says something, at most 120 characters of it.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(120).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_short_line() {
        assert_eq!(
            first_line("\n runc version 1.1.5+ds1\ncommit: x\n").unwrap(),
            "runc version 1.1.5+ds1"
        );
        assert_eq!(first_line(" \n"), None);
        assert_eq!(first_line(&"é".repeat(500)).unwrap().chars().count(), 120);
    }

    #[test]
    fn a_program_that_is_not_known_is_not_started() {
        assert_eq!(version("reboot"), None);
    }
}

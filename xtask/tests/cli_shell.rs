//! What shells and manuals get: completions that bash itself accepts, and a page for each command.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use assert_cmd::Command;

use tempfile::TempDir;

mod common;
use common::{run, xtask};

/// What bash offers for the last of these words, by our completions.
fn offered(words: &[&str]) -> Vec<String> {
    let place = TempDir::new().unwrap();
    let script = place.path().join("completions");
    let said = run(&mut xtask(&["completions", "bash"]));
    said.ends_with(0);
    std::fs::write(&script, said.stdout).unwrap();
    let asks = r#"
        source "$1"; shift
        complete -p evenkeel > /dev/null || exit 9
        COMP_WORDS=(evenkeel "$@"); COMP_CWORD=$#
        _evenkeel evenkeel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    let bash = bash.args(["--norc", "-c", asks, "bash"]).arg(&script).args(words);
    let said = run(bash);
    said.ends_with(0);
    said.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(offered(&["cal"]), ["calibrate"]);
    assert_eq!(offered(&["bench", "--aga"]), ["--against"]);
    assert_eq!(offered(&["history", "ch"]), ["check"]);
    assert_eq!(offered(&["plan", "--format", "sl"]), ["slurm"]);
    let all = offered(&[""]);
    for hidden in ["boot", "agent", "lab"] {
        assert!(all.iter().all(|word| word != hidden), "{all:?}");
    }
}

#[test]
fn every_command_has_a_page() {
    let place = TempDir::new().unwrap();
    let folder = place.path().join("man1");
    run(xtask(&["man", "--out"]).arg(&folder)).ends_with(0);
    for page in ["evenkeel.1", "evenkeel-bench.1", "evenkeel-history-check.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
        assert!(!text.contains("cargo xtask"), "{page}");
    }
    assert!(!folder.join("evenkeel-boot.1").exists());
    let main = run(&mut xtask(&["man"]));
    main.ends_with(0);
    assert!(main.stdout.contains(".TH evenkeel 1"), "{main}");
    for command in ["bench", "restore", "completions"] {
        assert!(main.stdout.contains(&format!("evenkeel\\-{command}(1)")), "{main}");
    }
}

#[test]
fn a_shell_that_nobody_knows_is_refused_with_those_that_are() {
    run(&mut xtask(&["completions", "csh"])).is_refused_with(&["csh", "bash", "zsh", "fish"]);
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = run(xtask(&["man", "--out"]).arg(file.join("below")));
    said.ends_with(4).says(&["failed to write manual pages into"]);
}

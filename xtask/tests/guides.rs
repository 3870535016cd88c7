//! The guides: every command in them is one and every file is there; and in the long checks every command runs, in the order of its page, and a kind
//! is added as its guide says.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use common::runs::{STEADY, WIDE, write};
use common::{Host, Quick, Said, XTASK, run, xtask};
use evenkeel_agent::command::which;
use xtask::axis::{load, network, virtualization};
use xtask::record::{BASE, CANDIDATE};

const DEFAULT: &str = include_str!("../../matrices/default.toml");
const README: &str = include_str!("../../README.md");

/// Pages with commands, by their place in the project. Their commands run in this order, in one folder.
const GUIDES: [(&str, &str); 7] = [
    ("matrices/README.md", include_str!("../../matrices/README.md")),
    ("reports/README.md", include_str!("../../reports/README.md")),
    ("ci/github/README.md", include_str!("../../ci/github/README.md")),
    ("ci/gitlab/README.md", include_str!("../../ci/gitlab/README.md")),
    ("ci/slurm/README.md", include_str!("../../ci/slurm/README.md")),
    ("ci/SECURITY.md", include_str!("../../ci/SECURITY.md")),
    (KINDS, include_str!("../src/axis/README.md")),
];

/// The guide whose commands change the project itself.
const KINDS: &str = "xtask/src/axis/README.md";

/// The longest that a block may take: one builds the project and tries every combination of kinds.
const BLOCK: Duration = Duration::from_secs(1800);

/// A block of a guide.
struct Block {
    language: String,
    text: String,
    /// The file that the line before it names.
    file: Option<String>,
}

/// Blocks in their order, without indentation.
fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut lines, mut before) = (guide.lines(), "");
    while let Some(line) = lines.next() {
        let Some(language) = line.trim().strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line;
            }
            continue;
        };
        let least = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let inside = inside.map(|line| line.get(least..).unwrap_or_default().to_owned() + "\n");
        let named = before.strip_suffix("`:").and_then(|rest| rest.rsplit('`').next());
        let (text, file) = (inside.collect(), named.map(str::to_owned));
        blocks.push(Block { language: language.to_owned(), text, file });
        before = "";
    }
    blocks
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_command_of_the_guides_is_one() {
    for (name, guide) in GUIDES.into_iter().chain([("README.md", README)]) {
        let shell: String =
            blocks(guide).iter().filter(|block| block.language == "sh").map(|b| &*b.text).collect();
        let commands = shell.lines().filter_map(|line| line.strip_prefix("cargo xtask "));
        let mut found = 0;
        for command in commands {
            let words =
                command.split_whitespace().take_while(|word| !matches!(*word, ">" | "|" | "#"));
            let told = xtask::cli::Cli::try_parse_from(["xtask"].into_iter().chain(words));
            assert!(told.is_ok(), "{name}: {command}: {}", told.unwrap_err());
            found += 1;
        }
        assert!(found > 0, "{name} has no command");
    }
}

#[test]
fn files_that_guides_name_are_there() {
    let tops = ["ci/", "matrices/", "reports/", "xtask/"];
    for (name, guide) in GUIDES {
        let made: Vec<String> = blocks(guide).into_iter().filter_map(|block| block.file).collect();
        for file in guide.split('`').skip(1).step_by(2) {
            let is_file = tops.iter().any(|top| file.starts_with(top)) && file.contains('.');
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            // What the user makes, or is told by a name in capitals.
            let theirs = made.iter().any(|of| of == file) || file.contains("NAME");
            if is_file && file.chars().all(plain) && !theirs && !name.starts_with("ci/") {
                let ours = ["matrices/policy.toml", "matrices/kernels.lock"].contains(&file);
                assert!(ours || root().join(file).exists(), "{name} names {file}");
            }
        }
        for link in guide.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let folder = Path::new(name).parent().unwrap();
            let is_there = link.contains("://") || root().join(folder).join(link).exists();
            assert!(is_there, "{name} leads to {link}");
        }
    }
}

#[test]
fn matrices_and_profiles_of_the_guides_are_right() {
    let place = tempfile::tempdir().unwrap();
    for block in GUIDES.into_iter().flat_map(|(_, guide)| blocks(guide)) {
        if let (Some(file), "toml") = (&block.file, &*block.language) {
            let path = place.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &block.text).unwrap();
        }
    }
    let plan = |more: &[&str]| -> Said {
        run(xtask(&[&["plan", "mine"][..], more].concat()).current_dir(place.path()))
    };
    plan(&["--gate"]).ends_with(0);
    let explained = plan(&["--explain", "running/netns/bridge/quiet/noisy"]);
    assert!(explained.ends_with(0).stdout.contains("policy = fifo"), "{explained}");
    let policy = place.path().join("matrices/policy.toml");
    let runs = common::runs::place();
    let words = ["compare", "both", "--policy", policy.to_str().unwrap()];
    run(xtask(&words).current_dir(runs.path())).ends_with(1);
}

/// Where users look for names, all kinds are named.
#[test]
fn every_kind_is_named_where_matrices_are_explained() {
    let kinds = virtualization::ALL.iter().map(|kind| kind.name());
    let kinds = kinds.chain(network::ALL.iter().map(|kind| kind.name()));
    for name in kinds.chain(load::ALL.iter().map(|kind| kind.name())) {
        assert!(README.contains(&format!("`{name}`")), "`{name}` is not in README.md");
        let listed = |line: &str| {
            line.starts_with('#') && line.split([' ', ',', '.', ':']).any(|word| word == name)
        };
        assert!(DEFAULT.lines().any(listed), "`{name}` is not in matrices/default.toml");
    }
}

/// A cluster that has one node and runs a task when it is told of it.
const SBATCH: &str = "#!/bin/sh\nset -eu\nwhile :; do\n  case $1 in\n    --array=*) list=${1#--array=} ;;\n    --*) ;;\n    *) break ;;\n  esac\n  shift\ndone\n\
    for shard in $(echo \"${list%%%*}\" | tr , ' '); do SLURM_ARRAY_TASK_ID=$shard sh \"$@\" >&2; done\necho 7\n";

/// What a block runs with: the program in place of a build of it, whose verdicts are no failures; and no other rights than are there.
const PRELUDE: &str = "set -eu\ncargo() { shift; code=0; evenkeel \"$@\" || code=$?; case $code in 0 | 1 | 3) ;; *) return \"$code\" ;; esac; }\nsudo() { \"$@\"; }\n";

#[test]
#[ignore = "measures for minutes; `cargo xtask test --long` runs it"]
fn real_the_commands_of_the_guides_run_in_their_order() {
    let host = Host::take();
    let place = host.place.path().join("mine");
    let [bin, opt, rights] = ["bin", "opt", "sudoers"].map(|name| host.path(name));
    let own = [&bin, &rights].map(PathBuf::from);
    for folder in own.into_iter().chain([place.join("matrices"), place.join("out")]) {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::os::unix::fs::symlink(XTASK, format!("{bin}/evenkeel")).unwrap();
    std::fs::write(format!("{bin}/sbatch"), SBATCH).unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(format!("{bin}/sbatch"), all).unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let shell = |text: &str| -> Said {
        // A budget is as right when it is short.
        let text = text.replace("BUDGET=30m", "BUDGET=3m");
        let text = text.replace("/opt/evenkeel", &opt).replace("/etc/sudoers.d", &rights);
        let mut command = assert_cmd::Command::new("bash");
        command.args(["-c", &format!("{PRELUDE}{text}")]).current_dir(&place).env("PATH", &path);
        command.env("EVENKEEL_STATE", host.state.path()).env("SLURMD_NODENAME", "n1");
        run(command.timeout(BLOCK))
    };
    let fine = |name: &str, text: &str| {
        let said = shell(text);
        assert_eq!(said.code, Some(0), "{name}:\n{text}\n{said}");
        said
    };
    // A user's repository, with a first commit, and what the pages take as given: runs from before, and the program beside.
    fine(
        "before",
        "git init --quiet --initial-branch main .\ngit config user.name a\ngit config user.email a@example.org\n\
        git remote add origin git@github.example:me/mine.git\nprintf 'out/\\n' > .gitignore\ngit add .\ngit commit --quiet -m first\n\
        git update-ref refs/remotes/origin/main HEAD\ncp \"$(command -v evenkeel)\" evenkeel",
    );
    for (at, (name, widths)) in (0..).zip([("before", STEADY), ("after", WIDE)]) {
        write(&place.join("out").join(name), &[(CANDIDATE, widths)], 1_800_000_000 + at);
    }
    let both = [(BASE, STEADY), (CANDIDATE, WIDE)];
    write(&place.join("out/whole"), &both, 1_800_000_009);
    let network = || {
        let cells = Quick { network: "'veth', 'bridge', 'nat'", boots: 2, ..Quick::default() };
        let cells = Quick { virtualization: "'netns', 'runc'", ..cells };
        let text = std::fs::read_to_string(cells.write(&place)).unwrap();
        std::fs::write(place.join("matrices/network.toml"), text.replace("'quick'", "'network'"))
            .unwrap();
        std::fs::remove_file(place.join("quick.toml")).unwrap();
    };
    for (name, guide) in GUIDES.into_iter().filter(|(name, _)| *name != KINDS) {
        if name == "ci/SECURITY.md" {
            fine(name, "mkdir -p shards && cp -r out/1 out/2 shards/");
        }
        for block in blocks(guide) {
            if let Some(file) = &block.file {
                let path = place.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, &block.text).unwrap();
            } else if block.language == "sh" {
                // Written by `init`, and then shorter, because it is measured often here.
                let inits = block.text.contains("xtask init");
                if inits {
                    std::fs::remove_file(place.join("matrices/network.toml")).ok();
                }
                for out in block
                    .text
                    .split("--out ")
                    .skip(1)
                    .filter_map(|rest| rest.split_whitespace().next())
                {
                    std::fs::remove_dir_all(place.join(out)).ok();
                }
                fine(name, &block.text);
                if inits {
                    fine(name, &block.text);
                    network();
                    fine(
                        name,
                        "git add . && git commit --quiet -m more && git update-ref refs/remotes/origin/main HEAD",
                    );
                }
            }
        }
    }
    for file in [
        "out/mine/report/index.html",
        "history.html",
        "site/index.html",
        "out/slurm-network-whole/run.json",
        ".gitlab-ci.yml",
    ] {
        assert!(place.join(file).exists(), "{file}");
    }
    assert!(Path::new(&opt).join("evenkeel").exists());
    if which("visudo").is_some() {
        fine("sudoers", &format!("visudo --check --strict --file {rights}/evenkeel"));
    }
    host.is_restored();
}

/// The file of a guide's `diff` block, and its text with the changes: each line, or part of one, that goes, with what comes in its place.
fn changed(at: &Path, block: &str) -> (PathBuf, String) {
    let mut lines = block.lines();
    let file = at.join(lines.next().unwrap().strip_prefix("--- ").unwrap());
    let mut text = std::fs::read_to_string(&file).unwrap();
    let mut rest = lines.peekable();
    while let Some(gone) = rest.next() {
        let gone = gone.strip_prefix('-').unwrap();
        let mut come = Vec::new();
        while let Some(line) = rest.next_if(|line| line.starts_with('+')) {
            come.push(&line[1..]);
        }
        assert_eq!(text.matches(gone).count(), 1, "{}: {gone}", file.display());
        text = text.replace(gone, &come.join("\n"));
    }
    (file, text)
}

#[test]
fn changes_of_the_guides_are_of_what_is_there_once() {
    let mut changes = 0;
    for (name, guide) in GUIDES {
        for block in blocks(guide).iter().filter(|block| block.language == "diff") {
            let (file, text) = changed(&root(), &block.text);
            let come = block.text.lines().filter_map(|line| line.strip_prefix('+'));
            for line in come {
                assert_eq!(text.matches(line).count(), 1, "{name}: {}: {line}", file.display());
            }
            changes += 1;
        }
    }
    assert_eq!(changes, 4);
}

#[test]
#[ignore = "builds the project anew; `cargo xtask test --long` runs it"]
fn real_a_kind_is_added_as_its_guide_says() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = folder.path().join("project");
    let copied = format!(
        "cd {} && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do \
         [ ! -e \"$f\" ] || cp --parents \"$f\" {}; done",
        root().display(),
        place.display()
    );
    std::fs::create_dir(&place).unwrap();
    let shell = |text: &str| {
        let mut command = assert_cmd::Command::new("bash");
        command.args(["-euc", text]).current_dir(&place).env("EVENKEEL_STATE", state.path());
        // The copy is built for itself.
        for name in
            ["CARGO_MANIFEST_DIR", "CARGO_TARGET_DIR", "INSTA_UPDATE", "INSTA_WORKSPACE_ROOT"]
        {
            command.env_remove(name);
        }
        let said = run(command.timeout(BLOCK));
        assert_eq!(said.code, Some(0), "{text}\n{said}");
        said
    };
    shell(&copied);
    let (_, guide) = GUIDES.into_iter().find(|(name, _)| *name == KINDS).unwrap();
    // The host is taken for what measures, and not while the project is built.
    let (mut ran, mut host) = (0, None);
    for block in blocks(guide) {
        match (&block.file, &*block.language) {
            (Some(file), _) => std::fs::write(place.join(file), &block.text).unwrap(),
            (None, "diff") => {
                let (file, text) = changed(&place, &block.text);
                std::fs::write(file, text).unwrap();
            }
            // All checks of the project are not run in a check of the project.
            (None, "sh") if !block.text.contains("xtask test") => {
                if block.text.contains("xtask bench") {
                    host = Some(Host::take());
                }
                shell(&block.text);
                ran += 1;
            }
            _ => {}
        }
    }
    assert_eq!(ran, 2);
    let results = std::fs::read_to_string(place.join("out/try/results.json")).unwrap();
    assert!(results.contains("running/netns/bridges/stock/idle"), "{results}");
    shell("cargo fmt --all --check");
    host.unwrap().is_restored();
}

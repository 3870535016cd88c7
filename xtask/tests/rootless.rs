//! Real runs of an ordinary user: what user namespaces allow is measured, the rest is skipped with its remedy, and however a run
//! ends, nothing of the user's is left on the host but files in their home.
//!
//! Each test is a user of its own, with a number that nobody has: whatever carries that number is what the test left.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_agent::{command, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

/// Long: the machine may be busy, and no test may fail because it is slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// One real run at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Every kind, on paths and with profiles that differ in what they need.
const MATRIX: &str = r#"
schema = 1
name = "rootless"
[axes]
kernel = ["running"]
virtualization = ["netns", "runc", "docker", "qemu"]
network = ["veth", "bridge", "nat"]
tuning = ["stock", "isolated"]
[measure]
workloads = ["tcp-rr", "tcp-stream"]
boots = 2
warmup = "20ms"
window = "20ms"
windows = 5
"#;

/// Boots enough that a signal always finds one under way.
const LONG: &str = r#"
schema = 1
name = "long"
[axes]
kernel = ["running"]
virtualization = ["netns"]
network = ["bridge"]
[measure]
workloads = ["tcp-rr"]
boots = 5
warmup = "20ms"
window = "20ms"
windows = 50
"#;

/// An ordinary user with a home and this program in it.
struct User {
    number: u32,
    home: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

/// How a command of the user's ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl User {
    fn new(number: u32) -> User {
        assert!(
            geteuid().is_root() && command::which("setpriv").is_some(),
            "only root can become another user, with setpriv (util-linux): run `cargo xtask test --provision` as root"
        );
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::Builder::new().prefix("ekt-rootless-").tempdir().unwrap();
        let user = User { number, home, _one: one };
        let program = user.at("xtask");
        std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        for (name, text) in [("rootless.toml", MATRIX), ("long.toml", LONG)] {
            std::fs::write(user.at(name), text).unwrap();
        }
        chown(user.home.path(), Some(number), Some(number)).unwrap();
        user
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A command line of this program, run by the user at home.
    fn argv(&self, words: &[&str]) -> Vec<String> {
        let (home, number) = (self.home.path().display().to_string(), self.number);
        let path = std::env::var("PATH").unwrap();
        let mut argv = vec![
            "setpriv".to_owned(),
            format!("--reuid={number}"),
            format!("--regid={number}"),
            "--clear-groups".to_owned(),
            "env".to_owned(),
            "--ignore-environment".to_owned(),
            format!("--chdir={home}"),
            format!("HOME={home}"),
            format!("PATH={path}"),
            format!("{home}/xtask"),
        ];
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv
    }

    fn xtask(&self, words: &[&str]) -> Ended {
        let ended = command::run(&self.argv(words), PATIENCE).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended =
            Ended { code: ended.code, stdout: text(&ended.stdout), stderr: text(&ended.stderr) };
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended
    }

    /// Starts a long run into `out`, and answers once its first boot measures.
    fn measuring(&self) -> Child {
        let said = self.at("said");
        let file = std::fs::File::create(&said).unwrap();
        let argv = self.argv(&["bench", "long.toml", "--out", "out", "--verbose"]);
        let mut child = command::start(None, &argv, file).unwrap();
        wait::until("a boot that measures", PATIENCE, || {
            let text = std::fs::read_to_string(&said)?;
            let ended = child.try_wait()?;
            anyhow::ensure!(ended.is_none(), "the run ended with {ended:?}: {text}");
            Ok(text.contains("measure").then_some(()))
        })
        .unwrap();
        child
    }

    /// Processes that carry the user's number, those that are dead but not waited for included.
    fn processes(&self) -> Vec<Pid> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let ours = all.filter(|entry| entry.metadata().is_ok_and(|its| its.uid() == self.number));
        ours.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
            .collect()
    }

    /// Nothing of the user's is left but files at home. Processes of a killed run are given time to end.
    fn left_nothing(&self) {
        let gone = || Ok(self.processes().is_empty().then_some(()));
        wait::until("the user's processes to end", PATIENCE, gone).unwrap();
        for place in ["/run", "/tmp", "/var/tmp", "/dev/shm", "/var/lib", "/var/cache"] {
            // Deeper down are folders of others, which a user cannot write to.
            let walk = walkdir::WalkDir::new(place).max_depth(2).into_iter();
            let elsewhere = walk.filter_entry(|entry| entry.path() != self.home.path());
            // What goes while we look is not the user's.
            for entry in elsewhere.flatten() {
                let owner = entry.metadata().map_or(0, |its| its.uid());
                assert_ne!(owner, self.number, "{} was left", entry.path().display());
            }
        }
    }

    /// Outcome and reason by cell, as the results of a run tell.
    fn outcomes(&self, run: &str) -> BTreeMap<String, (String, String)> {
        let text = std::fs::read(self.at(run).join("results.json")).unwrap();
        let results: Value = serde_json::from_slice(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let cells = results["cells"].as_array().unwrap();
        cells
            .iter()
            .map(|cell| (text(&cell["id"]), (text(&cell["outcome"]), text(&cell["reason"]))))
            .collect()
    }
}

/// Names of this host's links, and of what lies where `ip netns` and our runs keep things.
fn inventory() -> Vec<String> {
    let mut all: Vec<String> = ["/sys/class/net", "/run/netns", "/run/evenkeel"]
        .iter()
        .flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten())
        .map(|entry| entry.path().display().to_string())
        .collect();
    all.sort();
    all
}

#[test]
fn what_namespaces_allow_is_measured_and_the_rest_is_skipped_with_its_remedy() {
    let user = User::new(61_201);
    let before = inventory();
    let ended = user.xtask(&["bench", "rootless.toml", "--out", "out"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcomes = user.outcomes("out");
    assert_eq!(outcomes.len(), 24);
    for (cell, (outcome, reason)) in &outcomes {
        let expected = match cell.split('/').collect::<Vec<_>>()[..] {
            [_, "netns", _, "stock", _] => ("measured", ""),
            [_, "netns", _, "isolated", _] => ("skipped", "knob `policy`: SCHED_FIFO is refused"),
            // A path that the virtualization cannot take is no matter of root.
            _ if outcome == "not-applicable" => ("not-applicable", "takes"),
            _ => ("skipped", "needs root"),
        };
        assert_eq!(outcome, expected.0, "{cell}: {reason}");
        assert!(reason.contains(expected.1), "{cell}: {reason}");
    }
    let measured = outcomes.values().filter(|(outcome, _)| outcome == "measured");
    assert_eq!(measured.count(), 3);
    let summary = std::fs::read_to_string(user.at("out/summary.md")).unwrap();
    std::fs::remove_file(user.at("out/summary.md")).unwrap();
    assert_eq!(user.xtask(&["report", "out"]).code, Some(0));
    assert_eq!(std::fs::read_to_string(user.at("out/summary.md")).unwrap(), summary);
    user.left_nothing();
    let ours = |inventory: &[String]| -> Vec<String> {
        inventory.iter().filter(|name| name.contains("/ek")).cloned().collect()
    };
    assert_eq!(ours(&inventory()), ours(&before));
}

#[test]
fn a_user_can_ask_what_would_be_measured() {
    let user = User::new(61_202);
    let doctor = user.xtask(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{}", doctor.stderr);
    assert!(doctor.stdout.contains("-> run as root, for instance with sudo"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("in user namespaces"), "{}", doctor.stdout);
    let plan = user.xtask(&["plan", "rootless.toml"]);
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    assert!(plan.stdout.contains("remedy: run as root"), "{}", plan.stdout);
    let explain = |cell: &str| {
        let said = user.xtask(&["plan", "rootless.toml", "--explain", cell]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        said.stdout
    };
    let ours = explain("running/netns/bridge/stock/idle");
    assert!(!ours.contains("skipped") && !ours.contains("cgroup"), "{ours}");
    // What only root can make is shown as root would make it.
    let roots = explain("running/docker/bridge/stock/idle");
    assert!(roots.contains("skipped here: needs root") && roots.contains("make cgroup"), "{roots}");
    user.left_nothing();
}

#[test]
fn an_interrupted_run_ends_with_130_and_can_go_on() {
    let user = User::new(61_203);
    let mut run = user.measuring();
    kill(Pid::from_raw(i32::try_from(run.id()).unwrap()), Signal::SIGINT).unwrap();
    let status = wait::until("the run to end", PATIENCE, || Ok(run.try_wait()?)).unwrap();
    assert_eq!(status.code(), Some(130), "{}", std::fs::read_to_string(user.at("said")).unwrap());
    user.left_nothing();
    let resumed = user.xtask(&["bench", "--resume", "out"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert_eq!(user.outcomes("out")["running/netns/bridge/stock/idle"].0, "measured");
    user.left_nothing();
}

#[test]
fn after_a_kill_the_namespaces_are_gone_and_restore_finds_nothing_to_do() {
    let user = User::new(61_204);
    for with_everything in [false, true] {
        let mut run = user.measuring();
        run.kill().unwrap();
        if with_everything {
            for process in user.processes() {
                // One that ended with another is not there any more.
                kill(process, Signal::SIGKILL).ok();
            }
        }
        run.wait().unwrap();
        user.left_nothing();
        let refused = user.xtask(&["bench", "long.toml", "--out", "another"]);
        assert_eq!(refused.code, Some(4));
        assert!(refused.stderr.contains("cargo xtask restore"), "{}", refused.stderr);
        for _ in 0..2 {
            let restored = user.xtask(&["restore"]);
            assert_eq!(restored.code, Some(0), "{}", restored.stderr);
        }
        assert_eq!(user.xtask(&["bench", "--resume", "out"]).code, Some(0));
        assert!(!user.at(".local/state/evenkeel/run").exists());
        user.left_nothing();
        std::fs::remove_dir_all(user.at("out")).unwrap();
    }
}

#[test]
fn a_host_without_user_namespaces_says_so_with_both_remedies() {
    let user = User::new(61_205);
    // In a namespace that may make no others, as a host would by sysctl. Capabilities are needed to say so, and lost by starting `xtask`.
    let limit = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" doctor";
    let inside = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", limit];
    let mut argv = user.argv(&[]);
    let program = argv.pop().unwrap();
    argv.extend(inside.iter().map(|word| (*word).to_owned()).chain([program]));
    let ended = command::run(&argv, PATIENCE).unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.code, Some(0), "{}", ended.last_words());
    assert!(
        said.contains("needs root, or user namespaces: user.max_user_namespaces is 0"),
        "{said}"
    );
    assert!(said.contains("run as root, for instance with sudo; or sysctl"), "{said}");
    user.left_nothing();
}

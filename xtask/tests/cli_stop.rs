//! Runs that are stopped, killed, or met by another: exit codes, and the host as it was. Real runs: they need root.

use std::os::unix::fs::MetadataExt as _;

use nix::sys::signal::Signal;

mod common;
use common::{Host, Quick, XTASK, open_to_all, run, xtask};

/// Far more boots than any of these tests waits for.
const MANY: Quick<'static> = Quick {
    kernel: "'running'",
    virtualization: "'netns'",
    network: "'veth'",
    workloads: "'tcp-rr'",
    boots: 500,
    more: "",
};

#[test]
fn real_a_run_that_is_stopped_restores_the_host_and_can_be_resumed() {
    let host = Host::take();
    let matrix = MANY.write(host.place.path());
    let matrix = matrix.to_str().unwrap();
    for (signal, heard) in [(Signal::SIGINT, "[2/500]"), (Signal::SIGTERM, "500 boots of 1")] {
        let out = host.path(signal.as_str());
        let mut running = host.start(&["bench", matrix, "--out", &out]);
        running.hear(heard);
        running.signal(signal);
        let said = running.end();
        assert_eq!(said.ends_with(130).stdout, "");
        said.says(&["interrupted: the host is as it was; `cargo xtask bench --resume "]);
        host.is_restored();
    }
    // What was measured before stays, and the run goes on behind it.
    let out = host.path("SIGINT");
    let before = std::fs::read_to_string(format!("{out}/boots.jsonl")).unwrap();
    assert!(before.lines().count() >= 2, "{before}");
    let mut running = host.start(&["bench", "--resume", &out]);
    running.hear(&format!("{} boots left of 500", 500 - before.lines().count()));
    running.hear("[1/");
    running.signal(Signal::SIGINT);
    running.end().ends_with(130);
    let after = std::fs::read_to_string(format!("{out}/boots.jsonl")).unwrap();
    assert!(after.starts_with(&before) && after.len() > before.len());
    host.is_restored();
}

#[test]
fn real_a_second_run_is_refused_with_the_first_ones_process_id() {
    let host = Host::take();
    let matrix = MANY.write(host.place.path());
    let matrix = matrix.to_str().unwrap();
    let mut first = host.start(&["bench", matrix, "--out", &host.path("first")]);
    first.hear("500 boots of 1");
    let holder = format!("process {} holds", first.pid());
    let second = run(&mut host.xtask(&["bench", matrix, "--out", &host.path("second")]));
    second.ends_with(4).says(&["another run is under way on this host", &holder]);
    assert!(!host.place.path().join("second").exists());
    run(&mut host.xtask(&["restore"])).ends_with(4).says(&["another run is under way", &holder]);
    first.signal(Signal::SIGINT);
    first.end().ends_with(130);
    host.is_restored();
}

#[test]
fn real_a_run_that_a_cancelled_job_left_is_asked_to_end_and_no_other() {
    let host = Host::take();
    let matrix = MANY.write(host.place.path());
    let words = ["bench", matrix.to_str().unwrap(), "--out", &host.path("orphan")];
    let mut orphan = host.start_with(XTASK, &words, &[("RUNNER_NAME", "bench-1")]);
    orphan.hear("[1/500]");
    let restore = |of: &str| run(&mut host.xtask(&["restore", "--end-holder", of]));
    let holder = format!("process {}", orphan.pid());
    restore("RUNNER_NAME=bench-2").ends_with(4).says(&[&holder, "it is left alone"]);
    restore("RUNNER_NAME").is_refused_with(&["NAME=VALUE"]);
    orphan.hear("[2/500]");
    restore("RUNNER_NAME=bench-1").ends_with(0).says(&[&holder, "was asked to end"]);
    orphan.end().ends_with(130);
    host.is_restored();
    restore("RUNNER_NAME=bench-1").ends_with(0);
}

#[test]
fn real_a_killed_run_leaves_a_host_that_is_refused_until_it_is_restored() {
    let host = Host::take();
    let matrix = MANY.write(host.place.path());
    let mut running =
        host.start(&["bench", matrix.to_str().unwrap(), "--out", &host.path("killed")]);
    running.hear("[1/500]");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, None);
    let refused = run(&mut host.bench(&Quick::default()));
    refused.ends_with(4).says(&["still carries changes of run ek", "cargo xtask restore"]);
    let restored = run(&mut host.xtask(&["restore"]));
    assert!(restored.ends_with(0).stdout.contains("states restored"), "{restored}");
    host.is_restored();
    run(&mut host.bench(&Quick::default())).ends_with(0);
    host.is_restored();
}

/// `bench 2>&1 | head`: the terminal is gone, the host must not stay as it is.
#[test]
fn real_a_run_whose_listener_goes_away_still_ends_well() {
    let host = Host::take();
    let matrix = Quick { boots: 3, ..Quick::default() }.write(host.place.path());
    let mut running = host.start(&["bench", matrix.to_str().unwrap(), "--out", &host.path("run")]);
    running.hear("3 boots of 1");
    running.close_pipes();
    assert_eq!(running.end().code, Some(0));
    assert!(host.place.path().join("run/report/index.html").exists());
    host.is_restored();
}

/// A runner's user must be able to ship what was measured, and to remove it, also where the job was killed.
#[test]
fn real_a_killed_run_under_sudo_belongs_to_who_asked_for_it() {
    let host = Host::take();
    open_to_all(host.place.path());
    let matrix = Quick { boots: 500, ..Quick::default() }.write(host.place.path());
    let home = host.path("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let out = format!("{home}/out/theirs");
    let nobody = [("SUDO_UID", "65534"), ("SUDO_GID", "65534")];
    let words = ["bench", matrix.to_str().unwrap(), "--out", &out];
    let mut running = host.start_with(XTASK, &words, &nobody);
    running.hear("[1/500]");
    running.signal(Signal::SIGKILL);
    running.end();
    let owner = |path: &str| std::fs::symlink_metadata(path).map(|found| found.uid()).unwrap();
    let all = ["..", ".", "run.json", "boots.jsonl"].map(|name| format!("{out}/{name}"));
    assert_eq!(all.map(|path| owner(&path)), [65534; 4]);
    run(&mut host.xtask(&["restore"])).ends_with(0);
    host.is_restored();
    // Also what root reports of it later, without sudo: theirs, and by no link of theirs.
    run(&mut xtask(&["report", &out])).ends_with(0);
    let page = format!("{out}/report/index.html");
    assert_eq!(owner(&page), 65534);
    let page_of_root = host.path("page");
    std::fs::write(&page_of_root, "root's\n").unwrap();
    std::fs::remove_file(&page).unwrap();
    std::os::unix::fs::symlink(&page_of_root, &page).unwrap();
    run(&mut xtask(&["report", &out])).ends_with(4).says(&["index.html", "denied"]);
    assert_eq!(std::fs::read_to_string(&page_of_root).unwrap(), "root's\n");
    // They put a link where the run writes next: it leads nowhere that they could not go alone.
    let boots = format!("{out}/boots.jsonl");
    let secret = host.path("secret");
    std::fs::write(&secret, "root's\n").unwrap();
    std::fs::rename(&boots, format!("{out}/kept")).unwrap();
    std::os::unix::fs::symlink(&secret, &boots).unwrap();
    let mut resume = host.xtask(&["bench", "--resume", &out]);
    run(resume.envs(nobody)).ends_with(4).says(&["boots.jsonl", "denied"]);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "root's\n");
    host.is_restored();
}

//! What a run leaves, and what is said where that is damaged or cannot be written. Real runs: they need root.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount, umount};

mod common;
use common::{Host, Quick, as_nobody, open_to_all, run, xtask};

/// A file system of its own on a folder, as small as asked for.
struct Small(PathBuf);

impl Small {
    fn mounted(path: String, bytes: u64) -> Small {
        std::fs::create_dir_all(&path).unwrap();
        let options = format!("size={bytes}");
        mount(Some("ekt"), path.as_str(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("a tmpfs can be mounted");
        Small(PathBuf::from(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = umount(&self.0) {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}

/// Every file of a report, by its path.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = ["results.json", "report/index.html", "summary.md", "junit.xml"];
    let read =
        |name: &str| std::fs::read(directory.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    names.into_iter().map(|name| (name.to_owned(), read(name))).collect()
}

#[test]
fn real_a_report_from_records_alone_is_the_runs_own_and_damage_is_told() {
    let host = Host::take();
    let matrix = Quick { network: "'veth', 'bridge'", boots: 2, ..Quick::default() };
    let said = run(&mut host.bench(&matrix));
    // Results go to standard output, everything else to standard error.
    let page = format!("{}/report/index.html\n", host.path("run"));
    assert_eq!(said.ends_with(0).stdout, page);
    said.says(&["4 boots of 2 of 2 cells", "[4/4] running/netns/"]);
    host.is_restored();
    let directory = host.place.path().join("run");
    let own = files(&directory);

    // Written again by somebody else, elsewhere.
    open_to_all(host.place.path());
    let there = host.place.path().join("home/again");
    let (from, to) = (directory.to_str().unwrap(), there.to_str().unwrap());
    let again = run(&mut as_nobody(host.place.path(), &["report", from, "--out", to]));
    assert_eq!(again.ends_with(0).stdout, format!("{to}/report/index.html\n"));
    assert!(files(&there) == own, "another report from the same records");
    assert_eq!(
        run(&mut as_nobody(host.place.path(), &["--quiet", "report", from, "--out", to]))
            .ends_with(0)
            .stderr,
        ""
    );

    // Where it may not write, the reason and the place are told.
    run(&mut as_nobody(host.place.path(), &["report", from]))
        .ends_with(4)
        .says(&[from, "Permission denied"]);

    // Damaged in every way: what is intact is used, what is lost is told twice.
    let boots = directory.join("boots.jsonl");
    let text = std::fs::read_to_string(&boots).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [first, second, third, fourth] = lines[..] else { panic!("4 records: {text}") };
    let cut = &fourth[..fourth.len() / 2];
    let wrong = second.replacen("\"block\":", "\"blork\":", 1);
    std::fs::write(
        &boots,
        [
            first.as_bytes(),
            b"\n",
            wrong.as_bytes(),
            b"\n\xff\xfe rubbish\n\n",
            third.as_bytes(),
            b"\n",
            cut.as_bytes(),
        ]
        .concat(),
    )
    .unwrap();
    let damaged = run(&mut xtask(&["report", from]));
    let told = [
        "line 2 is left out: not a record: missing field `block`",
        "line 3 is left out",
        "line 6 is cut off: the boot that was being written is lost",
    ];
    damaged.ends_with(0).says(&told);
    let page = String::from_utf8(files(&directory)["report/index.html"].clone()).unwrap();
    for words in ["line 2 is left out", "line 3 is left out", "line 6 is cut off"] {
        assert!(page.contains(words), "the report does not say: {words}");
    }
    let results: serde_json::Value =
        serde_json::from_slice(&files(&directory)["results.json"]).unwrap();
    let counted: u64 = results["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|cell| cell["workloads"][0]["boots"].as_u64())
        .sum();
    assert_eq!(counted, 2, "{results}");

    // Nothing left at all is a report too, of a run in which nothing was measured; another version of a record is not guessed at.
    std::fs::remove_file(&boots).unwrap();
    run(&mut xtask(&["report", from])).ends_with(4).says(&["boots.jsonl` is missing"]);
    std::fs::write(&boots, first.replacen("{\"schema\":1", "{\"schema\":9", 1)).unwrap();
    run(&mut xtask(&["report", from])).is_refused_with(&["boots.jsonl` line 1 has schema 9"]);
}

#[test]
fn real_a_full_disk_keeps_the_boots_that_ended_and_restores_the_host() {
    let host = Host::take();
    let small = Small::mounted(host.path("run"), 48 << 10);
    let said = run(&mut host.bench(&Quick { boots: 100, ..Quick::default() }));
    said.ends_with(4).says(&["[1/100]", "No space left on device", "boots.jsonl"]);
    assert_eq!(said.stdout, "");
    let boots = std::fs::read_to_string(small.0.join("boots.jsonl")).unwrap();
    assert!(boots.ends_with('\n') && !boots.trim().is_empty(), "{boots}");
    for line in boots.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let elsewhere = host.path("elsewhere");
    let report = run(&mut xtask(&["report", small.0.to_str().unwrap(), "--out", &elsewhere]));
    assert!(!report.ends_with(0).stderr.contains("lost"), "{report}");
    drop(small);
    host.is_restored();
}

#[test]
fn real_a_journal_without_space_changes_nothing() {
    // Room for no journal; for the run's, but not for the boot's.
    for (bytes, journal) in [(512 << 10, "journal/run"), (1536 << 10, "journal/boot")] {
        let host = Host::take();
        let small = Small::mounted(host.path("state"), bytes);
        let said = run(host.bench(&Quick::default()).env("EVENKEEL_STATE", &small.0));
        said.ends_with(4).says(&[
            "failed to reserve 1048576 bytes",
            journal,
            "No space left on device",
        ]);
        drop(small);
        host.is_restored();
    }
}

#[test]
fn real_a_run_of_cells_that_cannot_be_measured_fails_and_says_why() {
    let host = Host::take();
    let more = "[kernel.other]\ndeb = 'linux-image-rt-amd64'\nrunner = ['rt']\n";
    let said = run(&mut host.bench(&Quick { kernel: "'other'", more, ..Quick::default() }));
    said.ends_with(4).says(&["0 boots of 0 of 1 cells"]);
    let summary = std::fs::read_to_string(host.path("run/summary.md")).unwrap();
    assert!(summary.contains("netns runs under the host's kernel"), "{summary}");
    assert!(summary.contains("runner with the labels rt"), "{summary}");
    host.is_restored();
}

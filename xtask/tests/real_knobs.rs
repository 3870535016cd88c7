//! Every knob that ships, on the real thing: turned in boots of the tool itself, read back, and undone. Knobs that somebody turns back are not
//! effective, what the kernel refuses is told, and the rest goes on. Needs root; those of containers and guests need Docker, runc and QEMU.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_agent::machine::value_of;
use evenkeel_agent::state::StateDir;
use evenkeel_agent::{command, wait};
use tempfile::TempDir;
use xtask::axis::tuning::{self, Found};
use xtask::check::inventory::{Inventory, SETTLES};
use xtask::record::{Effect, Evidence, Outcome, Record, Status, store};

/// Long: the machine may be busy, and no test may fail because it is slow.
const PATIENCE: Duration = Duration::from_secs(600);
const PROGRAM: &str = env!("CARGO_BIN_EXE_xtask");

/// One real run at a time: there is one host.
fn alone() -> MutexGuard<'static, ()> {
    static HOST: Mutex<()> = Mutex::new(());
    HOST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A working directory with profiles of the test's own.
struct Place(TempDir);

impl Place {
    fn new(profiles: &[(&str, &str)]) -> Place {
        let place = tempfile::Builder::new().prefix("ekt").tempdir().unwrap();
        let folder = place.path().join("matrices/tuning");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, knobs) in profiles {
            let text = format!("schema = 1\nabout = \"of a test\"\n[knobs]\n{knobs}\n");
            std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
        }
        Place(place)
    }

    /// Writes a matrix over these virtualizations and profiles, and answers its file and where its run goes.
    fn matrix(&self, virtualization: &[&str], tuning: &[&str], windows: u32) -> (PathBuf, PathBuf) {
        let network = "bridge";
        let text = format!(
            "schema = 1\nname = \"knobs\"\n[axes]\nkernel = [\"running\"]\nvirtualization = {virtualization:?}\nnetwork = [\"{network}\"]\ntuning = {tuning:?}\n\
             [measure]\nworkloads = [\"tcp-rr\"]\nboots = 1\nwarmup = \"10ms\"\nwindow = \"20ms\"\nwindows = {windows}\n"
        );
        let file = self.0.path().join("knobs.toml");
        std::fs::write(&file, text).unwrap();
        (file, self.0.path().join("out"))
    }

    /// Measures a matrix here, once no other run is under way on this host.
    fn bench(&self, virtualization: &[&str], tuning: &[&str]) -> BTreeMap<String, Record> {
        let (matrix, out) = self.matrix(virtualization, tuning, 5);
        let said = loop {
            drop(StateDir::of_user().unwrap().lock(PATIENCE).unwrap());
            let ended = assert_cmd::Command::new(PROGRAM)
                .args(["bench".as_ref(), matrix.as_os_str(), "--out".as_ref(), out.as_os_str()])
                .current_dir(self.0.path())
                .timeout(PATIENCE)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            if !said.contains("another run is under way") {
                break said;
            }
        };
        let (run, records, _) = store::read(&out).unwrap_or_else(|e| panic!("{e:#}: {said}"));
        for cell in &run.cells {
            if let Status::Skipped { reason, remedy } = &cell.status {
                panic!("{} was skipped: {reason}; {remedy}", cell.cell.id());
            }
        }
        records.into_iter().map(|record| (record.cell.clone(), record)).collect()
    }
}

/// Evidence of the knobs of a boot: name, effect, and what was read at first.
fn knobs(record: &Record) -> BTreeMap<&str, (&Effect, &str)> {
    assert_eq!(record.outcome, Outcome::Measured, "{}", record.cell);
    let mut found = BTreeMap::new();
    for evidence in &record.evidence {
        if let Evidence::Knob { knob, effect, seen, .. } = evidence {
            found.insert(knob.as_str(), (effect, seen[0].as_str()));
        }
    }
    found
}

/// A value of every row that differs from what this host has: (knob, value).
fn other_values() -> Vec<(&'static str, String)> {
    let found = Found::look();
    let mut all = Vec::new();
    for row in tuning::rows() {
        let paths = found.paths(row.paths);
        assert!(!paths.is_empty(), "no row ships that no test can turn: {}", row.name);
        let before = value_of(&paths[0]).unwrap();
        let tried = ["never", "madvise", "off", "on", "17", "23", "0", "1"];
        let fits = |want: &&&str| row.written(want, None).is_ok_and(|written| written != before);
        let of_cpus = matches!(row.values, tuning::Values::CpuList | tuning::Values::CpuMask);
        let value = match of_cpus {
            true => "housekeeping",
            false => tried.iter().find(fits).unwrap(),
        };
        all.push((row.name, value.to_owned()));
    }
    all
}

#[test]
fn every_row_is_applied_read_back_and_undone() {
    let _alone = alone();
    let values = other_values();
    let text: Vec<String> =
        values.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
    let place = Place::new(&[("rows", &text.join("\n"))]);
    let found = Found::look();
    let read = || -> BTreeMap<String, Option<String>> {
        found.all().map(|path| (path.to_owned(), value_of(path).ok())).collect()
    };
    let (inventory, before) = (Inventory::take().unwrap(), read());
    let records = place.bench(&["netns"], &["rows"]);
    assert_eq!(read(), before);
    assert_eq!(inventory.differs(SETTLES).unwrap(), Vec::<String>::new());
    let record = records.values().next().unwrap();
    let seen = knobs(record);
    assert_eq!(seen.len(), values.len());
    for (name, (effect, read)) in seen {
        match effect {
            Effect::Effective => {}
            // Some interrupts cannot be moved: which, is told.
            Effect::Partial { reason } if name == "irq-cpus" => {
                assert!(
                    reason.contains("/proc/irq/") && reason.contains("failed to write"),
                    "{reason}"
                );
            }
            other => panic!("{name}: {other:?}, read `{read}`"),
        }
    }
}

#[test]
fn knobs_of_links_and_of_idle_cpus_are_read_back() {
    let _alone = alone();
    let place = Place::new(&[("links", "rps-cpus = \"housekeeping\"\ncpu-dma-latency = \"7\"")]);
    let before = Inventory::take().unwrap();
    let records = place.bench(&["netns", "docker", "qemu"], &["links"]);
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
    assert_eq!(records.len(), 3);
    for record in records.values() {
        let seen = knobs(record);
        assert_eq!(seen["cpu-dma-latency"], (&Effect::Effective, "7"), "{}", record.cell);
        assert_eq!(seen["rps-cpus"].0, &Effect::Effective, "{}: {seen:?}", record.cell);
    }
    let latency = std::fs::read("/dev/cpu_dma_latency").unwrap();
    assert_ne!(i32::from_ne_bytes(latency.try_into().unwrap()), 7);
}

#[test]
fn knobs_of_memory_and_of_command_lines_are_proven_in_every_virtualization() {
    let _alone = alone();
    let before = Inventory::take().unwrap();
    let place = Place::new(&[]);
    let records = place
        .bench(&["netns", "runc", "docker", "qemu"], &["thesis-rt", "thesis-rt-fifo", "realtime"]);
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
    assert_eq!(records.len(), 12);
    for (cell, record) in &records {
        let seen = knobs(record);
        let words: Vec<&str> = cell.split('/').collect();
        let is = |system: &[&str]| system.contains(&words[1]);
        let proven = |knob: &str, by: &[&str]| match seen[knob].0 {
            Effect::Effective => assert!(is(by), "{cell}: {knob}"),
            Effect::Inapplicable { reason } => assert!(!is(by), "{cell}: {knob}: {reason}"),
            other => panic!("{cell}: {knob}: {other:?}"),
        };
        proven("memory-lock", &["qemu"]);
        proven("guest-hugepages", &["qemu"]);
        proven("guest-prealloc", &["qemu"]);
        proven("guest-cmdline", &["qemu"]);
        assert_eq!(seen["hugepages"].0, &Effect::Effective, "{cell}");
        if words[3] != "realtime" {
            proven("cpuset-mems", &["docker"]);
        }
        // No host of a test is started like that; what is missing is told.
        let Effect::NotEffective { reason } = seen["host-cmdline"].0 else { panic!("{seen:?}") };
        assert!(reason.contains("`isolcpus=") && reason.contains("was `missing`"), "{reason}");
    }
}

#[test]
fn a_guest_of_two_cpus_isolates_one_and_serves_on_it() {
    let _alone = alone();
    let before = Inventory::take().unwrap();
    let none = "guest-cpus = \"2\"\nguest-cmdline = \"isolcpus=nohz,1 nohz_ful=1\"";
    let place = Place::new(&[
        ("untold", none),
        ("words", "guest-cmdline = \"idle=poll mitigations=off nmi_watchdog=0\""),
        ("beyond", "guest-cpus = \"2\"\nguest-cmdline = \"isolcpus=2\""),
        ("spins", "placement = \"vcpu=1\"\nguest-cpus = \"2\"\npolicy = \"vcpu=fifo:44\""),
    ]);
    let tunings = ["isolated-guest", "words", "untold", "beyond", "spins"];
    let records = place.bench(&["netns", "qemu"], &tunings);
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
    let of =
        |system: &str, tuning: &str| &records[&format!("running/{system}/bridge/{tuning}/idle")];
    let seen = knobs(of("qemu", "isolated-guest"));
    assert_eq!(seen["guest-cpus"], (&Effect::Effective, "0-1"), "{seen:?}");
    let (effect, read) = seen["guest-cmdline"];
    assert_eq!(*effect, Effect::Effective, "{seen:?}");
    // Each word, and then what the kernel made of those with lists: isolated, serving, without ticks, without callbacks, new interrupts.
    assert!(read.ends_with("there; 1; 1; 1; 1; 0"), "{read}");
    for knob in ["guest-cpus", "guest-cmdline"] {
        let (effect, _) = knobs(of("netns", "isolated-guest"))[knob];
        assert!(matches!(effect, Effect::Inapplicable { .. }), "{knob}: {effect:?}");
    }
    assert_eq!(
        knobs(of("qemu", "words"))["guest-cmdline"],
        (&Effect::Effective, "there; there; there")
    );
    // A word that the kernel does not know is on its command line, and does nothing.
    let (effect, read) = knobs(of("qemu", "untold"))["guest-cmdline"];
    assert_eq!(read, "there; unknown to this kernel");
    let Effect::NotEffective { reason } = effect else { panic!("{effect:?}") };
    assert!(reason.contains("`nohz_ful=1` of the guest's command line was `unknown"), "{reason}");
    let failed = |tuning: &str| match &of("qemu", tuning).outcome {
        Outcome::Failed { reason } => reason.clone(),
        Outcome::Measured => panic!("{tuning} was measured"),
    };
    assert!(failed("beyond").contains("`isolcpus` of a guest of 2 CPUs: there is no CPU 2"));
    assert!(failed("spins").contains("2 virtual CPUs (fifo:44) would share CPU 1"));
}

#[test]
fn placement_and_policy_are_given_by_role() {
    let _alone = alone();
    let before = Inventory::take().unwrap();
    let cpus = "placement = \"vcpu=1 emulator=0 server=1\"\n";
    let place = Place::new(&[
        ("roles", &format!("{cpus}policy = \"vcpu=fifo:44 emulator=batch server=rr:45\"")),
        ("alone", "policy = \"fifo\""),
        ("absent", "placement = \"server=99 vcpu=99\""),
        ("hang", "placement = \"server=0-1 vcpu=0-1\"\npolicy = \"fifo\""),
    ]);
    let records = place.bench(&["netns", "qemu"], &["roles", "alone", "absent", "hang"]);
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
    let of =
        |system: &str, tuning: &str| &records[&format!("running/{system}/bridge/{tuning}/idle")];
    assert_eq!(knobs(of("qemu", "roles"))["placement"].1, "1; 0");
    assert_eq!(knobs(of("qemu", "roles"))["policy"], (&Effect::Effective, "fifo:44; batch"));
    assert_eq!(knobs(of("netns", "roles"))["policy"], (&Effect::Effective, "rr:45"));
    // Realtime threads that nobody placed are kept off one CPU.
    let (effect, read) = knobs(of("netns", "alone"))["policy"];
    assert!(*effect == Effect::Effective && !read.starts_with("0"), "{read}");
    let failed = |tuning: &str| match &of("netns", tuning).outcome {
        Outcome::Failed { reason } => reason.clone(),
        Outcome::Measured => panic!("{tuning} was measured"),
    };
    let reason = failed("absent");
    let said = "knob `placement` = `server=99 vcpu=99` of profile `absent`: `server=99`: there is no CPU 99: the CPUs are 0";
    assert!(reason.starts_with(said), "{reason}");
    assert!(failed("hang").contains("realtime threads would have every CPU"), "{}", failed("hang"));
}

#[test]
fn a_row_that_is_turned_back_during_a_boot_is_not_effective_and_the_rest_is() {
    const STAT: &str = "/proc/sys/vm/stat_interval";
    let _alone = alone();
    let place = Place::new(&[("turned", "vm-stat-interval = \"17\"\nswappiness = \"23\"")]);
    let (matrix, out) = place.matrix(&["netns"], &["turned"], 200);
    let before = Inventory::take().unwrap();
    let interval = std::fs::read_to_string(STAT).unwrap();
    drop(StateDir::of_user().unwrap().lock(PATIENCE).unwrap());
    let words = place.0.path().join("words");
    let script = format!(
        "cd {} && exec {PROGRAM} bench {} --out {}",
        place.0.path().display(),
        matrix.display(),
        out.display()
    );
    let mut bench =
        command::start(None, &["sh", "-c", &script], std::fs::File::create(&words).unwrap())
            .unwrap();
    // Packets flow once everything has been read for the first time.
    wait::until("packets", PATIENCE, || {
        if let Some(status) = bench.try_wait()? {
            anyhow::bail!("the run ended early: {status}: {}", std::fs::read_to_string(&words)?);
        }
        let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let sut = names.find(|name| name.starts_with("ek") && name.ends_with("-sut"));
        let flows = |netns: &String| {
            let counters = evenkeel_agent::machine::links::counters(netns, "eth0");
            counters.is_ok_and(|counters| counters.rx_packets > 1000)
        };
        Ok(sut.filter(flows).map(|_| ()))
    })
    .unwrap();
    std::fs::write(STAT, &interval).unwrap();
    let ended = command::ended_within(&mut bench, PATIENCE).unwrap();
    assert!(ended.unwrap().success(), "{}", std::fs::read_to_string(&words).unwrap());
    let (_, records, _) = store::read(&out).unwrap();
    let seen = knobs(&records[0]);
    let Effect::NotEffective { reason } = seen["vm-stat-interval"].0 else { panic!("{seen:?}") };
    assert_eq!(
        *reason,
        format!("after the last window {STAT} was `{}`, not `17`", interval.trim())
    );
    assert_eq!(seen["swappiness"].0, &Effect::Effective);
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
}

#[test]
fn profiles_that_are_wrong_skip_their_cells_with_the_reason() {
    let place = Place::new(&[
        ("typo", "placment = \"auto\""),
        ("unsupported", "governor = \"performance\""),
        ("value", "thp = \"nevr\""),
        ("lists", "host-cmdline = \"isolcpus=1 nohz_full=0\""),
    ]);
    let (matrix, _) = place.matrix(&["netns"], &["typo", "unsupported", "value", "lists"], 5);
    let planned = assert_cmd::Command::new(PROGRAM)
        .args(["plan".as_ref(), matrix.as_os_str(), "--format".as_ref(), "json".as_ref()])
        .current_dir(place.0.path())
        .timeout(PATIENCE)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    for reason in [
        "there is no knob `placment`: did you mean `placement`?",
        "knob `governor` is not supported: no host of the tests shows cpufreq",
        "knob `thp`: `nevr` is none of `always`, `madvise`, `never`: did you mean `never`?",
        "knob `host-cmdline`: `isolcpus=1` and `nohz_full=0` do not agree",
    ] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

//! Faults in real boots: one at each effect of a cell of every virtualization, knobs that somebody turns back, and packets that take another
//! path. Needs root, the Docker engine, Podman, runc, systemd-nspawn, Open vSwitch and QEMU; `cargo xtask test --provision` installs them.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use evenkeel_agent::command::{self, Watch};
use evenkeel_agent::interpret::{self, Slots};
use evenkeel_agent::journal::Journal;
use evenkeel_agent::machine::cgroup::Hierarchies;
use evenkeel_agent::machine::real::Real;
use evenkeel_agent::machine::{Machine, Reached, links, value_of};
use evenkeel_agent::state::{Lock, StateDir, host_boot};
use evenkeel_agent::step::{Act, Arg, Ensure, LinkKey, Node, Object, Phase, Setting, Step};
use evenkeel_agent::threads::Policy;
use evenkeel_agent::{restore, threads, wait};
use xtask::artifact::cache::Cache;
use xtask::axis::Powers;
use xtask::axis::kernel;
use xtask::axis::names::RunTag;
use xtask::axis::tuning::{Found, Probe, Turned};
use xtask::check::inventory::{Inventory, SETTLES};
use xtask::matrix::{self, Cell, Matrix};
use xtask::record::{Effect, Evidence, Outcome, Status, store};
use xtask::run::boot::Report;
use xtask::run::host::{Host, vocabulary};
use xtask::run::prepare::{Prepared, Standing};
use xtask::run::spec::{BootSpec, Place};

/// Long: the machine may be busy, and no test may fail because it is slow.
const PATIENCE: Duration = Duration::from_secs(300);
const PROGRAM: &str = env!("CARGO_BIN_EXE_xtask");

/// One real run at a time: there is one host.
fn alone() -> MutexGuard<'static, ()> {
    static HOST: Mutex<()> = Mutex::new(());
    HOST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A matrix of one cell that is measured for a moment.
fn matrix_text(cell: [&str; 4], windows: u32) -> String {
    let [virtualization, network, tuning, load] = cell;
    format!(
        r#"
schema = 1
name = "faults"
[axes]
kernel = ["running"]
virtualization = ["{virtualization}"]
network = ["{network}"]
tuning = ["{tuning}"]
load = ["{load}"]
[measure]
workloads = ["tcp-rr"]
boots = 1
warmup = "10ms"
window = "20ms"
windows = {windows}
"#
    )
}

/// What is prepared for boots of one cell, with the lock of the host's runs.
struct Bench {
    lock: Option<Lock>,
    state: StateDir,
    host: Host,
    matrix: Matrix,
    cell: Cell,
    tag: RunTag,
    prepared: Prepared,
    standing: Option<Standing>,
}

impl Bench {
    fn new(cell: [&str; 4]) -> Bench {
        let state = StateDir::of_user().unwrap();
        let lock = state.lock(PATIENCE).unwrap();
        assert_eq!(restore::dirty(&state).unwrap(), None, "run `cargo xtask restore` first");
        let cache = Cache::open().unwrap();
        let pins = kernel::lock::Lock::of(Path::new("."), &state);
        let host = Host::look(&cache);
        let text = matrix_text(cell, 5);
        let matrix = matrix::parse_bytes(text.as_bytes(), "faults.toml", &vocabulary()).unwrap();
        let cell = matrix.cells[0].clone();
        let status = host.judge(&cell, &matrix);
        assert_eq!(status, Status::Runnable, "run `cargo xtask test --provision` first");
        let tag = RunTag::new(u64::from(std::process::id()));
        let program = PathBuf::from(PROGRAM);
        let cells = [&cell].into_iter();
        let prepared =
            Prepared::new(cells, &matrix, &cache, &pins, program, &tag, [None, None]).unwrap();
        assert_eq!(prepared.missing(&cell), None);
        let image = (cell.virtualization == "docker").then(|| prepared.rootfs().to_owned());
        let standing = Standing::make(&state, &tag, Powers::Root, image.as_deref(), false).unwrap();
        let (lock, standing) = (Some(lock), Some(standing));
        Bench { lock, state, host, matrix, cell, tag, prepared, standing }
    }

    fn spec(&self, number: u32) -> BootSpec {
        let (site, instrument) =
            self.prepared.site(&self.cell, &self.host, &self.matrix, &self.tag, number).unwrap();
        let place =
            Place { block: 0, position: 0, boot: number, side: xtask::record::Side::Candidate };
        BootSpec::new(&site, &self.matrix.measure, &Default::default(), instrument, place).unwrap()
    }

    fn end(mut self) {
        let undone = self.standing.take().unwrap().undo().unwrap();
        assert_eq!((undone.failed, undone.left_alone), (Vec::new(), Vec::new()));
    }
}

/// A test that fails must not leave a host that other tests refuse.
impl Drop for Bench {
    fn drop(&mut self) {
        if self.standing.is_some() {
            self.lock = None;
            eprintln!("{:?}", restore::restore(&self.state, None));
        }
    }
}

/// The real machine, which fails right after one effect. That is the same as failing right before the next one.
struct Faulty {
    real: Real,
    left: usize,
}

impl Faulty {
    fn effect<T>(&mut self, happened: anyhow::Result<T>) -> anyhow::Result<T> {
        let value = happened?;
        self.left = self.left.checked_sub(1).context("the fault that was injected")?;
        Ok(value)
    }
}

impl Machine for Faulty {
    fn read(&mut self, at: Node, path: &str) -> anyhow::Result<String> {
        self.real.read(at, path)
    }

    fn is_there(&mut self, at: Node, object: &Object) -> anyhow::Result<bool> {
        self.real.is_there(at, object)
    }

    fn journal(&mut self, states: &[Ensure]) -> anyhow::Result<()> {
        let happened = self.real.journal(states);
        self.effect(happened)
    }

    fn apply(&mut self, at: Node, act: &Act<String>) -> anyhow::Result<Vec<String>> {
        let happened = self.real.apply(at, act);
        self.effect(happened)
    }

    fn ensure(&mut self, state: &Ensure) -> anyhow::Result<Reached> {
        self.real.ensure(state)
    }
}

/// Builds a cell with a fault at each effect (or at every so manieth), and undoes. Nothing may be left.
fn a_fault_at_each_effect(cell: [&str; 4], every: usize) {
    let _alone = alone();
    let bench = Bench::new(cell);
    let before = Inventory::take().unwrap();
    let mut faults = 0;
    for (number, at) in (0..).zip((0..).step_by(every)) {
        let spec = bench.spec(number);
        let journal =
            Journal::begin(&bench.state.boot_journal(), spec.names.tag(), &host_boot().unwrap());
        let real = Real::new(journal.unwrap(), Path::new(&spec.names.dir()));
        let (mut machine, mut undo) = (Faulty { real, left: at }, Vec::new());
        let built = interpret::run(&mut machine, &spec.steps, &mut Slots::new(), &mut undo, |_| ());
        let undone = interpret::undo_all(&mut machine, &undo);
        assert!(undone.failed.is_empty(), "fault at effect {at} of {cell:?}: {undone:?}");
        machine.real.finish().unwrap();
        let left = before.differs(SETTLES).unwrap();
        assert!(left.is_empty(), "fault at effect {at} of {cell:?}, {built:?}, left {left:#?}");
        match built {
            Ok(()) => break,
            Err(failure) => {
                let why = format!("{:#}", failure.error);
                assert!(why.contains("the fault that was injected"), "effect {at}: {failure}");
            }
        }
        faults += 1;
    }
    assert!(faults * every > 10, "only {faults} faults");
    bench.end();
}

#[test]
fn a_fault_at_each_effect_of_a_namespace_leaves_nothing() {
    a_fault_at_each_effect(["netns", "nat", "isolated", "noisy"], 1);
}

#[test]
fn a_fault_at_some_effects_of_many_knobs_leaves_nothing() {
    a_fault_at_each_effect(["netns", "veth", "realtime", "idle"], 3);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_each_effect_of_a_runc_container_leaves_nothing() {
    a_fault_at_each_effect(["runc", "bridge", "isolated", "idle"], 1);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_each_effect_of_a_docker_container_leaves_nothing() {
    a_fault_at_each_effect(["docker", "bridge", "isolated", "idle"], 1);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_each_effect_of_a_container_of_podman_leaves_nothing() {
    a_fault_at_each_effect(["podman", "veth", "isolated", "idle"], 1);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_each_effect_of_a_container_of_nspawn_leaves_nothing() {
    a_fault_at_each_effect(["nspawn", "bridge", "isolated", "idle"], 1);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_each_effect_of_a_switch_in_userspace_leaves_nothing() {
    a_fault_at_each_effect(["netns", "ovs", "isolated", "idle"], 1);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_each_effect_of_a_link_of_an_engine_on_a_parent_leaves_nothing() {
    a_fault_at_each_effect(["docker", "macvlan", "isolated", "idle"], 1);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --long` runs it"]
fn a_fault_at_some_effects_of_a_guest_leaves_nothing() {
    a_fault_at_each_effect(["qemu", "bridge", "isolated", "idle"], 6);
}

/// The processes in a named namespace.
fn processes_in(netns: &str) -> Vec<i32> {
    let inode = |path: &str| std::fs::metadata(path).map(|file| file.st_ino()).ok();
    let wanted = inode(&format!("/run/netns/{netns}"));
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| wanted.is_some() && inode(&format!("/proc/{pid}/ns/net")) == wanted)
        .collect()
}

#[test]
fn knobs_that_are_turned_back_during_a_boot_are_not_effective() {
    const THROTTLE: &str = "/proc/sys/kernel/sched_rt_runtime_us";
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("m.toml"), folder.path().join("run"));
    std::fs::write(&file, matrix_text(["netns", "veth", "isolated", "idle"], 200)).unwrap();
    let before = Inventory::take().unwrap();
    let throttle = std::fs::read_to_string(THROTTLE).unwrap();

    let words = std::fs::File::create(folder.path().join("words")).unwrap();
    let argv = [PROGRAM, "bench", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let mut bench = command::start(None, &argv, words).unwrap();
    // Packets flow once everything has been placed and probed for the first time.
    let netns = wait::until("packets", PATIENCE, || {
        if let Some(status) = bench.try_wait()? {
            anyhow::bail!("the run ended early: {status}: {}", read(&folder.path().join("words")));
        }
        let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let sut = names.find(|name| name.starts_with("ek") && name.ends_with("-sut"));
        let flows = |netns: &String| {
            links::counters(netns, "eth0").is_ok_and(|counters| counters.rx_packets > 1000)
        };
        Ok(sut.filter(flows))
    })
    .unwrap();
    let everywhere = threads::affinity(nix::unistd::gettid().as_raw()).unwrap();
    for thread in processes_in(&netns).into_iter().flat_map(|pid| threads::of_process(pid).unwrap())
    {
        threads::set_policy(thread, threads::Policy::Other).unwrap();
        threads::set_affinity(thread, &everywhere).unwrap();
    }
    // The knob lifts the limit, or where it gives slices of it, sets one: the other of both is not what it asked for.
    let back = if read(Path::new(THROTTLE)).trim() == "-1" { throttle.as_str() } else { "-1" };
    std::fs::write(THROTTLE, back).unwrap();
    let ended = command::ended_within(&mut bench, PATIENCE).unwrap();
    assert!(ended.unwrap().success(), "{}", read(&folder.path().join("words")));

    let (_, records, _) = store::read(&out).unwrap();
    assert_eq!(records[0].outcome, Outcome::Measured);
    let mut knobs = 0;
    for evidence in &records[0].evidence {
        if let Evidence::Knob { knob, effect, .. } = evidence {
            let Effect::NotEffective { reason } = effect else { panic!("{knob}: {effect:?}") };
            assert!(reason.starts_with("after the last window"), "{knob}: {reason}");
            knobs += 1;
        }
    }
    assert_eq!(knobs, 3);
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn packets_that_take_another_path_fail_the_boot() {
    let _alone = alone();
    let before = Inventory::take().unwrap();
    let bench = Bench::new(["netns", "bridge", "stock", "idle"]);
    let mut spec = bench.spec(0);
    // A way around the bridge: another pair of links between the two ends.
    let (peer, sut) = (spec.names.peer_netns(), spec.names.sut_netns());
    let words = ["type", "veth", "peer", "name", "eth1", "netns", sut.as_str()];
    let set = |netns: &str, key, value: &str| Act::Put {
        on: Setting::Link { netns: netns.into(), link: "eth1".into(), key },
        value: value.into(),
    };
    let acts: [Act<Arg>; 5] = [
        Act::Make {
            object: Object::Link { netns: peer.clone(), name: "eth1".to_owned() },
            with: words.map(Arg::from).to_vec(),
        },
        set(&peer, LinkKey::Address, "198.19.255.3/24"),
        set(&sut, LinkKey::Address, "198.19.255.2/24"),
        set(&peer, LinkKey::State, "up"),
        set(&sut, LinkKey::State, "up"),
    ];
    let around = acts.map(|act| Step { at: Node::Host, phase: Phase::Attach, act });
    spec.steps = interpret::in_order(spec.steps.into_iter().chain(around));
    spec.path.target = "198.19.255.2".parse().unwrap();
    spec.path.sut = spec.path.target;

    let input = serde_json::to_vec(&spec).unwrap();
    let watch = Watch { input: &input, keep: 1 << 24, ..Watch::within(PATIENCE) };
    let ended = command::watch(watch, &[PROGRAM, "boot"]).unwrap();
    let report: Report = serde_json::from_slice(&ended.stdout).unwrap();
    let Outcome::Failed { reason } = &report.record.outcome else { panic!("it was measured") };
    assert!(reason.starts_with("packets took another path: peer's link counted"), "{reason}");
    assert!(report.not_undone.is_empty() && report.record.workloads.is_empty());
    bench.end();
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
}

/// Boots a namespace with a knob that writes these files, by this command, and answers how the knob is judged as one that must take
/// effect in all of them, and as one that may in each.
fn tried(files: &[(&str, &str)], boot: &[&str]) -> [Effect; 2] {
    let before = Inventory::take().unwrap();
    let bench = Bench::new(["netns", "veth", "stock", "idle"]);
    let mut spec = bench.spec(0);
    let act = |(path, value): &(&str, &str)| Act::Put {
        on: Setting::Asked((*path).into()),
        value: (*value).into(),
    };
    let step = |act| Step { at: Node::Host, phase: Phase::Prepare, act };
    let steps: Vec<Step> = files.iter().map(act).map(step).collect();
    let probe =
        |(path, value): &(&str, &str)| (Probe::File((*path).to_owned()), (*value).to_owned());
    let each = |each: bool| Turned {
        knob: "tried".to_owned(),
        requested: "all".to_owned(),
        applied: "all".to_owned(),
        probes: files.iter().map(probe).collect(),
        each,
        partial: None,
        without: None,
        steps: steps.clone(),
    };
    spec.knobs = vec![each(false), each(true)];
    spec.steps = interpret::in_order(spec.steps.into_iter().chain(steps.clone()));
    let input = serde_json::to_vec(&spec).unwrap();
    let watch = Watch { input: &input, keep: 1 << 24, ..Watch::within(PATIENCE) };
    let ended = command::watch(watch, boot).unwrap();
    let report: Report = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report.record.outcome, Outcome::Measured);
    assert!(report.not_undone.is_empty() && report.left_alone.is_empty(), "{report:?}");
    let mut effects = report.record.evidence.into_iter().filter_map(|evidence| match evidence {
        Evidence::Knob { effect, .. } => Some(effect),
        _ => None,
    });
    let judged = [effects.next().unwrap(), effects.next().unwrap()];
    bench.end();
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
    judged
}

const READ_ONLY: &str = "/proc/sys/kernel/ostype";
const GONE: &str = "/proc/sys/kernel/ek-gone";
const TAKEN: &str = "/proc/sys/vm/swappiness";

#[test]
fn a_knob_that_the_kernel_refuses_is_told_and_the_rest_goes_on() {
    let _alone = alone();
    let out_of_range = ("/proc/sys/vm/overcommit_memory", "9");
    let files = [(READ_ONLY, "other"), (GONE, "1"), out_of_range, (TAKEN, "23")];
    let [strict, parts] = tried(&files, &[PROGRAM, "boot"]);
    let Effect::NotEffective { reason } = strict else { panic!("{strict:?}") };
    println!("{reason}");
    let refused = format!("failed to write `other` to {READ_ONLY}: ");
    assert!(reason.contains(&refused) && reason.contains(GONE), "{reason}");
    assert!(reason.contains("Invalid argument (os error 22)"), "{reason}");
    let Effect::Partial { reason } = parts else { panic!("{parts:?}") };
    assert!(reason.starts_with("3 of 4: ") && !reason.contains(TAKEN), "{reason}");
}

#[test]
fn a_knob_of_a_file_system_that_is_read_only_is_told_and_the_rest_goes_on() {
    let _alone = alone();
    // In mounts of its own: the host's stay as they are.
    let script = "mount --bind /proc/sys/vm /proc/sys/vm && mount -o remount,bind,ro /proc/sys/vm && exec \"$0\" boot";
    let files = [(TAKEN, "23"), ("/proc/sys/kernel/hung_task_timeout_secs", "601")];
    let [strict, parts] = tried(&files, &["unshare", "--mount", "sh", "-c", script, PROGRAM]);
    let Effect::NotEffective { reason } = strict else { panic!("{strict:?}") };
    println!("{reason}");
    assert!(reason.contains("Read-only file system (os error 30)"), "{reason}");
    let Effect::Partial { reason } = parts else { panic!("{parts:?}") };
    assert!(reason.starts_with("1 of 2: ") && reason.contains(TAKEN), "{reason}");
}

/// A cgroup of a test's own with a process in it; both go in the end.
struct OwnCgroup(PathBuf, Child);

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        self.1.kill().unwrap();
        self.1.wait().unwrap();
        let removed = wait::until("the cgroup to be empty", PATIENCE, || {
            Ok(std::fs::remove_dir(&self.0).ok())
        });
        removed.unwrap();
    }
}

#[test]
fn a_knob_that_the_kernel_has_no_time_for_is_told_and_the_rest_goes_on() {
    let _alone = alone();
    let mounted = Hierarchies::mounted().unwrap();
    let cpu = mounted.controller("cpu").filter(|cpu| cpu.join("cpu.rt_runtime_us").exists());
    // Elsewhere no file is known that is busy whenever one wants it to be.
    let Some(cpu) = cpu else { return };
    let folder = cpu.join("ekt-busy");
    std::fs::create_dir(&folder).unwrap();
    let words = tempfile::tempfile().unwrap();
    let child = command::start(None, &["sleep".to_owned(), "600".to_owned()], words).unwrap();
    let group = OwnCgroup(folder, child);
    let budget = group.0.join("cpu.rt_runtime_us");
    std::fs::write(&budget, "1000").unwrap();
    std::fs::write(group.0.join("cgroup.procs"), group.1.id().to_string()).unwrap();
    threads::set_policy(group.1.id().cast_signed(), Policy::Fifo(1)).unwrap();
    let budget = budget.to_str().unwrap();
    // A cgroup with realtime threads keeps its budget.
    let [strict, parts] = tried(&[(budget, "0"), (TAKEN, "23")], &[PROGRAM, "boot"]);
    let Effect::NotEffective { reason } = strict else { panic!("{strict:?}") };
    println!("{reason}");
    assert!(reason.contains("Device or resource busy (os error 16)"), "{reason}");
    let Effect::Partial { reason } = parts else { panic!("{parts:?}") };
    assert!(reason.starts_with("1 of 2: ") && !reason.contains(TAKEN), "{reason}");
}

#[test]
fn a_pause_of_realtime_threads_that_was_left_half_way_is_put_back_whatever_was_written() {
    let _alone = alone();
    let found = Found::look();
    // Elsewhere nothing is given by cgroup, and nothing is written.
    let Ok(path) = found.slices() else { return };
    let before = Inventory::take().unwrap();
    let is = value_of(path).unwrap();
    let ours = "950000 9400 10000".to_owned();
    let folder = Path::new(path).parent().unwrap();
    let machine = Path::new("/proc/sys/kernel/sched_rt_runtime_us");
    let (runtime, period) = (folder.join("cpu.rt_runtime_us"), folder.join("cpu.rt_period_us"));
    let writes = [
        (machine, "-1"),
        (&runtime, "-1"),
        (&period, "10000"),
        (&runtime, "9400"),
        (machine, "950000"),
    ];
    for killed_after in 0..=writes.len() {
        for (file, value) in &writes[..killed_after] {
            std::fs::write(file, value).unwrap();
        }
        let left = value_of(path).unwrap();
        let state = Ensure::Value {
            at: Node::Host,
            path: path.to_owned(),
            is: is.clone(),
            ours: ours.clone(),
        };
        assert_eq!(Real::for_restore().ensure(&state).unwrap(), Reached::Yes, "{left}");
        assert_eq!(value_of(path).unwrap(), is, "{left}");
    }
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
}

/// Kills `argv` once at each of some times, and has what it makes removed, as `restore` does.
fn killed_while_it_asks(argv: &dyn Fn(&str) -> Vec<String>, object: fn(String) -> Object) {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let name = format!("ekt-asked-{round}");
        let words = std::fs::File::create(folder.path().join("words")).unwrap();
        let mut client = command::start(None, &argv(&name), words).unwrap();
        // A client takes some ten milliseconds until it asks, and the engine about as long until it answers.
        let after = Duration::from_millis(10 + 15 * round);
        if command::ended_within(&mut client, after).unwrap().is_none() {
            client.kill().unwrap();
            client.wait().unwrap();
        }
        let gone = Ensure::Absent { at: Node::Host, what: object(name) };
        assert_eq!(Real::for_restore().ensure(&gone).unwrap(), Reached::Yes);
    }
}

#[test]
fn an_engine_that_goes_on_after_its_client_was_killed_leaves_nothing() {
    let _alone = alone();
    let before = Inventory::take().unwrap();
    let bench = Bench::new(["docker", "bridge", "stock", "idle"]);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let network =
        |name: &str| words(&["docker", "network", "create", "--subnet", "198.18.254.0/24", name]);
    killed_while_it_asks(&network, Object::DockerNetwork);
    let image = bench.tag.image();
    let container =
        |name: &str| words(&["docker", "create", "--name", name, &image, "/evenkeel-agent"]);
    killed_while_it_asks(&container, Object::DockerContainer);
    bench.end();
    assert_eq!(before.differs(SETTLES).unwrap(), Vec::<String>::new());
}

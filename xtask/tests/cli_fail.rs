//! Hosts, tools, guests and engines that fail a run: that boot failed and says why, the others go on. Real runs: they need root.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evenkeel_agent::wait;
use nix::sys::signal::Signal;
use xtask::artifact::cache::Cache;
use xtask::axis::kernel;

mod common;
use common::{Host, PATIENCE, Quick, Running, XTASK, run};

/// A tool that fails differently at each call, and works from the fourth on. Asked for its version, it works at once.
const MOODY: &str = r#"#!/bin/sh
case "$*" in *-V*|*-v*|*version*|*CALM*) exec /usr/bin/TOOL "$@";; esac
for call in 1 2 3 4; do mkdir "PLACE/TOOL.$call" 2>/dev/null && break; done
case $call in
1) echo "TOOL: out of sugar" >&2; exit 7;;
2) echo "sugar and rubbish"; exit 0;;
3) exec sleep 600;;
esac
exec /usr/bin/TOOL "$@"
"#;

/// The records of a run: the reason why the boot, or a workload of it, failed, or nothing where all was measured; in order.
fn reasons(run: &Path) -> Vec<(String, Option<String>)> {
    let text = std::fs::read_to_string(run.join("boots.jsonl")).unwrap();
    let record = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let of = |record: serde_json::Value| {
        let failed = [&record["outcome"], &record["failed"][0]];
        let reason = failed.iter().find_map(|of| of["reason"].as_str()).map(str::to_owned);
        (record["cell"].as_str().unwrap().to_owned(), reason)
    };
    text.lines().map(record).map(of).collect()
}

#[test]
fn real_tools_that_die_lie_or_hang_fail_their_workload_and_no_others() {
    // The servers of both are asked for with words that clients are not.
    for (workload, tool, serves) in
        [("netperf-tcp-rr", "netperf", "-D"), ("iperf3-tcp", "iperf3", "-s")]
    {
        let host = Host::take();
        let place = host.place.path().join("bin");
        std::fs::create_dir(&place).unwrap();
        let script = MOODY.replace("TOOL", tool).replace("CALM", serves);
        let script = script.replace("PLACE", place.to_str().unwrap());
        std::fs::write(place.join(tool), script).unwrap();
        std::fs::set_permissions(place.join(tool), PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap());
        let workloads = format!("'tcp-rr', '{workload}'");
        let matrix = Quick { workloads: &workloads, boots: 4, ..Quick::default() };
        let said = run(host.bench(&matrix).env("PATH", path));
        said.ends_with(0).says(&["[4/4]"]);
        let reasons = reasons(&host.place.path().join("run"));
        let words = ["out of sugar", "sugar and rubbish", "did not end in time"];
        for ((_, reason), words) in reasons.iter().zip(words) {
            let reason = reason.as_deref().unwrap_or("it was measured");
            assert!(reason.contains(words) && reason.contains(tool), "{words}: {reason}");
            said.says(&[reason]);
        }
        assert_eq!((reasons.len(), &reasons[3].1), (4, &None));
        let results = std::fs::read_to_string(host.path("run/results.json")).unwrap();
        let results: serde_json::Value = serde_json::from_str(&results).unwrap();
        let boots = |at: usize| results["cells"][0]["workloads"][at]["boots"].as_u64();
        assert_eq!([boots(0), boots(1)], [Some(4), Some(1)]);
        host.is_restored();
    }
}

/// The table of a kernel that is the usual one of guests, with these words on its command line.
fn kernel_told(name: &str, cmdline: &str) -> String {
    let cache = Cache::open().expect("the cache is writable");
    let found = kernel::running(&cache).expect("a kernel can be fetched with apt");
    let modules = found.modules.map(|path| format!("modules = '{}'\n", path.display()));
    let (image, modules) = (found.image.display(), modules.unwrap_or_default());
    format!("[kernel.{name}]\nimage = '{image}'\n{modules}cmdline = ['{cmdline}']\n")
}

#[test]
fn real_guests_that_panic_fail_with_their_last_words_and_kernels_that_are_none_are_skipped() {
    let host = Host::take();
    let garbage = host.path("garbage");
    std::fs::write(&garbage, "not a kernel").unwrap();
    let more = [
        format!("[kernel.garbage]\nimage = '{garbage}'\n"),
        "[kernel.absent]\nimage = '/nonexistent/bzImage'\n".to_owned(),
        kernel_told("no-init", "rdinit=/nonexistent"),
        "[[exclude]]\nkernel = 'running'\nvirtualization = 'qemu'\n".to_owned(),
    ];
    let said = run(&mut host.bench(&Quick {
        kernel: "'running', 'garbage', 'absent', 'no-init'",
        virtualization: "'netns', 'qemu'",
        network: "'bridge'",
        more: &more.concat(),
        ..Quick::default()
    }));
    said.ends_with(0);
    let mut reasons = reasons(&host.place.path().join("run"));
    reasons.sort();
    let [(_, Some(panicked)), (measured, None)] = &reasons[..] else {
        panic!("{reasons:?}: {said}")
    };
    assert_eq!(measured, "running/netns/bridge/stock/idle");
    assert!(panicked.contains("Kernel panic - not syncing: VFS: Unable to mount"), "{panicked}");
    said.says(&[panicked]);
    let summary = std::fs::read_to_string(host.path("run/results.json")).unwrap();
    for words in ["not a bzImage", "/nonexistent/bzImage", "netns runs under the host's kernel"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    host.is_restored();
}

/// The table of a kernel by its image, with these modules.
fn kernel_of(name: &str, image: &str, modules: &Path) -> String {
    format!("[kernel.{name}]\nimage = '{image}'\nmodules = '{}'\n", modules.display())
}

#[test]
fn real_kernels_that_are_damaged_foreign_or_nobodys_end_their_cells_alone() {
    let host = Host::take();
    let cache = Cache::open().unwrap();
    let known = kernel::running(&cache).expect("a kernel can be fetched with apt");
    let modules = known.modules.unwrap();
    let mut image = std::fs::read(&known.image).unwrap();
    let (cut, damaged, foreign) = (host.path("cut"), host.path("damaged"), host.path("foreign"));
    std::fs::write(&cut, &image[..image.len() / 2]).unwrap();
    // The head, which says what it is, stays.
    let middle = image.len() / 2;
    image[middle..middle + 0x1_0000].fill(0x5a);
    std::fs::write(&damaged, &image).unwrap();
    let mut arm = vec![0; 0x1_0000];
    arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
    std::fs::write(&foreign, arm).unwrap();
    let strangers = host.place.path().join("strangers");
    std::fs::create_dir(&strangers).unwrap();
    let more = [
        kernel_of("cut", &cut, &modules),
        kernel_of("damaged", &damaged, &modules),
        kernel_of("foreign", &foreign, &modules),
        kernel_of("strangers", &known.image.to_string_lossy(), &strangers),
        "[kernel.nobodys]\ndeb = 'linux-image-of-nobody-amd64'\n".to_owned(),
        "[[exclude]]\nkernel = 'running'\nvirtualization = 'qemu'\n".to_owned(),
    ];
    let said = run(&mut host.bench(&Quick {
        kernel: "'running', 'cut', 'damaged', 'foreign', 'strangers', 'nobodys'",
        virtualization: "'netns', 'qemu'",
        network: "'bridge'",
        more: &more.concat(),
        ..Quick::default()
    }));
    said.ends_with(0);
    let mut reasons = reasons(&host.place.path().join("run"));
    reasons.sort();
    let [(failed, Some(reason)), (measured, None)] = &reasons[..] else {
        panic!("{reasons:?}: {said}")
    };
    assert_eq!(failed, "damaged/qemu/bridge/stock/idle");
    assert_eq!(measured, "running/netns/bridge/stock/idle");
    assert!(reason.contains("the guest's console says: "), "{reason}");
    println!("{reason}");
    let results = std::fs::read_to_string(host.path("run/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    let told = |kernel: &str| {
        let id = format!("{kernel}/qemu/bridge/stock/idle");
        let cell = results["cells"].as_array().unwrap().iter().find(|cell| cell["id"] == *id);
        cell.unwrap()["reason"].as_str().unwrap().to_owned()
    };
    for (kernel, words) in [
        ("cut", "the image is cut short: it has "),
        ("foreign", "a kernel for arm64, and not for x86-64"),
        ("strangers", "there are no modules in"),
        ("nobodys", "`linux-image-of-nobody-amd64`"),
    ] {
        println!("{kernel}: {}", told(kernel));
        assert!(told(kernel).contains(words), "{kernel}: {}", told(kernel));
        let theirs = format!("another `image` or `modules` in [kernel.{kernel}]");
        assert_eq!(told(kernel).contains(&theirs), kernel != "nobodys", "{}", told(kernel));
    }
    host.is_restored();
}

#[test]
fn real_a_guest_that_never_boots_is_given_up_before_its_deadline() {
    let host = Host::take();
    let said = run(&mut host.bench(&Quick {
        kernel: "'starved'",
        virtualization: "'qemu'",
        network: "'bridge'",
        more: &kernel_told("starved", "mem=16M"),
        ..Quick::default()
    }));
    said.ends_with(4)
        .says(&["did not say hello: the guest ", "; the guest's console says: SeaBIOS"]);
    host.is_restored();
}

#[test]
fn real_a_port_in_use_fails_the_cells_that_need_it_and_no_others() {
    let host = Host::take();
    let _busy = TcpListener::bind("0.0.0.0:5201").expect("nobody else listens on port 5201");
    let both = Quick { virtualization: "'netns', 'docker'", network: "'nat'", ..Quick::default() };
    let said = run(&mut host.bench(&both));
    said.ends_with(0).says(&["FAILED", "5201", "already"]);
    let mut reasons = reasons(&host.place.path().join("run"));
    reasons.sort();
    let [(docker, Some(reason)), (_, None)] = &reasons[..] else { panic!("{reasons:?}") };
    assert!(docker.contains("/docker/") && reason.contains("address already in use"), "{reason}");
    host.is_restored();
}

#[test]
fn real_a_host_without_a_free_network_is_told_which() {
    let host = Host::take();
    let matrix = Quick::default().write(host.place.path());
    // In a network namespace of its own, so that this host's routes stay.
    for route in ["198.18.0.0/15", "198.18.0.0/16"] {
        let words = format!("ip link set lo up && ip route add blackhole {route} && exec \"$@\"");
        let mut command = assert_cmd::Command::new("unshare");
        command.args(["--net", "sh", "-c", &words, "sh", XTASK, "bench"]).arg(&matrix);
        command.args(["--out", &host.path("run")]).env("EVENKEEL_STATE", host.state.path());
        let said = run(command.timeout(PATIENCE));
        said.ends_with(4).says(&["198.18.0.0/16", "is routed on this host"]);
        assert_eq!(said.stdout, "");
        host.is_restored();
    }
}

/// An engine of our own, so that nobody else's is stopped.
struct Engine {
    folder: String,
    socket: String,
}

impl Engine {
    /// Starts it, with what it has, for the given time: an engine that was killed leaves sockets of its own children, at
    /// which the next one would wait.
    fn start(&self, host: &Host, time: &str) -> Running {
        let at = |name: &str| format!("{}/{name}", self.folder);
        let (data, exec, pid) = (at("data"), at(time), at("pid"));
        // In a network namespace of its own: without a bridge, an engine removes the default one, which is another engine's here.
        let engine = host.start_with(
            "unshare",
            &[
                "--net",
                "dockerd",
                "--data-root",
                &data,
                "--exec-root",
                &exec,
                "--pidfile",
                &pid,
                "--host",
                &self.socket,
                "--bridge",
                "none",
                "--iptables=false",
                "--ip-masq=false",
            ],
            &[],
        );
        wait::until("an engine of our own", PATIENCE, || {
            let mut command = assert_cmd::Command::new("docker");
            let asked = command.args(["--host", &self.socket, "version"]).timeout(PATIENCE);
            Ok((run(asked).code == Some(0)).then_some(()))
        })
        .expect("dockerd answers");
        engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An engine that was killed leaves its folder mounted on itself, perhaps more than once.
        let data = format!("{}/data", self.folder);
        while nix::mount::umount(data.as_str()).is_ok() {}
    }
}

#[test]
fn real_an_engine_that_dies_leaves_a_host_that_restore_brings_back_with_it() {
    let host = Host::take();
    let engine = Engine {
        folder: host.path("engine"),
        socket: format!("unix://{}", host.path("engine.sock")),
    };
    std::fs::create_dir(&engine.folder).unwrap();
    let dockerd = engine.start(&host, "first");
    let matrix =
        Quick { virtualization: "'docker'", network: "'veth'", boots: 500, ..Quick::default() };
    let matrix = matrix.write(host.place.path());
    let mut bench = host.start_with(
        XTASK,
        &["bench", matrix.to_str().unwrap(), "--out", &host.path("run")],
        &[("DOCKER_HOST", &engine.socket)],
    );
    bench.hear("[1/500]");
    dockerd.signal(Signal::SIGKILL);
    drop(dockerd);
    let said = bench.end();
    said.ends_with(4).says(&["Cannot connect to the Docker daemon", "cargo xtask restore"]);
    assert_eq!(reasons(&host.place.path().join("run"))[0].1, None);

    // Without the engine there is no bringing it back; with it, there is.
    let restore = || run(host.xtask(&["restore"]).env("DOCKER_HOST", &engine.socket));
    restore().ends_with(4).says(&["Cannot connect to the Docker daemon"]);
    let dockerd = engine.start(&host, "second");
    let restored = restore();
    assert!(restored.ends_with(0).stdout.contains("states restored"), "{restored}");
    dockerd.signal(Signal::SIGTERM);
    dockerd.end();
    drop(engine);
    host.is_restored();
}

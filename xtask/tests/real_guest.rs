//! What only a guest by itself shows: it is held until it is let go, refuses a card that it does not have, gets its addresses and its
//! default route, and powers off. The real binary is its init; control is QEMU's standard input and output.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use evenkeel_agent::control::Control;
use evenkeel_agent::wire::{Answer, Ask};
use evenkeel_agent::{command, guest, qmp::Qmp, wait};
use xtask::artifact::bundle::bundle;
use xtask::artifact::cache::Cache;
use xtask::artifact::initramfs::initramfs;
use xtask::axis::kernel;
use xtask::axis::virtualization::accelerator::{self, Accelerator, QEMU};
use xtask::axis::virtualization::find;

/// Long: the machine may be busy, and no test may fail because it is slow.
const PATIENCE: Duration = Duration::from_secs(120);
const MAC: &str = "52:54:00:ec:00:01";
/// The one tool of this guest.
const CAT: &str = "/usr/bin/cat";

/// A running QEMU whose standard input and output are the guest's control port.
struct Guest {
    qemu: Child,
    control: Control,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Fails if QEMU has ended, as it should have.
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

impl Guest {
    fn start(argv: &[&str], words: &Path) -> Guest {
        let words = std::fs::File::create(words).unwrap();
        let mut qemu = command::start(None, argv, words).expect("QEMU starts");
        let (output, input) = (qemu.stdout.take().unwrap(), qemu.stdin.take().unwrap());
        Guest { qemu, control: Control::new(output, input, "guest").unwrap() }
    }

    fn contents(&mut self, path: &str) -> String {
        let argv = [CAT, path].map(str::to_owned).to_vec();
        match self.control.ask(Ask::Exec { argv, folder: None, within: PATIENCE }, PATIENCE) {
            Ok(Answer::Ran(ran)) if ran.code == Some(0) => ran.stdout,
            other => panic!("`{path}`: {other:?}"),
        }
    }
}

fn configure(mac: &str) -> Ask {
    Ask::Configure {
        mac: mac.to_owned(),
        addresses: vec!["198.18.0.2/24".to_owned(), "fd00:ec::2/64".to_owned()],
        gateway: Some("198.18.0.1".parse().unwrap()),
    }
}

/// The cache in which kernels are kept from run to run.
fn cache() -> Cache {
    command::output(&[QEMU, "--version"], PATIENCE)
        .expect("install qemu-system-x86, or run `cargo xtask test --provision`");
    Cache::open().expect("the cache is writable")
}

#[test]
fn real_guest_boots_held_answers_and_powers_off() {
    let cache = cache();
    let kernel = kernel::running(&cache).expect("a kernel can be fetched with apt");
    let own = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let tools = bundle(&[CAT.into()]).unwrap();
    let modules = find("qemu").unwrap().modules();
    let initramfs = initramfs(&cache, &kernel, modules, own, tools).unwrap();
    let place = tempfile::Builder::new().prefix("ekt").tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (monitor, console, words) = (path("qmp"), path("console"), path("words"));
    let monitor_argument = format!("unix:{monitor},server=on,wait=off");
    let console_argument = format!("file:{console}");
    let port = format!("virtserialport,chardev=control,name={}", guest::CONTROL_PORT);
    let card = format!("virtio-net-pci,netdev=net0,mac={MAC},romfile=");
    let tcg = Accelerator::Tcg { reason: String::new() }.arguments();
    #[rustfmt::skip]
    let argv = [
        [QEMU].as_slice(), &tcg, &[
            "-machine", "q35,usb=off,vmport=off,smbus=off,sata=off,graphics=off", "-m", "512", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-S", "-qmp", &monitor_argument,
            "-kernel", kernel.image.to_str().unwrap(), "-initrd", initramfs.to_str().unwrap(),
            "-append", "console=ttyS0 quiet panic=-1",
            "-serial", &console_argument,
            "-netdev", "user,id=net0,restrict=on", "-device", &card,
            "-device", "virtio-serial-pci", "-chardev", "stdio,id=control,signal=off", "-device", &port,
        ],
    ].concat();
    let mut guest = Guest::start(&argv, Path::new(&words));
    let said = || std::fs::read_to_string(&words).unwrap();

    wait::until("QEMU's monitor", PATIENCE, || {
        assert_eq!(guest.qemu.try_wait()?, None, "{}", said());
        Ok(Path::new(&monitor).exists().then_some(()))
    })
    .unwrap();
    let mut qmp = Qmp::connect(Path::new(&monitor), PATIENCE).unwrap();
    let threads = qmp.vcpu_threads().unwrap();
    assert_eq!(threads.len(), 1);
    for thread in threads {
        let task = format!("/proc/{}/task/{thread}", guest.qemu.id());
        assert!(Path::new(&task).exists(), "`{task}` is a thread of QEMU");
    }
    let held = guest.control.hello(Duration::from_millis(50));
    assert!(held.is_err(), "a held guest says nothing");
    qmp.resume().unwrap();
    drop(qmp);

    let hello = guest.control.hello(PATIENCE).unwrap();
    assert_eq!((hello.pid, hello.kernel), (1, kernel.version));
    let wrong = guest.control.ask(configure("52:54:00:ec:00:99"), PATIENCE).unwrap_err();
    assert!(format!("{wrong:#}").contains("link `52:54:00:ec:00:99`"), "{wrong:#}");
    let mut done = |mac: &str| guest.control.ask(configure(mac), PATIENCE).unwrap();
    assert_eq!(done(&MAC.to_uppercase()), Answer::Done);
    assert_eq!(done(MAC), Answer::Done, "asking twice is harmless");
    // Flags 82: permanent and not looked for elsewhere, so usable at once and not tentative.
    let of_six = guest.contents("/proc/net/if_inet6");
    assert!(of_six.contains("fd0000ec000000000000000000000002 02 40 00 82"), "{of_six}");
    // The default route (destination 0) through 198.18.0.1.
    let routes = guest.contents("/proc/net/route");
    assert!(routes.contains("eth0\t00000000\t010012C6\t0003"), "{routes}");
    assert_eq!(guest.control.ask(Ask::Quit, PATIENCE).unwrap(), Answer::Done);
    let status = guest.qemu.wait().unwrap();
    assert!(status.success(), "{status}; console: {:?}", std::fs::read_to_string(&console));
}

#[test]
fn real_probe_gives_a_reason_and_remembers_it() {
    let cache = cache();
    let kernel = kernel::running(&cache).expect("a kernel can be fetched with apt");
    let place = tempfile::tempdir().unwrap();
    let answers = Cache::at(place.path()).unwrap();
    let found = accelerator::probe(&answers, &kernel).unwrap();
    if let Accelerator::Tcg { reason } = &found {
        assert!(reason.starts_with("/dev/kvm"), "{reason}");
    }
    assert_eq!(accelerator::probe(&answers, &kernel).unwrap(), found);
}

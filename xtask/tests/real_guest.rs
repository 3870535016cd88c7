//! Boots a real guest: kernel from a Debian package, root from our own binary, control over QEMU's
//! standard input and output. This test program is the guest's init as well.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use evenkeel_agent::wire::{Answer, Ask, Hello, PROTOCOL, Ran, Reply, Request};
use evenkeel_agent::{command, guest, qmp::Qmp};
use nix::sys::utsname::uname;
use xtask::artifact::bundle::bundle;
use xtask::artifact::cache::Cache;
use xtask::artifact::initramfs::{PCI_MODULES, initramfs};
use xtask::axis::kernel;
use xtask::axis::virtualization::accelerator::{self, Accelerator, QEMU};

/// Long: the machine may be busy, and no test may fail because it is slow.
const PATIENCE: Duration = Duration::from_secs(120);
const MAC: &str = "52:54:00:ec:00:01";

/// What the guest's kernel runs as `/init`; says nothing anywhere else.
#[test]
#[ignore = "the init of the guest that the other tests boot"]
fn guest_init() {
    if guest::is_init() {
        guest::main(|port| {
            let mut output = port.try_clone()?;
            let name = uname()?;
            let hello = Hello {
                protocol: PROTOCOL,
                pid: std::process::id(),
                kernel: name.release().to_string_lossy().into_owned(),
                version: name.version().to_string_lossy().into_owned(),
            };
            writeln!(output, "{}", serde_json::to_string(&hello)?)?;
            for line in BufReader::new(port).lines() {
                let request: Request = serde_json::from_str(&line?)?;
                let quit = request.ask == Ask::Quit;
                let said = answer(request.ask).map_err(|error| format!("{error:#}"));
                let reply = Reply { id: request.id, said };
                writeln!(output, "{}", serde_json::to_string(&reply)?)?;
                if quit {
                    break;
                }
            }
            Ok(())
        })
    }
}

fn answer(ask: Ask) -> anyhow::Result<Answer> {
    match ask {
        Ask::Quit => Ok(Answer::Done),
        Ask::Configure { mac, addresses, gateway } => {
            guest::configure(&mac, &addresses, gateway).map(|()| Answer::Done)
        }
        Ask::Exec { argv, .. } => {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            // The guest has no `timeout` and needs none: the machine ends with the test.
            let stdout = std::fs::read_to_string(argv.last().context("nothing to read")?)?;
            Ok(Answer::Ran(Ran { code: Some(0), timed_out: false, stdout, stderr: String::new() }))
        }
        other => anyhow::bail!("not part of this test: {other:?}"),
    }
}

/// A running QEMU whose standard input and output are the guest's control port.
struct Guest {
    qemu: Child,
    requests: ChildStdin,
    lines: Receiver<String>,
    asked: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Fails if QEMU has ended, as it should have.
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

impl Guest {
    fn start(argv: &[&str]) -> Guest {
        #[expect(
            clippy::disallowed_methods,
            reason = "the agent that starts QEMU is not what is tested here"
        )]
        let mut qemu = std::process::Command::new(argv[0])
            .args(&argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("QEMU starts");
        let (requests, stdout) = (qemu.stdin.take().unwrap(), qemu.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Guest { qemu, requests, lines, asked: 0 }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the guest says something")
    }

    fn ask(&mut self, ask: Ask) -> Result<Answer, String> {
        self.asked += 1;
        let request = serde_json::to_string(&Request { id: self.asked, ask }).unwrap();
        writeln!(self.requests, "{request}").unwrap();
        let reply: Reply = serde_json::from_str(&self.line()).unwrap();
        assert_eq!(reply.id, self.asked);
        reply.said
    }
}

fn boots(kernel: &kernel::GuestKernel, cache: &Cache) {
    let tools = ["netserver", "iperf3"].map(|tool| Path::new("/usr/bin").join(tool));
    let tools = bundle(&tools).expect("netperf and iperf3 are installed");
    let own: PathBuf = std::env::current_exe().unwrap();
    let initramfs = initramfs(cache, kernel, PCI_MODULES, &own, tools).unwrap();
    let place = tempfile::Builder::new().prefix("ekt").tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (monitor, console) = (path("qmp"), path("console"));
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
            "-append", "console=ttyS0 quiet panic=-1 -- guest_init --exact --ignored --nocapture",
            "-serial", &console_argument,
            "-netdev", "user,id=net0,restrict=on", "-device", &card,
            "-device", "virtio-serial-pci", "-chardev", "stdio,id=control,signal=off", "-device", &port,
        ],
    ].concat();
    let mut guest = Guest::start(&argv);

    let mut qmp = loop {
        match Qmp::connect(Path::new(&monitor), PATIENCE) {
            Ok(qmp) => break qmp,
            Err(error) => {
                let ended = guest.qemu.try_wait().unwrap();
                assert!(
                    ended.is_none(),
                    "QEMU ended with {ended:?} before its monitor came: {error:#}"
                );
                std::thread::yield_now();
            }
        }
    };
    let threads = qmp.vcpu_threads().unwrap();
    assert_eq!(threads.len(), 1);
    for thread in threads {
        let task = format!("/proc/{}/task/{thread}", guest.qemu.id());
        assert!(Path::new(&task).exists(), "`{task}` is a thread of QEMU");
    }
    assert!(guest.lines.try_recv().is_err(), "a held guest says nothing");
    qmp.resume().unwrap();
    drop(qmp);

    let hello: Hello = serde_json::from_str(&guest.line()).unwrap();
    assert_eq!((hello.protocol, hello.pid), (PROTOCOL, 1));
    assert_eq!(hello.kernel, kernel.version);
    let configure = |mac: &str| Ask::Configure {
        mac: mac.to_owned(),
        addresses: vec!["198.18.0.2/24".to_owned(), "fd00:ec::2/64".to_owned()],
        gateway: Some("198.18.0.1".parse().unwrap()),
    };
    assert_eq!(guest.ask(configure(&MAC.to_uppercase())), Ok(Answer::Done));
    assert_eq!(guest.ask(configure(MAC)), Ok(Answer::Done), "asking twice is harmless");
    let read = |path: &str| Ask::Exec { argv: vec![path.to_owned()], within: PATIENCE };
    let mut contents = |path: &str| match guest.ask(read(path)) {
        Ok(Answer::Ran(ran)) => ran.stdout,
        other => panic!("`{path}`: {other:?}"),
    };
    // Flags 82: permanent and not looked for elsewhere, so usable at once and not tentative.
    let of_six = contents("/proc/net/if_inet6");
    assert!(of_six.contains("fd0000ec000000000000000000000002 02 40 00 82"), "{of_six}");
    // The default route (destination 0) through 198.18.0.1.
    let routes = contents("/proc/net/route");
    assert!(routes.contains("eth0\t00000000\t010012C6\t0003"), "{routes}");
    assert_eq!(guest.ask(Ask::Quit), Ok(Answer::Done));
    let status = guest.qemu.wait().unwrap();
    assert!(status.success(), "{status}; console: {:?}", std::fs::read_to_string(&console));
}

/// The cache in which kernels are kept from run to run.
fn cache() -> Cache {
    command::output(&[QEMU, "--version"], PATIENCE).expect("install qemu-system-x86");
    Cache::open().expect("the cache is writable")
}

#[test]
fn real_guest_boots_held_answers_and_powers_off() {
    let cache = cache();
    boots(&kernel::running(&cache).expect("a kernel can be fetched with apt"), &cache);
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
